//! Client proxies, one for each interface. On a peer-to-peer connection they work the same: the destination is ignored
//! there.

use std::collections::HashMap;

use zbus::zvariant::{Fd, OwnedFd, OwnedObjectPath, OwnedValue, Value};

use crate::types::{Artifact, BlueprintProblem, CommitId, CommitInfo, Finding, JobRow, PhaseTime, Progress, RefInfo};

/// `org.debian.forge1.Manager`: submits jobs and lists them.
#[zbus::proxy(
    interface = "org.debian.forge1.Manager",
    default_service = "org.debian.forge1",
    default_path = "/org/debian/forge1",
    gen_blocking = false
)]
pub trait Manager {
    /// Queues a build of the blueprint behind `blueprint`; options by [`crate::BuildOptions::to_dict`].
    fn submit_build(&self, blueprint: Fd<'_>, options: HashMap<&str, Value<'_>>) -> zbus::Result<OwnedObjectPath>;

    /// Queues a lint of a commit in the local repository; options by [`crate::LintOptions::to_dict`].
    fn submit_lint(&self, options: HashMap<&str, Value<'_>>) -> zbus::Result<OwnedObjectPath>;

    /// Looks at a blueprint without queueing anything; an empty answer means that it is well-formed.
    fn check_blueprint(
        &self,
        blueprint: Fd<'_>,
        options: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<Vec<BlueprintProblem>>;

    /// A page of jobs, newest first; the filter by [`crate::JobFilter::to_dict`].
    fn list_jobs(&self, filter: HashMap<&str, Value<'_>>) -> zbus::Result<Vec<JobRow>>;

    /// Makes sure the object of a job exists, however old the job is, and returns its path.
    fn load_job(&self, id: u64) -> zbus::Result<OwnedObjectPath>;

    /// Version of forged.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// Jobs that are queued or waiting.
    #[zbus(property)]
    fn queue_depth(&self) -> zbus::Result<u32>;

    /// Jobs that are running or cancelling.
    #[zbus(property)]
    fn running(&self) -> zbus::Result<u32>;
}

/// `org.debian.forge1.Job`: one job.
#[zbus::proxy(interface = "org.debian.forge1.Job", default_service = "org.debian.forge1", gen_blocking = false)]
pub trait Job {
    /// Asks the job to stop; returns before it has. Cancelling a job that has ended is an error (`Conflict`).
    fn cancel(&self, options: HashMap<&str, Value<'_>>) -> zbus::Result<()>;

    /// The log, readable from its start; grows while the job runs.
    fn open_log(&self) -> zbus::Result<OwnedFd>;

    /// The events, one JSON object a line; grows while the job runs.
    fn open_events(&self) -> zbus::Result<OwnedFd>;

    /// An artifact by name, or one of [`crate::names::JOB_DOCUMENTS`].
    fn open_artifact(&self, name: &str) -> zbus::Result<OwnedFd>;

    /// Job id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> zbus::Result<u64>;

    /// A [`crate::JobKind`].
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> zbus::Result<String>;

    /// A [`crate::JobState`].
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;

    /// Name of the blueprint, or of what a lint looks at.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> zbus::Result<String>;

    /// Image types that were asked for.
    #[zbus(property(emits_changed_signal = "const"))]
    fn image_types(&self) -> zbus::Result<Vec<String>>;

    /// Uid of the submitter.
    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> zbus::Result<u32>;

    /// Higher starts earlier.
    #[zbus(property)]
    fn priority(&self) -> zbus::Result<i32>;

    /// Microseconds since 1970.
    #[zbus(property(emits_changed_signal = "const"))]
    fn queued_at(&self) -> zbus::Result<u64>;

    /// Microseconds since 1970, zero before the start.
    #[zbus(property)]
    fn started_at(&self) -> zbus::Result<u64>;

    /// Microseconds since 1970, zero before the end.
    #[zbus(property)]
    fn finished_at(&self) -> zbus::Result<u64>;

    /// How far the job is.
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<Progress>;

    /// Full D-Bus error name, empty without an error.
    #[zbus(property)]
    fn error_name(&self) -> zbus::Result<String>;

    /// One sentence for people, empty without an error.
    #[zbus(property)]
    fn error_message(&self) -> zbus::Result<String>;

    /// Whatever else is known about the error; the keys depend on the error.
    #[zbus(property)]
    fn error_details(&self) -> zbus::Result<HashMap<String, OwnedValue>>;

    /// The files the job exported.
    #[zbus(property)]
    fn artifacts(&self) -> zbus::Result<Vec<Artifact>>;

    /// The commit the job made.
    #[zbus(property)]
    fn commit(&self) -> zbus::Result<CommitId>;

    /// How long each phase took, known at the end.
    #[zbus(property)]
    fn phases(&self) -> zbus::Result<Vec<PhaseTime>>;

    /// Pipelines that needed no work because the store had them.
    #[zbus(property)]
    fn cached(&self) -> zbus::Result<Vec<String>>;

    /// What the lint found.
    #[zbus(property)]
    fn findings(&self) -> zbus::Result<Vec<Finding>>;
}

/// `org.debian.forge1.Repository`: one OSTree repository, for reading.
#[zbus::proxy(
    interface = "org.debian.forge1.Repository",
    default_service = "org.debian.forge1",
    default_path = "/org/debian/forge1/repository/local",
    gen_blocking = false
)]
pub trait Repository {
    /// All refs, sorted; empty while nothing was built.
    fn list_refs(&self) -> zbus::Result<Vec<RefInfo>>;

    /// The commits of a ref, newest first, `max` at most (zero: all).
    fn log(&self, reference: &str, max: u32) -> zbus::Result<Vec<CommitInfo>>;

    /// Where the repository lies.
    #[zbus(property(emits_changed_signal = "const"))]
    fn path(&self) -> zbus::Result<String>;

    /// OSTree's repository mode (`bare`, `bare-user`, `archive`), empty while there is no repository yet.
    #[zbus(property(emits_changed_signal = "false"))]
    fn mode(&self) -> zbus::Result<String>;
}
