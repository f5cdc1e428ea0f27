//! The end of a job's `events.jsonl`, read as it grows: which progress a job has made. Lines of other types, of later
//! versions or cut short are passed over; the file is the worker's, not ours.

use std::fs::File;
use std::io::Read;

use forge_dbus::Progress;
use serde::Deserialize;

/// The longest line that is looked at, in bytes.
const MAX_LINE: usize = 64 << 10;
/// Most bytes read in one go; the rest comes the next time.
const MAX_READ: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Phase {
        phase: String,
    },
    Progress {
        phase: String,
        done: u64,
        total: u64,
        unit: String,
    },
    #[serde(other)]
    Other,
}

/// A reader that remembers how far it came.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    partial: Vec<u8>,
    skipping: bool,
}

impl Tail {
    /// Starts at the beginning of `file`.
    pub(crate) fn new(file: File) -> Self {
        Self { file, partial: Vec::new(), skipping: false }
    }

    /// Reads what is new and returns the newest progress in it.
    pub(crate) fn newest(&mut self) -> std::io::Result<Option<Progress>> {
        let mut bytes = Vec::new();
        (&self.file).take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(self.took(&bytes))
    }

    fn took(&mut self, bytes: &[u8]) -> Option<Progress> {
        let mut newest = None;
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let ends = piece.ends_with(b"\n");
            if !self.skipping {
                self.partial.extend_from_slice(piece);
                if self.partial.len() > MAX_LINE {
                    self.skipping = true;
                    self.partial.clear();
                }
            }
            if ends {
                if !self.skipping {
                    newest = progress_of(&self.partial).or(newest);
                }
                self.partial.clear();
                self.skipping = false;
            }
        }
        newest
    }
}

fn progress_of(line: &[u8]) -> Option<Progress> {
    match serde_json::from_slice(line) {
        Ok(Line::Phase { phase }) => Some(Progress { phase, ..Progress::default() }),
        Ok(Line::Progress { phase, done, total, unit }) => Some(Progress { phase, done, total, unit }),
        Ok(Line::Other) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn progress_is_found_as_the_file_grows() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail::new(file.reopen().unwrap());
        assert_eq!(tail.newest().unwrap(), None);
        write!(file, "{{\"time\":1.5,\"type\":\"phase\",\"phase\":\"download\"}}\n{{\"type\":\"progress\",\"phase\":\"download\",\"done\":1,").unwrap();
        assert_eq!(tail.newest().unwrap().unwrap().phase, "download");
        writeln!(file, "\"total\":9,\"unit\":\"bytes\",\"message\":\"bash.deb\"}}").unwrap();
        let progress = tail.newest().unwrap().unwrap();
        assert_eq!((progress.done, progress.total, progress.unit.as_str()), (1, 9, "bytes"));
        writeln!(file, "{{\"type\":\"stage\",\"event\":\"started\"}}\nnonsense").unwrap();
        assert_eq!(tail.newest().unwrap(), None);
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut tail = Tail::new(tempfile::tempfile().unwrap());
        for _ in 0..20 {
            assert!(tail.took(&[b'x'; 16 << 10]).is_none());
        }
        assert!(tail.partial.len() <= MAX_LINE);
        let line = b"\n{\"type\":\"phase\",\"phase\":\"build\"}\n";
        assert_eq!(tail.took(line).unwrap().phase, "build");
    }

    proptest! {
        #[test]
        fn cutting_a_stream_anywhere_changes_nothing(cuts in proptest::collection::vec(0usize..200, 0..6), noise in ".{0,20}") {
            let text = format!("{noise}\n{{\"type\":\"progress\",\"phase\":\"build\",\"done\":3,\"total\":4,\"unit\":\"stages\"}}\n");
            let bytes = text.as_bytes();
            let mut tail = Tail::new(tempfile::tempfile().unwrap());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut newest = None;
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                newest = tail.took(&bytes[from..cut]).or(newest);
                from = cut;
            }
            prop_assert_eq!(newest.unwrap().done, 3);
        }
    }
}
