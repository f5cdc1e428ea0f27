//! Reading JSON text from anyone: what Python's `json.loads` takes, within limits.

use super::text::TextBuilder;
use super::{Int, Object, Text, Value};

/// How deep arrays and objects may be nested. Upstream's own limit is the Python interpreter's, about 990; this one is
/// below what any reader of the value needs of its stack.
pub const MAX_DEPTH: usize = 256;

/// How many digits an integer may have (Python's default limit since 3.11).
const MAX_DIGITS: usize = 4300;

/// Text that is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// What can be wrong with JSON text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The input is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A value was expected.
    #[error("a JSON value is expected")]
    NoValue,
    /// An object's key was expected.
    #[error("an object's key in double quotes is expected")]
    NoKey,
    /// Something else was expected.
    #[error("{0} is expected")]
    Expected(&'static str),
    /// A string has no end.
    #[error("the string has no closing quote")]
    OpenString,
    /// A string holds a control character.
    #[error("a control character in a string must be escaped")]
    ControlCharacter,
    /// A backslash is followed by something that is no escape.
    #[error("this is no escape sequence")]
    BadEscape,
    /// Something follows the value.
    #[error("the text goes on after the end of the value")]
    TrailingText,
    /// Nested too deeply.
    #[error("arrays and objects are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// An integer is too long.
    #[error("an integer of more than {MAX_DIGITS} digits")]
    TooManyDigits,
}

/// Reads one value from bytes.
///
/// # Errors
/// A [`ParseError`] with the place, if the bytes are not UTF-8 or not one JSON value.
pub fn parse(bytes: &[u8]) -> Result<Value, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_str(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(error_at(&before, before.len(), ParseErrorKind::NotUtf8))
        }
    }
}

/// Reads one value from text.
///
/// # Errors
/// A [`ParseError`] with the place, if the text is not one JSON value.
pub fn parse_str(text: &str) -> Result<Value, ParseError> {
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.document();
    parsed.map_err(|kind| error_at(text, parser.at, kind))
}

fn error_at(text: &str, at: usize, kind: ParseErrorKind) -> ParseError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ParseError { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, kind }
}

