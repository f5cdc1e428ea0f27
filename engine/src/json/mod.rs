//! JSON as Python reads and writes it, because identifiers are hashed from Python's text.
//!
//! What lives here: the [`Value`] tree, its parser for untrusted input and its three output forms. What does not: what
//! any document means (see [`crate::manifest`] and [`crate::schema`]).
//!
//! It differs from `serde_json` where Python does: integers of any size stay exact, `1` and `1.0` are different
//! things, `NaN` and `Infinity` are literals, strings may hold lone surrogates, objects keep their order and the last
//! of two equal keys wins at the place of the first.

mod convert;
mod dump;
mod number;
mod object;
mod parse;
#[cfg(test)]
mod properties;
mod text;

pub use number::{Int, float_repr};
pub use object::Object;
pub use parse::{MAX_DEPTH, ParseError, ParseErrorKind, parse, parse_str};
pub use text::Text;

/// One JSON value.
///
/// Equality is structural: an integer never equals a float, NaN equals nothing, and the order of keys is ignored.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number written without `.`, `e` or `E`.
    Int(Int),
    /// Any other number, and `NaN`, `Infinity`, `-Infinity`.
    Float(f64),
    /// A string.
    String(Text),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

impl Value {
    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one (floats such as `1.0` are not).
    #[must_use]
    pub fn as_int(&self) -> Option<&Int> {
        match self {
            Self::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_int().and_then(Int::as_i64)
    }

    /// The integer, if it is one, is not negative and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_int().and_then(Int::as_u64)
    }

    /// The number as the nearest float, for integers and floats.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value.to_f64()),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The string's text, if it is a string.
    #[must_use]
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The string, if it is one without lone surrogates.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_text().and_then(Text::as_str)
    }

    /// The items, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The object to change, if it is one.
    #[must_use]
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The value of a key, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object().and_then(|object| object.get(key))
    }

    /// Python's truth: `null`, `false`, zero and everything empty are false.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => value.as_i64() != Some(0),
            Self::Float(value) => *value != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::Array(items) => !items.is_empty(),
            Self::Object(object) => !object.is_empty(),
        }
    }

    /// The canonical text (`json.dumps(value, sort_keys=True)`): what identifiers are hashed from. Pure ASCII.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        dump::dumps(self, dump::Form::Canonical)
    }

    /// One line, keys in their own order (`json.dumps(value)`). Pure ASCII.
    #[must_use]
    pub fn to_line(&self) -> String {
        dump::dumps(self, dump::Form::Line)
    }

    /// Indented by two spaces a level, keys in their own order (`json.dumps(value, indent=2)`). Pure ASCII.
    #[must_use]
    pub fn to_pretty(&self) -> String {
        dump::dumps(self, dump::Form::Pretty)
    }
}
