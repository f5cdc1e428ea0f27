//! The progress of a job, from the bytes of its event file to what a person sees.
//!
//! [`lines`] cuts bytes into lines, [`event`] reads a line, [`model`] keeps what is going on; these are pure. [`plain`]
//! turns changes into lines of text (pure as well), [`bars`] draws them on a terminal. Who reads the file and when is
//! not here: see `follow`.

pub(crate) mod bars;
pub(crate) mod event;
pub(crate) mod lines;
pub(crate) mod model;
pub(crate) mod plain;
