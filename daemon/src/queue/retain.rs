//! Which finished jobs keep their bus object: the last N that ended or were asked for.

use std::collections::VecDeque;

/// Finished jobs in the order in which they were last of interest.
#[derive(Debug)]
pub(crate) struct Retained {
    keep: usize,
    ids: VecDeque<u64>,
}

impl Retained {
    /// Keeps `keep` jobs.
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, ids: VecDeque::new() }
    }

    /// A job ended or was asked for. Returns the jobs whose objects go; never `id` itself, for somebody is about to use it.
    pub(crate) fn touched(&mut self, id: u64) -> Vec<u64> {
        self.ids.retain(|other| *other != id);
        self.ids.push_back(id);
        let surplus = self.ids.len().saturating_sub(self.keep.max(1));
        self.ids.drain(..surplus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut retained = Retained::new(2);
        assert!(retained.touched(1).is_empty());
        assert!(retained.touched(2).is_empty());
        assert!(retained.touched(1).is_empty());
        assert_eq!(retained.touched(3), [2]);
        assert_eq!(Retained::new(0).touched(9), [0u64; 0]);
    }
}
