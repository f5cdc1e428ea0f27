//! The queue as pure code: what a job is, which transitions its state may make ([`job`]), which job starts next
//! ([`schedule`]), which finished jobs keep their object ([`retain`]). No I/O, no clock: times come in as arguments.

pub(crate) mod job;
pub(crate) mod retain;
pub(crate) mod schedule;
