//! What a run tells while it works: events, and the monitors that print them.
//!
//! The engine reports every step as one [`Event`]; a [`Monitor`] makes of it what it likes. The three monitors of the
//! command line live in the sub-modules. What a run gives back at its end is not here but in [`crate::result`].

mod json_seq;
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::json_seq::JsonSeqMonitor;
pub use self::log::LogMonitor;
use crate::json::Value;
use crate::result::{SourceResult, StageResult};

/// One step of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins: `steps` sources and pipelines are ahead.
    Started {
        /// The manifest as the caller named it.
        manifest: &'a str,
        /// Sources plus pipelines to build.
        steps: usize,
    },
    /// A source begins to fetch.
    SourceStarted {
        /// Module name.
        name: &'a str,
        /// Its identifier.
        id: &'a str,
    },
    /// The source that began last ended.
    SourceFinished(&'a SourceResult),
    /// A pipeline begins.
    PipelineStarted(Pipeline<'a>),
    /// A pipeline of the manifest is not built, because the store has it.
    PipelineCached {
        /// Its name.
        name: &'a str,
        /// Its identifier.
        id: &'a str,
    },
    /// The first `stages` stages of the pipeline that began last come from the store.
    StagesCached {
        /// How many.
        stages: usize,
    },
    /// A stage of the pipeline that began last begins.
    StageStarted {
        /// Module name.
        name: &'a str,
        /// Stage identifier.
        id: &'a str,
        /// Its options.
        options: &'a Value,
    },
    /// Output: of a stage, or of a host service if `origin` says so.
    Output {
        /// `org.osbuild` for what host services print; nothing for the stage that runs.
        origin: Option<&'static str>,
        /// As it came, at line ends or not.
        text: &'a str,
    },
    /// How far a source is with its downloads.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all, 0 if not known.
        total: u64,
        /// `bytes` or `items`.
        unit: &'a str,
        /// What is being worked on.
        message: &'a str,
    },
    /// The stage that began last ended.
    StageFinished {
        /// Its result, output and metadata included.
        result: &'a mut StageResult,
        /// Seconds it took.
        duration: f64,
    },
    /// The pipeline that began last ended.
    PipelineFinished {
        /// Whether all its stages succeeded.
        success: bool,
    },
    /// The run is over.
    Finished {
        /// The manifest as the caller named it.
        manifest: &'a str,
        /// Whether all was built.
        success: bool,
    },
}

/// What a monitor hears about a pipeline at its begin.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its identifier.
    pub id: &'a str,
    /// How many stages it has.
    pub stages: usize,
    /// Identifier of the pipeline that is its build root, if any.
    pub build: Option<&'a str>,
    /// The runner asked for and the one found.
    pub runner: (&'a str, &'a str),
    /// Its `source-epoch`.
    pub source_epoch: Option<i64>,
    /// Whether its stages run in a virtual machine.
    pub in_vm: bool,
}

/// Something that listens to a run.
pub trait Monitor {
    /// Takes one step. A monitor that cannot pass it on must not fail the run.
    fn event(&mut self, event: Event<'_>);
}

/// Listens and says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullMonitor;

impl Monitor for NullMonitor {
    fn event(&mut self, _event: Event<'_>) {}
}

/// Asks a run, or a part of it, to stop: cheap to clone, safe to raise from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    raised: Arc<AtomicBool>,
    /// What also stops this one.
    parent: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// One that SIGINT and SIGTERM raise, so that Ctrl-C and the service manager's stop end a run in order, with
    /// everything unmounted and removed. Call it before any thread is started: those would not have them blocked.
    ///
    /// # Errors
    /// The signals cannot be blocked, or no thread can be started for them.
    pub fn on_signals() -> std::io::Result<Self> {
        use nix::sys::signal::{SigSet, Signal};
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let cancel = Self::default();
        let raised = cancel.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.wait().is_ok() {
                raised.cancel();
            }
        })?;
        Ok(cancel)
    }

    /// One that is raised by this one, and by itself without this one.
    pub(crate) fn child(&self) -> Self {
        Self { raised: Arc::default(), parent: Some(Arc::clone(&self.raised)) }
    }

    /// Asks to stop as soon as possible.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let raised = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);
        raised(&self.raised) || self.parent.as_ref().is_some_and(raised)
    }
}
