//! The closed sets of strings of the API: what a job is and which state it is in. Which transitions are legal is
//! forged's business (`daemon/`).

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Where a job stands. The wire form is the lower-case name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// Accepted and on disk; may start when its turn comes.
    Queued,
    /// Waits for something other than its turn (another job, a resource, the network after a transient fault).
    Waiting,
    /// A worker has it.
    Running,
    /// A worker has it and was asked to stop.
    Cancelling,
    /// Ended well.
    Succeeded,
    /// Ended with an error; `ErrorName` says which.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
    /// The worker died (crash, kill, power cut) without leaving a result.
    Interrupted,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Waiting,
        Self::Running,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// The wire form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// True once the job has ended: it never leaves such a state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Interrupted)
    }

    /// True while a worker may be at work on the job.
    #[must_use]
    pub const fn has_worker(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| Error::unknown_word("state", text, &Self::ALL.map(Self::as_str)))
    }
}

/// What a job does. The wire form is the lower-case name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// Composes a blueprint into a commit and images.
    Build,
    /// Checks a commit of the local repository against the rules of an atomic Debian.
    Lint,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Build, Self::Lint];

    /// The wire form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Lint => "lint",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == text)
            .ok_or_else(|| Error::unknown_word("job kind", text, &Self::ALL.map(Self::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_kinds_go_both_ways() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse::<JobState>().unwrap(), state);
            assert!(!(state.is_final() && state.has_worker()));
        }
        for kind in JobKind::ALL {
            assert_eq!(kind.as_str().parse::<JobKind>().unwrap(), kind);
        }
        let text = "Running".parse::<JobState>().unwrap_err().to_string();
        assert!(text.contains("Running") && text.contains("interrupted"), "{text}");
    }
}
