//! Objects that keep the order of their keys.

use std::collections::HashMap;
use std::fmt;

use super::{Text, Value};

/// From this many keys on an index is kept; below it a scan is faster and smaller.
const INDEX_FROM: usize = 16;

/// A JSON object: keys in the order they came. Setting a key that exists replaces its value in place.
#[derive(Clone, Default)]
pub struct Object {
    entries: Vec<(Text, Value)>,
    /// Position of every key; none while there are few. Boxed, because most objects are small and there are many.
    #[expect(clippy::box_collection, reason = "a pointer in every object instead of an empty table")]
    index: Option<Box<HashMap<Text, usize>>>,
}

impl Object {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key.as_bytes()).map(|at| &self.entries[at].1)
    }

    /// The value of a key, to change.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.position(key.as_bytes()).map(|at| &mut self.entries[at].1)
    }

    /// The value of a key that may hold lone surrogates.
    #[must_use]
    pub fn get_text(&self, key: &Text) -> Option<&Value> {
        self.position(key.as_bytes()).map(|at| &self.entries[at].1)
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key.as_bytes()).is_some()
    }

    /// Sets a key: at the end if it is new, in place otherwise. Returns the value it replaced.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(at) = self.position(key.as_bytes()) {
            return Some(std::mem::replace(&mut self.entries[at].1, value));
        }
        self.entries.push((key, value));
        if let Some(index) = &mut self.index {
            let at = self.entries.len() - 1;
            index.insert(self.entries[at].0.clone(), at);
        } else if self.entries.len() >= INDEX_FROM {
            self.reindex();
        }
        None
    }

    /// The object with one more key, to write one in an expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Text>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Takes a key out; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.position(key.as_bytes())?;
        let (_, value) = self.entries.remove(at);
        self.reindex();
        Some(value)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Value)> + DoubleEndedIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// Keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Text> + DoubleEndedIterator {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + DoubleEndedIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|(name, _)| name.as_bytes() == key),
        }
    }

    fn reindex(&mut self) {
        let positions = || self.entries.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
        self.index = (self.entries.len() >= INDEX_FROM).then(|| Box::new(positions()));
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get_text(key) == Some(value))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut object = Self::new();
        object.extend(pairs);
        object
    }
}

impl<K: Into<Text>, V: Into<Value>> Extend<(K, V)> for Object {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            self.insert(key, value);
        }
    }
}

impl IntoIterator for Object {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_are_found_replaced_and_removed_in_order() {
        let mut object: Object = (0..100_i64).map(|n| (n.to_string(), n)).collect();
        assert_eq!(object.insert("7", "seven"), Some(Value::from(7)));
        assert_eq!(object.remove("50"), Some(Value::from(50)));
        assert_eq!(object.len(), 99);
        assert_eq!(object.get("7").and_then(Value::as_str), Some("seven"));
        assert_eq!(object.get("99").and_then(Value::as_i64), Some(99));
        assert!(!object.contains_key("50"));
        assert_eq!(object.keys().nth(7).and_then(Text::as_str), Some("7"));
        for n in 0..95 {
            object.remove(&n.to_string());
        }
        assert_eq!(object.to_string_keys(), ["95", "96", "97", "98", "99"]);
    }

    #[test]
    fn order_does_not_matter_for_equality() {
        let a = Object::new().with("x", 1).with("y", 2);
        let b = Object::new().with("y", 2).with("x", 1);
        assert_eq!(a, b);
        assert_ne!(a, b.with("z", 3));
    }

    impl Object {
        fn to_string_keys(&self) -> Vec<String> {
            self.keys().map(ToString::to_string).collect()
        }
    }
}
