//! `org.debian.forge1.Manager`.

use std::collections::HashMap;
use std::sync::Arc;

use forge_dbus::options::{OwnedDict, no_options};
use forge_dbus::{
    BlueprintProblem, BuildOptions, Error, JobFilter, JobKind, JobRow, LintOptions, LintTarget, Result, names,
};
use serde_json::{Map, Value as Json};
use zbus::Connection;
use zbus::message::Header;
use zbus::zvariant::{OwnedFd, OwnedObjectPath, OwnedValue, Value};

use crate::auth::{Action, CallDetails};
use crate::blueprint;
use crate::front::Front;
use crate::input::{MAX_BLUEPRINT, MAX_LOCK, read_text};
use crate::queue::job::{Job, JobSpec};
use crate::record::Request;
use crate::store::{Submission, now_micros};

/// The object at the root path.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) front: Arc<Front>,
}

#[zbus::interface(name = "org.debian.forge1.Manager")]
impl Manager {
    #[zbus(out_args("job"))]
    async fn submit_build(
        &self,
        blueprint: OwnedFd,
        options: OwnedDict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let _in_flight = self.front.enter().await?;
        let caller = self.front.authority.caller(connection, &header).await?;
        self.front.authority.check(&caller, Action::Build, build_details(&options)).await?;
        let options = BuildOptions::from_dict(options)?;
        let text = read_text(blueprint.into(), "blueprint", MAX_BLUEPRINT).await?;
        let lock = match options.lock {
            Some(fd) => Some(parse_lock(&read_text(fd, "lock file", MAX_LOCK).await?)?),
            None => None,
        };
        let name = if options.name.is_empty() { "blueprint".to_owned() } else { options.name };
        blueprint::check(&text, &name)?;
        let spec = JobSpec {
            id: 0,
            kind: JobKind::Build,
            name: name.clone(),
            image_types: options.image_types.clone(),
            owner: caller.uid,
            priority: options.priority,
            queued_at: now_micros(),
        };
        let request = Request::build(text, name, options.image_types, options.until, lock, caller.uid);
        self.submit(spec, request, options.idempotency_key).await
    }

    #[zbus(out_args("job"))]
    async fn submit_lint(
        &self,
        options: OwnedDict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let _in_flight = self.front.enter().await?;
        let caller = self.front.authority.caller(connection, &header).await?;
        self.front.authority.check(&caller, Action::Build, lint_details(&options)).await?;
        let options = LintOptions::from_dict(options)?;
        let (key, value) = match &options.target {
            LintTarget::Ref(name) => ("ref", name),
            LintTarget::Commit(checksum) => ("commit", checksum),
        };
        let spec = JobSpec {
            id: 0,
            kind: JobKind::Lint,
            name: value.clone(),
            image_types: Vec::new(),
            owner: caller.uid,
            priority: 0,
            queued_at: now_micros(),
        };
        self.submit(spec, Request::lint(key, value, caller.uid), String::new()).await
    }

    #[zbus(out_args("problems"))]
    async fn check_blueprint(&self, blueprint: OwnedFd, options: OwnedDict) -> Result<Vec<BlueprintProblem>> {
        let _in_flight = self.front.enter().await?;
        no_options(&options)?;
        let text = read_text(blueprint.into(), "blueprint", MAX_BLUEPRINT).await?;
        Ok(blueprint::problems(&text))
    }

    #[zbus(out_args("jobs"))]
    async fn list_jobs(&self, filter: OwnedDict) -> Result<Vec<JobRow>> {
        let _in_flight = self.front.enter().await?;
        let filter = JobFilter::from_dict(filter)?;
        Ok(self.front.page(filter).await?.into_iter().map(row).collect())
    }