/// `at` is always on a character boundary, and on an error it is where the error is.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Value, ParseErrorKind> {
        let value = self.value(0)?;
        self.space();
        if self.at < self.text.len() { Err(ParseErrorKind::TrailingText) } else { Ok(value) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseErrorKind> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'0'..=b'9' | b'-') => self.number(),
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Value, ParseErrorKind> {
        let literals = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        for (name, value) in literals {
            if self.rest().starts_with(name) {
                self.at += name.len();
                return Ok(value);
            }
        }
        Err(ParseErrorKind::NoValue)
    }

    fn number(&mut self) -> Result<Value, ParseErrorKind> {
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let first = if self.peek() == Some(b'-') { self.at + 1 } else { self.at };
        // A leading zero ends the whole part: what follows is not part of the number.
        let whole = if bytes.get(first) == Some(&b'0') { first + 1 } else { digits(first) };
        if whole == first {
            return self.literal();
        }
        let mut end = whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction > end + 1 {
                end = fraction;
            }
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > end + 1 + sign {
                end = exponent;
            }
        }
        let text = &self.text[self.at..end];
        if end == whole && end - first > MAX_DIGITS {
            return Err(ParseErrorKind::TooManyDigits);
        }
        let value = match Int::parse(text) {
            Some(int) => Value::Int(int),
            None => Value::Float(text.parse().map_err(|_| ParseErrorKind::NoValue)?),
        };
        self.at = end;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value, ParseErrorKind> {
        let depth = self.enter(depth)?;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(ParseErrorKind::Expected("',' or ']'"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseErrorKind> {
        let depth = self.enter(depth)?;
        let mut object = Object::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(object));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(ParseErrorKind::NoKey);
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(ParseErrorKind::Expected("':'"));
            }
            let value = self.value(depth)?;
            object.insert(key, value);
            self.space();
            if self.take(b'}') {
                return Ok(Value::Object(object));
            }
            if !self.take(b',') {
                return Err(ParseErrorKind::Expected("',' or '}'"));
            }
        }
    }

    /// Steps over the opening bracket.
    fn enter(&mut self, depth: usize) -> Result<usize, ParseErrorKind> {
        if depth == MAX_DEPTH {
            return Err(ParseErrorKind::TooDeep);
        }
        self.at += 1;
        Ok(depth + 1)
    }

    fn string(&mut self) -> Result<Text, ParseErrorKind> {
        let start = self.at;
        self.at += 1;
        let mut text = TextBuilder::default();
        loop {
            let rest = self.rest();
            let special = |c: char| c == '"' || c == '\\' || c < ' ';
            let Some(end) = rest.find(special) else {
                self.at = start;
                return Err(ParseErrorKind::OpenString);
            };
            text.push_str(&rest[..end]);
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text.finish());
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(ParseErrorKind::ControlCharacter),
            }
        }
    }

    fn escape(&mut self) -> Result<u32, ParseErrorKind> {
        let bytes = self.text.as_bytes();
        let code = match bytes.get(self.at + 1) {
            Some(b'"') => 0x22,
            Some(b'\\') => 0x5c,
            Some(b'/') => 0x2f,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => 0x0a,
            Some(b'r') => 0x0d,
            Some(b't') => 0x09,
            Some(b'u') => {
                let hex = self.text.get(self.at + 2..self.at + 6);
                // `from_str_radix` alone would take a sign.
                let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or(ParseErrorKind::BadEscape)?;
                self.at += 6;
                return Ok(code);
            }
            _ => return Err(ParseErrorKind::BadEscape),
        };
        self.at += 2;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_str(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_last_of_equal_keys_wins_at_the_place_of_the_first() {
        let value = parse_str(r#"{"a": 1, "b": 2, "a": 3}"#).expect("valid");
        assert_eq!(value.to_line(), r#"{"a": 3, "b": 2}"#);
    }

    #[test]
    fn a_number_is_an_integer_by_its_text() {
        let value = parse_str("[1, 1.0, 1e2, -0, 1E-2, 123456789012345678901234567890]").expect("valid");
        assert_eq!(value.to_line(), "[1, 1.0, 100.0, 0, 0.01, 123456789012345678901234567890]");
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(error("{\n  \"é\": x}"), "line 2, column 8: a JSON value is expected");
        assert_eq!(error("[1 2]"), "line 1, column 4: ',' or ']' is expected");
        assert_eq!(error("{1: 2}"), "line 1, column 2: an object's key in double quotes is expected");
        assert_eq!(error("01"), "line 1, column 2: the text goes on after the end of the value");
        assert_eq!(error("\"a\nb\""), "line 1, column 3: a control character in a string must be escaped");
        assert_eq!(error("[\"a"), "line 1, column 2: the string has no closing quote");
        assert_eq!(error("\"\\u+123\""), "line 1, column 2: this is no escape sequence");
        assert_eq!(error(""), "line 1, column 1: a JSON value is expected");
        let bad = parse(b"{\"a\": \"\xff\"}").expect_err("not UTF-8");
        assert_eq!((bad.column, bad.kind), (8, ParseErrorKind::NotUtf8));
    }

    #[test]
    fn depth_and_digits_are_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_str(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse_str(&nested(MAX_DEPTH + 1)).map_err(|e| e.kind), Err(ParseErrorKind::TooDeep));
        assert_eq!(parse_str(&"[".repeat(1_000_000)).map_err(|e| e.kind), Err(ParseErrorKind::TooDeep));
        assert!(parse_str(&"9".repeat(MAX_DIGITS)).is_ok());
        assert_eq!(parse_str(&"9".repeat(MAX_DIGITS + 1)).map_err(|e| e.kind), Err(ParseErrorKind::TooManyDigits));
    }
}
