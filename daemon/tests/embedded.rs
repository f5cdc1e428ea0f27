//! forged over a private connection: the API, and jobs that survive whatever happens to forged or to their worker.
//! Needs root, for an embedded forged serves nobody else.

mod common;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;

use common::{Site, blueprint, read, wait_for_file, wait_until};
use forge_dbus::{
    BuildOptions, Error, ErrorName, JobFilter, LintOptions, LintTarget, RepositoryProxy, interfaces, names,
};
use futures_util::StreamExt;
use zbus::zvariant::{Fd, Value};

#[tokio::test]
async fn a_build_from_submission_to_artifact() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let options =
        BuildOptions { name: "minimal.toml".into(), image_types: vec!["qcow2".into()], ..BuildOptions::default() };
    let path = forged.submit("behave-succeed", &options).await.unwrap();
    assert_eq!(path, names::job_path(1));
    assert!(site.job_file(1, "request.json").exists(), "durable before the answer");
    forged.wait_for(&path, "succeeded").await;

    let job = forged.job(&path).await;
    assert_eq!(job.name().await.unwrap(), "minimal.toml");
    assert_eq!(job.image_types().await.unwrap(), ["qcow2"]);
    assert_eq!((job.kind().await.unwrap(), job.owner().await.unwrap()), ("build".to_owned(), 0));
    assert!(job.queued_at().await.unwrap() <= job.started_at().await.unwrap());
    assert!(job.started_at().await.unwrap() <= job.finished_at().await.unwrap());
    assert_eq!(job.commit().await.unwrap().reference, "debian/13/amd64/minimal");
    assert_eq!(job.cached().await.unwrap(), ["os"]);
    assert_eq!(job.phases().await.unwrap()[0].name, "build");
    let artifact = job.artifacts().await.unwrap().remove(0);
    assert_eq!(artifact.path, site.state().join("artifacts/1/disk.qcow2").to_str().unwrap());
    assert_eq!(read(job.open_artifact("disk.qcow2").await.unwrap()), "image");
    assert_eq!(read(job.open_log().await.unwrap()), "hello from the worker\n");
    assert!(read(job.open_events().await.unwrap()).contains("\"phase\":\"build\""));
    for name in ["manifest.json", "../log", "disk.raw"] {
        let error = Error::from(job.open_artifact(name).await.unwrap_err());
        assert_eq!(error.forge_name(), Some(ErrorName::NotFound), "{name}: {error}");
    }

    let rows = forged.manager().await.list_jobs(HashMap::new()).await.unwrap();
    assert_eq!((rows.len(), rows[0].id, rows[0].state.as_str()), (1, 1, "succeeded"));
    assert_eq!(rows[0].commit.version, "1.0.0");
}

#[tokio::test]
async fn a_failure_keeps_its_name_and_details() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let path = forged.submit_plain("behave-fail").await;
    forged.wait_for(&path, "failed").await;
    let job = forged.job(&path).await;
    assert_eq!(job.error_name().await.unwrap(), ErrorName::DepsolveFailed.dbus_name());
    assert_eq!(job.error_message().await.unwrap(), "no package nano2");
    let details = job.error_details().await.unwrap();
    assert_eq!(details["package"].downcast_ref::<&str>().unwrap(), "nano2");
    assert_eq!(details["near"].value_signature().to_string(), "as");
}