    #[zbus(out_args("job"))]
    async fn load_job(&self, id: u64) -> Result<OwnedObjectPath> {
        let _in_flight = self.front.enter().await?;
        self.front.load(id).await?;
        Ok(names::job_path(id))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn queue_depth(&self) -> u32 {
        self.front.counts().0
    }

    #[zbus(property)]
    fn running(&self) -> u32 {
        self.front.counts().1
    }
}

impl Manager {
    async fn submit(&self, spec: JobSpec, request: Request, idempotency_key: String) -> Result<OwnedObjectPath> {
        let submission = Submission { spec, request, idempotency_key, max_queued: self.front.config.max_queued };
        let id = self.front.submit(submission).await?;
        Ok(names::job_path(id))
    }
}

/// Tells the bus that the counts have changed, if they have. Counts are (waiting, running).
pub(crate) async fn counts_changed(connection: &Connection, old: (u32, u32), new: (u32, u32)) -> zbus::Result<()> {
    let mut changed = HashMap::new();
    if old.0 != new.0 {
        changed.insert("QueueDepth", Value::from(new.0));
    }
    if old.1 != new.1 {
        changed.insert("Running", Value::from(new.1));
    }
    super::properties_changed(connection, names::ROOT_PATH, names::MANAGER_INTERFACE, changed).await
}

/// What rules may look at. The options are not checked yet, for the question comes first; so only short plain strings pass.
fn build_details(options: &OwnedDict) -> CallDetails {
    let mut details = vec![("kind", JobKind::Build.to_string())];
    details.extend(text(options.get("name")).map(|name| ("blueprint", name)));
    details.extend(text(options.get("until")).map(|until| ("until", until)));
    let types: Option<Vec<String>> = options.get("image-types").and_then(|v| v.try_clone().ok()?.try_into().ok());
    details.extend(types.map(|t| ("image-types", t.join(","))).filter(|(_, t)| is_short(t)));
    details
}

fn lint_details(options: &OwnedDict) -> CallDetails {
    let mut details = vec![("kind", JobKind::Lint.to_string())];
    details.extend(text(options.get("ref")).map(|name| ("ref", name)));
    details.extend(text(options.get("commit")).map(|checksum| ("commit", checksum)));
    details
}

fn text(value: Option<&OwnedValue>) -> Option<String> {
    value?.downcast_ref::<&str>().ok().map(ToOwned::to_owned).filter(|t| is_short(t))
}

fn is_short(text: &str) -> bool {
    text.len() <= 1024 && !text.chars().any(char::is_control)
}

fn parse_lock(text: &str) -> Result<Map<String, Json>> {
    serde_json::from_str(text).map_err(|e| Error::InvalidArgs(format!("the lock file is not a JSON object: {e}")))
}

fn row(job: Job) -> JobRow {
    JobRow {
        id: job.spec.id,
        path: names::job_path(job.spec.id),
        kind: job.spec.kind.to_string(),
        state: job.state.to_string(),
        name: job.spec.name,
        image_types: job.spec.image_types,
        owner: job.spec.owner,
        priority: job.spec.priority,
        queued_at: job.spec.queued_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        error_name: job.error.as_ref().map(|e| e.name.to_string()).unwrap_or_default(),
        error_message: job.error.map(|e| e.message).unwrap_or_default(),
        commit: job.outcome.commit,
        extra: HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_hold_what_is_plain_and_nothing_else() {
        let dict: OwnedDict = [
            ("name", Value::from("m.toml")),
            ("image-types", Value::from(vec!["ostree-commit", "qcow2"])),
            ("until", Value::from("x".repeat(2000))),
            ("priority", Value::from(1)),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.try_to_owned().unwrap()))
        .collect();
        let mut details = build_details(&dict);
        details.sort_unstable();
        assert_eq!(
            details,
            [
                ("blueprint", "m.toml".to_owned()),
                ("image-types", "ostree-commit,qcow2".to_owned()),
                ("kind", "build".to_owned())
            ]
        );
    }

    #[test]
    fn a_lock_file_is_an_object() {
        assert!(parse_lock("{\"version\":1}").is_ok());
        let error = parse_lock("[1]").unwrap_err();
        assert!(matches!(error, Error::InvalidArgs(_)));
    }
}
