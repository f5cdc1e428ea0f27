//! Strings that may hold lone surrogates. What does not live here: escaping (see `dump`).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A string as JSON can write it: Unicode text in which, unlike in a Rust string, surrogates may stand alone
/// (`"\ud83d"`). Order and equality are by code point.
#[derive(Clone)]
pub struct Text(Repr);

/// Held as WTF-8: UTF-8 where a lone surrogate takes the three bytes that UTF-8 would give its code point.
/// `Wtf8` is used only for text that is not UTF-8, so equal texts have equal representations.
#[derive(Clone)]
enum Repr {
    Utf8(String),
    Wtf8(Vec<u8>),
}

impl Text {
    /// The text as a Rust string, unless it holds a lone surrogate.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Utf8(text) => Some(text),
            Repr::Wtf8(_) => None,
        }
    }

    /// The text as WTF-8 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Utf8(text) => text.as_bytes(),
            Repr::Wtf8(bytes) => bytes,
        }
    }

    /// The text with every lone surrogate replaced by U+FFFD, for showing.
    #[must_use]
    pub fn to_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Utf8(text) => Cow::Borrowed(text),
            Repr::Wtf8(_) => {
                Cow::Owned(self.code_points().map(|code| char::from_u32(code).unwrap_or('\u{fffd}')).collect())
            }
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The code points, lone surrogates included.
    pub fn code_points(&self) -> impl Iterator<Item = u32> + '_ {
        CodePoints(self.as_bytes())
    }

    /// Puts a text together from code points. A high surrogate followed by a low one becomes the character they mean;
    /// numbers that are no code point become U+FFFD.
    pub fn from_code_points(codes: impl IntoIterator<Item = u32>) -> Self {
        let mut builder = TextBuilder::default();
        for code in codes {
            builder.push(code);
        }
        builder.finish()
    }
}

/// Collects a [`Text`]; joins surrogate pairs that come as two.
#[derive(Debug, Default)]
pub(super) struct TextBuilder {
    bytes: Vec<u8>,
    /// A high surrogate that still may find its low half.
    high: Option<u32>,
    lone: bool,
}

impl TextBuilder {
    /// Adds text that needs no decoding.
    pub(super) fn push_str(&mut self, text: &str) {
        if !text.is_empty() {
            self.flush();
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    /// Adds one code point.
    pub(super) fn push(&mut self, code: u32) {
        if let (Some(high), 0xdc00..=0xdfff) = (self.high, code) {
            self.high = None;
            self.push_scalar(0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00));
            return;
        }
        self.flush();
        match code {
            0xd800..=0xdbff => self.high = Some(code),
            0xdc00..=0xdfff => self.push_lone(code),
            _ => self.push_scalar(code),
        }
    }

    fn flush(&mut self) {
        if let Some(high) = self.high.take() {
            self.push_lone(high);
        }
    }

    fn push_scalar(&mut self, code: u32) {
        let mut buffer = [0; 4];
        let character = char::from_u32(code).unwrap_or('\u{fffd}');
        self.bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }

    fn push_lone(&mut self, code: u32) {
        self.lone = true;
        // A surrogate has 16 bits: 1110xxxx 10xxxxxx 10xxxxxx; the masks make each part fit a byte.
        let part = |shift: u32, mask: u32| u8::try_from((code >> shift) & mask).unwrap_or(0);
        self.bytes.extend([0xe0 | part(12, 0x0f), 0x80 | part(6, 0x3f), 0x80 | part(0, 0x3f)]);
    }

    /// The text so far.
    pub(super) fn finish(mut self) -> Text {
        self.flush();
        if self.lone {
            return Text(Repr::Wtf8(self.bytes));
        }
        match String::from_utf8(self.bytes) {
            Ok(text) => Text(Repr::Utf8(text)),
            Err(error) => Text(Repr::Utf8(String::from_utf8_lossy(error.as_bytes()).into_owned())),
        }
    }
}

/// Decodes WTF-8 that this module wrote.
struct CodePoints<'a>(&'a [u8]);

impl Iterator for CodePoints<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (&first, rest) = self.0.split_first()?;
        let (more, start) = match first {
            0..=0x7f => (0, u32::from(first)),
            0x80..=0xdf => (1, u32::from(first & 0x1f)),
            0xe0..=0xef => (2, u32::from(first & 0x0f)),
            0xf0..=0xff => (3, u32::from(first & 0x07)),
        };
        let more = more.min(rest.len());
        let code = rest[..more].iter().fold(start, |code, byte| (code << 6) | u32::from(byte & 0x3f));
        self.0 = &rest[more..];
        Some(code)
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::Utf8(String::new()))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The byte order of UTF-8, and of WTF-8, is the order of code points.
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As a byte slice hashes, for `Borrow<[u8]>`.
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Repr::Utf8(text.to_owned()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Utf8(text))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Utf8(text) => fmt::Debug::fmt(text, f),
            Repr::Wtf8(_) => f.write_str(&super::dump::quoted(self)),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_joined_and_a_lone_half_is_kept() {
        let joined = Text::from_code_points([0xd83d, 0xde00]);
        assert_eq!(joined.as_str(), Some("😀"));
        let lone = Text::from_code_points([0x61, 0xd83d, 0x62]);
        assert_eq!(lone.as_str(), None);
        assert_eq!(lone.code_points().collect::<Vec<_>>(), [0x61, 0xd83d, 0x62]);
        assert_eq!(lone.to_lossy(), "a\u{fffd}b");
        let reversed = Text::from_code_points([0xde00, 0xd83d]);
        assert_eq!(reversed.code_points().collect::<Vec<_>>(), [0xde00, 0xd83d]);
    }

    #[test]
    fn order_is_by_code_point() {
        // In UTF-16 the emoji (a surrogate pair) would come first.
        let mut texts = [Text::from("\u{1f600}"), Text::from("\u{ffee}"), Text::from_code_points([0xd83d])];
        texts.sort();
        assert_eq!(texts.map(|text| text.code_points().next()), [Some(0xd83d), Some(0xffee), Some(0x1f600)]);
    }
}
