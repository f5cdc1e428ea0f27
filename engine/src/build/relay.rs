//! From the threads that work to the one monitor: pipelines run side by side, and are told of one after the other.
//!
//! Every step of a run has a channel of its own. The run's thread empties the channels in the order of the manifest, so
//! what a monitor hears is what it would hear if nothing ran in parallel. A channel holds little: a step that has much
//! to say waits for its turn, and its output never piles up in memory.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::monitor::{Event, Monitor};
use crate::result::{SourceResult, StageResult};

/// How many messages a step may be ahead of the monitor. One of them is at most a read of a stage's output.
const AHEAD: usize = 32;

/// What a step tells.
#[derive(Debug)]
pub(super) enum Message {
    /// It began.
    Started,
    /// So many of its stages come from the store.
    StagesCached(usize),
    /// The stage at this place in its pipeline began.
    StageStarted(usize),
    /// See [`Event::Output`].
    Output { origin: Option<&'static str>, text: String },
    /// See [`Event::Progress`].
    Progress { done: u64, total: u64, unit: String, message: String },
    /// A stage ended, after so many seconds.
    StageFinished(Box<StageResult>, f64),
    /// A source ended.
    SourceFinished(SourceResult),
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Relay(SyncSender<Message>);

/// The two ends of one step's channel.
pub(super) fn channel() -> (Relay, Receiver<Message>) {
    let (sender, receiver) = sync_channel(AHEAD);
    (Relay(sender), receiver)
}

impl Relay {
    /// Waits until the monitor has caught up. If nobody listens any more the run is over and the message of no use.
    pub(super) fn send(&self, message: Message) {
        let _ = self.0.send(message);
    }
}

/// Services and stages know it as a monitor, for what they print and how far they are.
impl Monitor for Relay {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Output { origin, text } => self.send(Message::Output { origin, text: text.to_owned() }),
            Event::Progress { done, total, unit, message } => {
                self.send(Message::Progress { done, total, unit: unit.to_owned(), message: message.to_owned() });
            }
            _ => {}
        }
    }
}
