//! `org.debian.forge1.Job`, and the signals of its properties.

use std::collections::HashMap;
use std::os::fd::OwnedFd as StdFd;
use std::sync::Arc;

use forge_dbus::options::{OwnedDict, no_options};
use forge_dbus::{Artifact, CommitId, Error, ErrorName, Finding, PhaseTime, Progress, Result, names};
use zbus::Connection;
use zbus::message::Header;
use zbus::zvariant::{self, OwnedFd, Value};

use super::details;
use crate::auth::{Action, CallDetails};
use crate::front::{Front, Live};
use crate::queue::job::Job;

/// The object of one job.
#[derive(Debug)]
pub(crate) struct JobObject {
    front: Arc<Front>,
    id: u64,
}

#[zbus::interface(name = "org.debian.forge1.Job")]
impl JobObject {
    async fn cancel(
        &self,
        options: OwnedDict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        let _in_flight = self.front.enter().await?;
        self.authorise(connection, &header, Action::JobManage, ("verb", "cancel")).await?;
        no_options(&options)?;
        Ok(self.front.cancel(self.id).await?)
    }

    #[zbus(out_args("log"))]
    async fn open_log(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd> {
        self.open_own("log", &header, connection).await
    }

    #[zbus(out_args("events"))]
    async fn open_events(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd> {
        self.open_own("events.jsonl", &header, connection).await
    }

    #[zbus(out_args("artifact"))]
    async fn open_artifact(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd> {
        if names::JOB_DOCUMENTS.contains(&name) {
            return self.open_own(name, &header, connection).await;
        }
        let _in_flight = self.front.enter().await?;
        self.authorise(connection, &header, Action::LogRead, ("file", name)).await?;
        let job = self.job()?;
        let artifact = job.outcome.artifacts.iter().find(|a| a.name == name).ok_or_else(|| {
            let known: Vec<&str> =
                job.outcome.artifacts.iter().map(|a| a.name.as_str()).chain(names::JOB_DOCUMENTS).collect();
            Error::new(
                ErrorName::NotFound,
                format!(
                    "job {} has no artifact \"{}\"; there may be: {}",
                    self.id,
                    name.escape_debug(),
                    known.join(", ")
                ),
            )
        })?;
        let file = self.front.state.open_artifact(self.id, &artifact.path)?;
        let file = file.ok_or_else(|| {
            Error::new(ErrorName::NotFound, format!("the artifact {name} of job {} is no longer there", self.id))
        })?;
        Ok(zvariant::OwnedFd::from(StdFd::from(file)))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u64 {
        self.id
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> zbus::fdo::Result<&'static str> {
        Ok(self.shown()?.job.spec.kind.as_str())
    }

    #[zbus(property)]
    fn state(&self) -> zbus::fdo::Result<&'static str> {
        Ok(self.shown()?.job.state.as_str())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> zbus::fdo::Result<String> {
        Ok(self.shown()?.job.spec.name.clone())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn image_types(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.shown()?.job.spec.image_types.clone())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> zbus::fdo::Result<u32> {
        Ok(self.shown()?.job.spec.owner)
    }

    #[zbus(property)]
    fn priority(&self) -> zbus::fdo::Result<i32> {
        Ok(self.shown()?.job.spec.priority)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn queued_at(&self) -> zbus::fdo::Result<u64> {
        Ok(self.shown()?.job.spec.queued_at)
    }

    #[zbus(property)]
    fn started_at(&self) -> zbus::fdo::Result<u64> {
        Ok(self.shown()?.job.started_at)
    }

    #[zbus(property)]
    fn finished_at(&self) -> zbus::fdo::Result<u64> {
        Ok(self.shown()?.job.finished_at)
    }

    #[zbus(property)]
    fn progress(&self) -> zbus::fdo::Result<Progress> {
        Ok(self.shown()?.progress)
    }

    #[zbus(property)]
    fn error_name(&self) -> zbus::fdo::Result<&'static str> {
        Ok(error_name(&self.shown()?.job))
    }

    #[zbus(property)]
    fn error_message(&self) -> zbus::fdo::Result<String> {
        Ok(error_message(&self.shown()?.job).to_owned())
    }

    #[zbus(property)]
    fn error_details(&self) -> zbus::fdo::Result<HashMap<String, Value<'static>>> {
        Ok(details::to_dict(&self.shown()?.job.outcome.error_details))
    }

    #[zbus(property)]
    fn artifacts(&self) -> zbus::fdo::Result<Vec<Artifact>> {
        Ok(self.artifacts_of(&self.shown()?.job))
    }

    #[zbus(property)]
    fn commit(&self) -> zbus::fdo::Result<CommitId> {
        Ok(self.shown()?.job.outcome.commit.clone())
    }

    #[zbus(property)]
    fn phases(&self) -> zbus::fdo::Result<Vec<PhaseTime>> {
        Ok(self.shown()?.job.outcome.phases.clone())
    }

    #[zbus(property)]
    fn cached(&self) -> zbus::fdo::Result<Vec<String>> {
        Ok(self.shown()?.job.outcome.cached.clone())
    }

    #[zbus(property)]
    fn findings(&self) -> zbus::fdo::Result<Vec<Finding>> {
        Ok(self.shown()?.job.outcome.findings.clone())
    }
}

impl JobObject {
    fn shown(&self) -> zbus::fdo::Result<Live> {
        self.front
            .live(self.id)
            .ok_or_else(|| zbus::fdo::Error::UnknownObject(format!("job {} is not loaded", self.id)))
    }

    fn job(&self) -> Result<Arc<Job>> {
        let live = self
            .front
            .live(self.id)
            .ok_or_else(|| Error::new(ErrorName::NotFound, format!("job {} is not loaded; call LoadJob", self.id)))?;
        Ok(live.job)
    }

    /// One's own job is free; for others' polkit is asked with what it is about.
    async fn authorise(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        action: Action,
        what: (&'static str, &str),
    ) -> Result<()> {
        let caller = self.front.authority.caller(connection, header).await?;
        let job = self.job()?;
        if caller.uid == job.spec.owner {
            return Ok(());
        }
        let details: CallDetails = vec![
            ("job", self.id.to_string()),
            ("kind", job.spec.kind.to_string()),
            ("blueprint", job.spec.name.clone()),
            ("owner", job.spec.owner.to_string()),
            (what.0, what.1.chars().filter(|c| !c.is_control()).take(255).collect()),
        ];
        self.front.authority.check(&caller, action, details).await
    }

    async fn open_own(&self, name: &str, header: &Header<'_>, connection: &Connection) -> Result<OwnedFd> {
        let _in_flight = self.front.enter().await?;
        self.authorise(connection, header, Action::LogRead, ("file", name)).await?;
        let file = self.front.state.open_job_file(self.id, name)?;
        let file =
            file.ok_or_else(|| Error::new(ErrorName::NotFound, format!("job {} has no {name} (yet)", self.id)))?;
        Ok(zvariant::OwnedFd::from(StdFd::from(file)))
    }

    fn artifacts_of(&self, job: &Job) -> Vec<Artifact> {
        let directory = self.front.state.artifact_dir(self.id);
        let mut artifacts = job.outcome.artifacts.clone();
        for artifact in &mut artifacts {
            artifact.path = directory.join(&artifact.path).to_string_lossy().into_owned();
        }
        artifacts
    }
}

/// A job has got an object.
pub(crate) async fn appeared(connection: &Connection, front: &Arc<Front>, id: u64) -> zbus::Result<()> {
    let object = JobObject { front: Arc::clone(front), id };
    connection.object_server().at(names::job_path(id), object).await?;
    Ok(())
}

/// The object of a job goes; the job stays in the history.
pub(crate) async fn vanished(connection: &Connection, id: u64) -> zbus::Result<()> {
    connection.object_server().remove::<JobObject, _>(names::job_path(id)).await?;
    Ok(())
}

/// Tells the bus which properties differ between two moments of a job.
pub(crate) async fn changed(connection: &Connection, old: &Live, new: &Live) -> zbus::Result<()> {
    let id = new.job.spec.id;
    let path = names::job_path(id);
    let Ok(object) = connection.object_server().interface::<_, JobObject>(&path).await else { return Ok(()) };
    let object = object.get().await;
    let before = changing_properties(&object, old);
    let changed: HashMap<&str, Value<'_>> =
        changing_properties(&object, new).into_iter().filter(|(name, value)| before.get(name) != Some(value)).collect();
    super::properties_changed(connection, path.as_str(), names::JOB_INTERFACE, changed).await
}

fn changing_properties(object: &JobObject, live: &Live) -> HashMap<&'static str, Value<'static>> {
    let job = &live.job;
    HashMap::from([
        ("State", Value::from(job.state.as_str())),
        ("Priority", Value::from(job.spec.priority)),
        ("StartedAt", Value::from(job.started_at)),
        ("FinishedAt", Value::from(job.finished_at)),
        ("Progress", Value::from(live.progress.clone())),
        ("ErrorName", Value::from(error_name(job))),
        ("ErrorMessage", Value::from(error_message(job).to_owned())),
        ("ErrorDetails", Value::from(details::to_dict(&job.outcome.error_details))),
        ("Artifacts", Value::from(object.artifacts_of(job))),
        ("Commit", Value::from(job.outcome.commit.clone())),
        ("Phases", Value::from(job.outcome.phases.clone())),
        ("Cached", Value::from(job.outcome.cached.clone())),
        ("Findings", Value::from(job.outcome.findings.clone())),
    ])
}

fn error_name(job: &Job) -> &'static str {
    job.error.as_ref().map_or("", |e| e.name.dbus_name())
}

fn error_message(job: &Job) -> &str {
    job.error.as_ref().map_or("", |e| &e.message)
}