#[tokio::test]
async fn progress_and_state_are_told_by_signals() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let path = forged.submit_plain("behave-hold").await;
    let properties = zbus::fdo::PropertiesProxy::builder(forged.connection())
        .destination(names::BUS_NAME)
        .unwrap()
        .path(path.clone())
        .unwrap();
    let properties = properties.build().await.unwrap();
    let mut changes = properties.receive_properties_changed().await.unwrap();
    forged.wait_for(&path, "running").await;
    let mut seen = String::new();
    let told = async {
        while let Some(change) = changes.next().await {
            let arguments = change.args().unwrap();
            assert_eq!(arguments.interface_name, names::JOB_INTERFACE);
            for (name, value) in &arguments.changed_properties {
                seen.push_str(&format!("{name}={value};"));
                if *name == "Progress" {
                    site.release(1);
                }
            }
            if seen.contains("State=\"succeeded\"") {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(common::PATIENCE, told).await.is_ok(), "{seen}");
    assert!(seen.contains("Progress=(\"build\", uint64 3, uint64 9, \"stages\")"), "{seen}");
    assert!(seen.contains("Artifacts=") && seen.contains("FinishedAt="), "{seen}");
    assert!(!seen.contains("Priority="), "only what changed: {seen}");
}

#[tokio::test]
async fn a_cached_proxy_follows_a_private_connection() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let path = forged.submit_plain("behave-hold").await;
    let job = forge_dbus::JobProxy::builder(forged.connection()).path(path.clone()).unwrap().build().await.unwrap();
    let mut states = job.receive_state_changed().await;
    site.release(1);
    let until_end = async {
        while let Some(change) = states.next().await {
            if change.get().await.unwrap() == "succeeded" {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(common::PATIENCE, until_end).await.is_ok());
}

#[tokio::test]
async fn introspection_is_what_the_files_say() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let job = forged.submit_plain("behave-succeed").await;
    for (interface, committed) in interfaces::ALL {
        let path = match interface {
            names::MANAGER_INTERFACE => names::ROOT_PATH,
            names::JOB_INTERFACE => job.as_str(),
            _ => names::LOCAL_REPOSITORY_PATH,
        };
        let proxy = zbus::fdo::IntrospectableProxy::builder(forged.connection())
            .destination(names::BUS_NAME)
            .unwrap()
            .path(path)
            .unwrap();
        let running = proxy.build().await.unwrap().introspect().await.unwrap();
        assert_eq!(members(&running, interface), members(committed, interface), "{interface}");
    }
}

/// The members of an interface, each as one string, sorted; comments and white space do not count.
fn members(xml: &str, interface: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once("<!--") {
        text.push_str(before);
        rest = after.split_once("-->").unwrap().1;
    }
    text.push_str(rest);
    let body =
        text.split_once(&format!("<interface name=\"{interface}\">")).unwrap().1.split_once("</interface>").unwrap().0;
    let plain = body
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("> <", "><")
        .replace(" />", "/>")
        .replace("\"/>", "\">");
    let mut members: Vec<String> = Vec::new();
    for tag in plain.split_inclusive('>') {
        let tag = tag.trim();
        let starts = ["<method ", "<property ", "<signal "].iter().any(|s| tag.starts_with(s));
        match members.last_mut() {
            Some(last) if !starts => last.push_str(tag),
            _ => members.push(tag.to_owned()),
        }
    }
    for member in &mut members {
        for closing in ["</method>", "</property>", "</signal>", "</arg>", "</annotation>"] {
            *member = member.replace(closing, "");
        }
    }
    members.sort();
    members
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let manager = forged.manager().await;
    let file = blueprint("behave-succeed");
    let fd = || Fd::from(file.as_fd());

    let error =
        Error::from(manager.submit_build(fd(), HashMap::from([("image-type", Value::from("x"))])).await.unwrap_err());
    assert!(
        matches!(&error, Error::InvalidArgs(t) if t.contains("\"image-type\"") && t.contains("image-types")),
        "{error:?}"
    );
    let error =
        Error::from(manager.submit_build(fd(), HashMap::from([("priority", Value::from("high"))])).await.unwrap_err());
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("priority")), "{error:?}");
    let error =
        Error::from(manager.list_jobs(HashMap::from([("states", Value::from(vec!["done"]))])).await.unwrap_err());
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("succeeded")), "{error:?}");

    let directory = File::open("/").unwrap();
    let error = Error::from(manager.submit_build(Fd::from(directory.as_fd()), HashMap::new()).await.unwrap_err());
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("blueprint")), "{error:?}");
    let huge = tempfile::tempfile().unwrap();
    huge.set_len((1 << 20) + 1).unwrap();
    let error = Error::from(manager.submit_build(Fd::from(huge.as_fd()), HashMap::new()).await.unwrap_err());
    assert_eq!(error.forge_name(), Some(ErrorName::Limits), "{error:?}");
    let binary = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&binary, &[b'\n', 0xff, 0xfe], 0).unwrap();
    let error = Error::from(manager.submit_build(Fd::from(binary.as_fd()), HashMap::new()).await.unwrap_err());
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("line 2")), "{error:?}");
    let lock = blueprint("no JSON");
    let options = BuildOptions { lock: Some(lock.into()), ..BuildOptions::default() };
    let error = Error::from(manager.submit_build(fd(), options.to_dict()).await.unwrap_err());
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("lock file")), "{error:?}");

    for target in
        [HashMap::new(), HashMap::from([("ref", Value::from("../x"))]), HashMap::from([("commit", Value::from("12"))])]
    {
        let error = Error::from(manager.submit_lint(target).await.unwrap_err());
        assert!(matches!(error, Error::InvalidArgs(_)), "{error:?}");
    }
    let error = Error::from(manager.load_job(7).await.unwrap_err());
    assert_eq!(error.forge_name(), Some(ErrorName::NotFound));
    assert!(manager.list_jobs(HashMap::new()).await.unwrap().is_empty(), "nothing of all this became a job");
}

