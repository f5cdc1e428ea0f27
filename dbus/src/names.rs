//! Bus name, object paths and interface names, each written down once. No behaviour beyond joining and splitting them.

use zbus::zvariant::OwnedObjectPath;

/// The well-known name forged owns on the system bus.
pub const BUS_NAME: &str = "org.debian.forge1";
/// Object with the [`MANAGER_INTERFACE`] and `org.freedesktop.DBus.ObjectManager`.
pub const ROOT_PATH: &str = "/org/debian/forge1";
/// Parent of all job objects; a job's path is this, a slash and the decimal job id.
pub const JOB_PARENT: &str = "/org/debian/forge1/job";
/// Parent of all repository objects.
pub const REPOSITORY_PARENT: &str = "/org/debian/forge1/repository";
/// The local repository, the only one there is for now.
pub const LOCAL_REPOSITORY_PATH: &str = "/org/debian/forge1/repository/local";

/// Submits jobs and lists them.
pub const MANAGER_INTERFACE: &str = "org.debian.forge1.Manager";
/// One job.
pub const JOB_INTERFACE: &str = "org.debian.forge1.Job";
/// One OSTree repository.
pub const REPOSITORY_INTERFACE: &str = "org.debian.forge1.Repository";

/// The file names `Job.OpenArtifact` knows besides the job's artifacts: the depsolved lock and the `OSBuild` manifest.
pub const JOB_DOCUMENTS: [&str; 2] = ["lock.json", "manifest.json"];

/// The object path of job `id`.
#[must_use]
pub fn job_path(id: u64) -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("{JOB_PARENT}/{id}")).expect("digits make a valid path element")
}

/// The job id in an object path, or `None` if this is not the path of a job.
#[must_use]
pub fn job_id(path: &str) -> Option<u64> {
    let digits = path.strip_prefix(JOB_PARENT)?.strip_prefix('/')?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_paths_go_both_ways() {
        for id in [0, 1, 42, u64::MAX] {
            assert_eq!(job_id(&job_path(id)), Some(id));
        }
        for wrong in [
            "",
            "/org/debian/forge1/job",
            "/org/debian/forge1/job/",
            "/org/debian/forge1/job/x",
            "/org/debian/forge1/job/+7",
            "/org/debian/forge1/job/07",
            "/org/debian/forge1/jobs/7",
        ] {
            assert_eq!(job_id(wrong), None, "{wrong}");
        }
    }
}
