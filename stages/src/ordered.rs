//! A JSON object with its members in the order of the text.
//!
//! The order is part of what some stages promise: users get their numbers, and units their lines, in the order of the
//! manifest. serde_json's own map sorts.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Members of an object, in order; a repeated name keeps its first place and its last value, as in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered<V>(pub(crate) Vec<(String, V)>);

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Ordered<V> {
    /// Whether there is a member of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, V)> = Vec::new();
                while let Some((name, value)) = access.next_entry::<String, V>()? {
                    match members.iter_mut().find(|(n, _)| *n == name) {
                        Some(old) => old.1 = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order() {
        let got: Ordered<u8> = serde_json::from_str(r#"{"z": 1, "a": 2, "z": 3}"#).expect("parses");
        assert_eq!(got.0, [("z".to_owned(), 3), ("a".to_owned(), 2)]);
        assert!(got.contains("a") && !got.contains("b"));
        assert!(serde_json::from_str::<Ordered<u8>>("[]").is_err());
    }
}