#[tokio::test]
async fn a_blueprint_may_come_through_a_pipe() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let submit = async {
        let manager = forged.manager().await;
        let path = manager.submit_build(Fd::from(reader.as_fd()), HashMap::new()).await.unwrap();
        forged.wait_for(&path, "succeeded").await;
    };
    let write = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        nix::unistd::write(&writer, b"name = \"x\" # behave-succeed\n").unwrap();
        drop(writer);
    };
    tokio::join!(submit, write);
}

#[tokio::test]
async fn cancelling_queued_running_and_finished_jobs() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let running = forged.submit_plain("behave-hold").await;
    let queued = forged.submit_plain("behave-hold").await;
    forged.wait_for(&running, "running").await;
    wait_for_file(&site.job_file(1, "pid")).await;

    forged.job(&queued).await.cancel(HashMap::new()).await.unwrap();
    assert_eq!(forged.job(&queued).await.state().await.unwrap(), "cancelled");
    let error = Error::from(
        forged.job(&running).await.cancel(HashMap::from([("force", Value::from(true))])).await.unwrap_err(),
    );
    assert!(matches!(&error, Error::InvalidArgs(t) if t.contains("force")), "{error:?}");
    forged.job(&running).await.cancel(HashMap::new()).await.unwrap();
    forged.wait_for(&running, "cancelled").await;
    assert_eq!(forged.job(&running).await.error_name().await.unwrap(), ErrorName::Cancelled.dbus_name());
    let error = Error::from(forged.job(&running).await.cancel(HashMap::new()).await.unwrap_err());
    assert_eq!(error.forge_name(), Some(ErrorName::Conflict));
    assert_eq!(site.started(), [1]);
}

#[tokio::test]
async fn the_same_key_is_the_same_job() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let options = BuildOptions { idempotency_key: "k1".into(), ..BuildOptions::default() };
    let first = forged.submit("behave-succeed", &options).await.unwrap();
    forged.wait_for(&first, "succeeded").await;
    assert_eq!(forged.submit("behave-succeed", &options).await.unwrap(), first);
    let error = forged.submit("behave-fail", &options).await.unwrap_err();
    assert_eq!(error.forge_name(), Some(ErrorName::Conflict));
    assert_eq!(site.started(), [1]);
}

#[tokio::test]
async fn priority_decides_and_the_limit_holds() {
    let site = Site::new("[builds]\nmax-concurrent = 1\n[queue]\nmax-queued = 3\n");
    let forged = site.embedded().await;
    let first = forged.submit_plain("behave-hold").await;
    forged.wait_for(&first, "running").await;
    let low = forged.submit_plain("behave-succeed").await;
    let high = forged.submit("behave-succeed", &BuildOptions { priority: 5, ..BuildOptions::default() }).await.unwrap();
    let lowest =
        forged.submit("behave-succeed", &BuildOptions { priority: -5, ..BuildOptions::default() }).await.unwrap();
    let error = forged.submit("behave-succeed", &BuildOptions::default()).await.unwrap_err();
    assert_eq!(error.forge_name(), Some(ErrorName::Limits), "{error:?}");
    let manager = forged.manager().await;
    assert_eq!((manager.queue_depth().await.unwrap(), manager.running().await.unwrap()), (3, 1));
    site.release(1);
    for path in [&low, &high, &lowest] {
        forged.wait_for(path, "succeeded").await;
    }
    assert_eq!(site.started(), [1, 3, 2, 4]);
}

