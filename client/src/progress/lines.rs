//! Cuts a growing stream of bytes into lines. Pure.

/// Longer lines are no events; they are dropped as a whole.
const LONGEST: usize = 1 << 20;

/// Holds the line that has not ended yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Takes the next bytes and returns the lines that ended in them, without line breaks. Invalid UTF-8 is replaced.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut ended = Vec::new();
        let mut pieces = bytes.split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.too_long || self.open.len() + piece.len() > LONGEST {
                self.too_long = true;
                self.open = Vec::new();
            } else {
                self.open.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                if !self.too_long {
                    ended.push(String::from_utf8_lossy(&self.open).into_owned());
                }
                self.open.clear();
                self.too_long = false;
            }
        }
        ended
    }

    /// What is left after the last line break: a line the writer did not end, such as at a power cut.
    pub(crate) fn rest(&mut self) -> Option<String> {
        self.too_long = false;
        let open = std::mem::take(&mut self.open);
        (!open.is_empty()).then(|| String::from_utf8_lossy(&open).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_may_arrive_in_pieces() {
        let mut lines = Lines::default();
        assert!(lines.push(b"{\"a\"").is_empty());
        assert_eq!(lines.push(b":1}\nsecond\nth"), ["{\"a\":1}", "second"]);
        assert_eq!(lines.rest().as_deref(), Some("th"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..5 {
            assert!(lines.push(&vec![b'x'; LONGEST / 2]).is_empty());
        }
        assert!(lines.open.is_empty());
        assert_eq!(lines.push(b"x\nfine\n"), ["fine"]);
    }

    proptest! {
        #[test]
        fn cutting_does_not_depend_on_the_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let at = at.min(bytes.len());
            let mut whole = Lines::default();
            let mut all = whole.push(&bytes);
            all.extend(whole.rest());
            let mut cut = Lines::default();
            let mut parts = cut.push(&bytes[..at]);
            parts.extend(cut.push(&bytes[at..]));
            parts.extend(cut.rest());
            prop_assert_eq!(all, parts);
        }
    }
}
