//! What is wrong with a blueprint, found without the archive and without a job.

use forge_dbus::BlueprintProblem;

pub(crate) fn problems(_text: &str) -> Vec<BlueprintProblem> {
    Vec::new()
}