#[tokio::test]
async fn a_job_outlives_the_death_of_forged() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let first = forged.submit_plain("behave-hold").await;
    let second = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&first, "running").await;
    wait_for_file(&site.job_file(1, "pid")).await;
    forged.kill();

    let forged = site.embedded().await;
    let manager = forged.manager().await;
    assert_eq!(manager.load_job(1).await.unwrap(), first);
    assert_eq!(forged.job(&first).await.state().await.unwrap(), "running");
    site.release(1);
    forged.wait_for(&first, "succeeded").await;
    forged.wait_for(&second, "succeeded").await;
    assert_eq!(site.started(), [1, 2], "none ran twice");
}

#[tokio::test]
async fn a_job_that_ends_while_no_forged_runs_is_found() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let path = forged.submit_plain("behave-hold").await;
    forged.wait_for(&path, "running").await;
    wait_for_file(&site.job_file(1, "pid")).await;
    forged.kill();
    site.release(1);
    wait_for_file(&site.job_file(1, "result.json")).await;
    let forged = site.embedded().await;
    forged.manager().await.load_job(1).await.unwrap();
    forged.wait_for(&path, "succeeded").await;
}

#[tokio::test]
async fn a_dead_worker_leaves_an_interrupted_job() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let path = forged.submit_plain("behave-die").await;
    forged.wait_for(&path, "interrupted").await;
    assert_eq!(forged.job(&path).await.error_name().await.unwrap(), ErrorName::Interrupted.dbus_name());
    let next = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&next, "succeeded").await;

    // Forged and worker both gone, as after a power cut.
    let held = forged.submit_plain("behave-hold").await;
    forged.wait_for(&held, "running").await;
    wait_for_file(&site.job_file(3, "pid")).await;
    forged.kill();
    let pid: i32 = std::fs::read_to_string(site.job_file(3, "pid")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let forged = site.embedded().await;
    forged.manager().await.load_job(3).await.unwrap();
    forged.wait_for(&held, "interrupted").await;
}

#[tokio::test]
async fn a_refusing_and_a_missing_worker_fail_the_job_with_a_reason() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let refused = forged.submit_plain("behave-refuse").await;
    forged.wait_for(&refused, "failed").await;
    let message = forged.job(&refused).await.error_message().await.unwrap();
    assert!(message.contains("the record is strange"), "{message}");
    std::fs::remove_file(site.directory.path().join("forge-worker")).unwrap();
    let missing = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&missing, "failed").await;
    let message = forged.job(&missing).await.error_message().await.unwrap();
    assert!(message.contains("forge-worker"), "{message}");
}

#[tokio::test]
async fn corrupt_files_are_set_aside_and_fail_their_job_only() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let corrupt = forged.submit_plain("behave-corrupt").await;
    forged.wait_for(&corrupt, "failed").await;
    assert_eq!(forged.job(&corrupt).await.error_name().await.unwrap(), ErrorName::Corrupt.dbus_name());
    assert!(site.state().join("quarantine/jobs_1_result.json.0").exists());
    let good = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&good, "succeeded").await;
    forged.kill();

    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::write(site.state().join(format!("forge.db{suffix}")), "garbage ".repeat(1000));
    }
    let forged = site.embedded().await;
    let rows = forged.manager().await.list_jobs(HashMap::new()).await.unwrap();
    assert_eq!(rows.iter().map(|r| (r.id, r.state.as_str())).collect::<Vec<_>>()[0], (2, "succeeded"), "{rows:?}");
    let next = forged.submit_plain("behave-succeed").await;
    assert_eq!(next, names::job_path(3));
    forged.wait_for(&next, "succeeded").await;
}

#[tokio::test]
async fn the_end_of_the_client_does_not_end_its_job() {
    let site = Site::new("");
    let mut forged = site.embedded().await;
    let path = forged.submit_plain("behave-hold").await;
    forged.submit_plain("behave-succeed").await;
    forged.wait_for(&path, "running").await;
    wait_for_file(&site.job_file(1, "pid")).await;
    forged.disconnect();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(forged.child.try_wait().unwrap().is_none(), "stays while its job runs");
    site.release(1);
    forged.exits().await;
    let forged = site.embedded().await;
    let rows = forged.manager().await.list_jobs(HashMap::new()).await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|r| r.state == "succeeded"), "{rows:?}");
}

