//! Reading a document by its parts, with errors that say where. What does not live here: what the parts mean.

use super::error::LoadError;
use crate::json::{Object, Text, Value};
use crate::schema::{Issue, Step};

/// A value of the document and the way to it.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    path: Vec<Step>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: Vec::new() }
    }

    fn below(&self, step: impl Into<Step>, value: &'a Value) -> Self {
        let mut path = self.path.clone();
        path.push(step.into());
        Self { value, path }
    }

    /// The way to the value as text.
    pub(super) fn place(&self) -> String {
        Issue { message: String::new(), path: self.path.clone() }.path_text()
    }

    pub(super) fn malformed(&self, expected: impl Into<String>) -> LoadError {
        LoadError::Malformed { place: self.place(), expected: expected.into() }
    }

    pub(super) fn object(&self) -> Result<&'a Object, LoadError> {
        self.value.as_object().ok_or_else(|| self.malformed("an object is expected"))
    }

    pub(super) fn string(&self) -> Result<&'a str, LoadError> {
        self.value.as_str().ok_or_else(|| self.malformed("a string of Unicode characters is expected"))
    }

    /// The value of a key; `None` if there is none.
    pub(super) fn get(&self, key: &str) -> Result<Option<Self>, LoadError> {
        Ok(self.object()?.get(key).map(|value| self.below(key, value)))
    }

    pub(super) fn required(&self, key: &str) -> Result<Self, LoadError> {
        self.get(key)?.ok_or_else(|| self.malformed(format!("the key '{key}' is missing")))
    }

    pub(super) fn required_string(&self, key: &str) -> Result<String, LoadError> {
        self.required(key)?.string().map(str::to_owned)
    }

    /// A string; `None` if there is no such key.
    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>, LoadError> {
        self.get(key)?.map(|node| node.string().map(str::to_owned)).transpose()
    }

    /// A string that is not empty; `None` if it is, or if there is no such key.
    pub(super) fn filled_string(&self, key: &str) -> Result<Option<String>, LoadError> {
        Ok(self.optional_string(key)?.filter(|text| !text.is_empty()))
    }

    /// The object of a key; an empty one if there is no such key.
    pub(super) fn options(&self, key: &str) -> Result<Object, LoadError> {
        self.get(key)?.map_or_else(|| Ok(Object::new()), |node| node.object().cloned())
    }

    /// The items of an array.
    pub(super) fn items(&self) -> Result<Vec<Self>, LoadError> {
        let items = self.value.as_array().ok_or_else(|| self.malformed("an array is expected"))?;
        Ok(items.iter().enumerate().map(|(at, item)| self.below(at, item)).collect())
    }

    /// The entries of an object.
    pub(super) fn entries(&self) -> Result<Vec<(&'a Text, Self)>, LoadError> {
        let entries = self.object()?.iter();
        Ok(entries.map(|(key, value)| (key, self.below(Step::Key(key.clone()), value))).collect())
    }

    /// The items of the array at a key; none if there is no such key.
    pub(super) fn items_of(&self, key: &str) -> Result<Vec<Self>, LoadError> {
        self.get(key)?.map_or_else(|| Ok(Vec::new()), |node| node.items())
    }

    /// The entries of the object at a key, with names that are Unicode; none if there is no such key.
    pub(super) fn named_entries_of(&self, key: &str) -> Result<Vec<(String, Self)>, LoadError> {
        let Some(node) = self.get(key)? else { return Ok(Vec::new()) };
        let named = |(key, entry): (&Text, Self)| match key.as_str() {
            Some(name) => Ok((name.to_owned(), entry)),
            None => Err(entry.malformed("the name must be a string of Unicode characters")),
        };
        node.entries()?.into_iter().map(named).collect()
    }
}
