//! The trees of a run, by identifier: those it made and those it found in the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::BuildError;
use crate::manifest::Id;
use crate::store::{Object, Store};

/// Shared by the threads of a run.
#[derive(Debug)]
pub(super) struct Trees<'a> {
    store: &'a Store,
    objects: Mutex<HashMap<Id, Arc<Object>>>,
}

impl<'a> Trees<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, objects: Mutex::default() }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Id, Arc<Object>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tree of this run, or of the store; what was found once stays for the run.
    pub(super) fn find(&self, id: &Id) -> Result<Option<Arc<Object>>, BuildError> {
        let mut objects = self.objects();
        if let Some(object) = objects.get(id) {
            return Ok(Some(Arc::clone(object)));
        }
        let found = self.store.load(id.as_str())?.map(Arc::new);
        objects.extend(found.iter().map(|object| (id.clone(), Arc::clone(object))));
        Ok(found)
    }

    /// Adds a tree of this run.
    pub(super) fn add(&self, id: &Id, object: Object) {
        self.objects().insert(id.clone(), Arc::new(object));
    }

    pub(super) fn into_objects(self) -> HashMap<Id, Arc<Object>> {
        self.objects.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