#[tokio::test]
async fn two_on_one_state_directory_take_turns() {
    let site = Site::new("");
    let first = site.embedded().await;
    let held = first.submit_plain("behave-hold").await;
    first.wait_for(&held, "running").await;
    wait_for_file(&site.job_file(1, "pid")).await;
    let second = site.embedded().await;
    let other = second.submit_plain("behave-succeed").await;
    assert_eq!(second.job(&other).await.state().await.unwrap(), "queued");
    second.manager().await.load_job(1).await.unwrap();
    assert_eq!(second.job(&held).await.state().await.unwrap(), "running");
    // The second one may cancel what the first one watches, and sees how it ends.
    second.job(&held).await.cancel(HashMap::new()).await.unwrap();
    second.wait_for(&held, "cancelled").await;
    first.wait_for(&held, "cancelled").await;
    second.wait_for(&other, "succeeded").await;

    let last = second.submit_plain("behave-hold").await;
    second.wait_for(&last, "running").await;
    first.kill();
    site.release(3);
    second.wait_for(&last, "succeeded").await;
    let after = second.submit_plain("behave-succeed").await;
    second.wait_for(&after, "succeeded").await;
    assert_eq!(site.started(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn old_jobs_lose_their_object_and_get_it_back() {
    let site = Site::new("[queue]\nkeep-finished = 1\n");
    let forged = site.embedded().await;
    let manager = forged.manager().await;
    let first = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&first, "succeeded").await;
    let second = forged.submit_plain("behave-succeed").await;
    forged.wait_for(&second, "succeeded").await;
    let objects = zbus::fdo::ObjectManagerProxy::builder(forged.connection())
        .destination(names::BUS_NAME)
        .unwrap()
        .path(names::ROOT_PATH)
        .unwrap();
    let objects = objects.build().await.unwrap();
    let jobs = || async {
        let all = objects.get_managed_objects().await.unwrap();
        let mut ids: Vec<u64> = all.keys().filter_map(|p| names::job_id(p.as_str())).collect();
        ids.sort_unstable();
        ids
    };
    let until = std::time::Instant::now() + common::PATIENCE;
    while jobs().await != [2] {
        assert!(std::time::Instant::now() < until);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(manager.load_job(1).await.unwrap(), first);
    assert_eq!(jobs().await, [1]);
    assert_eq!(read(forged.job(&first).await.open_log().await.unwrap()), "hello from the worker\n");
    let page = JobFilter { limit: 1, before: 2, ..JobFilter::default() };
    assert_eq!(manager.list_jobs(page.to_dict()).await.unwrap()[0].id, 1);
}

#[tokio::test]
async fn lints_and_the_repository() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let repository = RepositoryProxy::new(forged.connection()).await.unwrap();
    assert!(repository.list_refs().await.unwrap().is_empty());
    assert_eq!(repository.path().await.unwrap(), site.state().join("repo").to_str().unwrap());
    assert_eq!(repository.mode().await.unwrap(), "");
    let error = Error::from(repository.log("debian/13/amd64/minimal", 0).await.unwrap_err());
    assert_eq!(error.forge_name(), Some(ErrorName::NotFound));
    let options = LintOptions { target: LintTarget::Ref("debian/13/amd64/minimal".into()) };
    let path = forged.manager().await.submit_lint(options.to_dict()).await.unwrap();
    assert_eq!(forged.job(&path).await.kind().await.unwrap(), "lint");
    assert_eq!(forged.job(&path).await.name().await.unwrap(), "debian/13/amd64/minimal");
    forged.wait_for(&path, "succeeded").await;
    wait_until("the request says so", || {
        std::fs::read_to_string(site.job_file(1, "request.json")).unwrap().contains("\"kind\":\"lint\"")
    })
    .await;
}

/// Issue 2 allows 32 MiB at the peak.
#[tokio::test]
async fn memory_stays_small_with_a_long_queue() {
    let site = Site::new("");
    let forged = site.embedded().await;
    let held = forged.submit_plain("behave-hold").await;
    forged.wait_for(&held, "running").await;
    for _ in 0..300 {
        forged.submit_plain("behave-succeed").await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", forged.child.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak {kib} KiB with 301 jobs; {}", status.lines().find(|l| l.starts_with("RssAnon")).unwrap());
    assert!(kib <= 32 << 10, "{kib} KiB");
}
