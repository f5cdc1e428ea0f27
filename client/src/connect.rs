//! Finding forged: on the system bus, or as a private one. [`choose`] decides (pure), the rest connects.

use forge_dbus::names::BUS_NAME;
use forge_dbus::{ErrorName, JobProxy, ManagerProxy, RepositoryProxy};
use zbus::Connection;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use crate::cli;
use crate::embedded::Private;
use crate::failure::{Failure, Result};
use crate::snapshot::Snapshot;

/// A connection to some forged.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    private: Option<Private>,
}

/// What the system bus offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BusState {
    /// There is none.
    Absent,
    /// There is one, but nobody on it is forged or can become it.
    WithoutForged,
    /// forged runs or would be started.
    Ready,
}

/// Where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Bus,
    Private,
}

impl Session {
    /// Connects as the options say.
    ///
    /// # Errors
    /// With what to do about it.
    pub(crate) async fn open(wish: &cli::Connection) -> Result<Self> {
        let wants_private =
            wish.embedded || wish.state_dir.is_some() || wish.cache_dir.is_some() || wish.config.is_some();
        let is_root = nix::unistd::geteuid().is_root();
        // With a private forged asked for, the bus is not even looked at.
        let (state, bus) = if wants_private { (BusState::Absent, None) } else { look_at_bus().await };
        match (choose(wish.bus, wants_private, is_root, state)?, bus) {
            (Plan::Bus, Some(connection)) => Ok(Self { connection, private: None }),
            _ => {
                let (connection, private) = Private::start(wish).await?;
                Ok(Self { connection, private: Some(private) })
            }
        }
    }

    /// The private forged, unless it is the system's.
    pub(crate) fn private(&self) -> Option<&Private> {
        self.private.as_ref()
    }

    /// The manager.
    pub(crate) async fn manager(&self) -> Result<ManagerProxy<'_>> {
        ManagerProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|e| self.failure("cannot reach forged", e))
    }

    /// The local repository.
    pub(crate) async fn repository(&self) -> Result<RepositoryProxy<'_>> {
        RepositoryProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|e| self.failure("cannot reach forged", e))
    }

    /// Job `id`, however old it is.
    pub(crate) async fn job(&self, id: u64) -> Result<JobHandle<'_>> {
        let path = self.manager().await?.load_job(id).await.map_err(|e| {
            let failure = self.failure(format!("cannot find job {id}"), e);
            match failure.name {
                Some(ErrorName::NotFound) => failure.hint("list the jobs: forgectl jobs"),
                _ => failure,
            }
        })?;
        self.job_at(id, path).await
    }

    /// The job at `path`, which forged just named.
    pub(crate) async fn job_at(&self, id: u64, path: OwnedObjectPath) -> Result<JobHandle<'_>> {
        let what = || format!("cannot reach job {id}");
        let job = JobProxy::builder(&self.connection)
            .path(path.clone())
            .map_err(|e| self.failure(what(), e))?
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|e| self.failure(what(), e))?;
        let properties = PropertiesProxy::builder(&self.connection)
            .destination(BUS_NAME)
            .map_err(|e| self.failure(what(), e))?
            .path(path)
            .map_err(|e| self.failure(what(), e))?
            .build()
            .await
            .map_err(|e| self.failure(what(), e))?;
        Ok(JobHandle { id, session: self, job, properties })
    }

    /// An error of the API, with what a private forged that died has to say for itself.
    pub(crate) fn failure(&self, what: impl Into<String>, error: impl Into<forge_dbus::Error>) -> Failure {
        let error = error.into();
        let lost = matches!(error, forge_dbus::Error::Bus(_));
        let failure = Failure::api(what, error);
        match &self.private {
            Some(private) if lost => private.explain(failure),
            _ => failure,
        }
    }

    /// Says good-bye and waits for a private forged to put its things away, unless it has `work_left`: then it goes on by
    /// itself and ends with its last job.
    pub(crate) async fn close(self, work_left: bool) {
        // Whatever goes wrong now changes nothing for the user.
        let _ = self.connection.close().await;
        if let Some(private) = self.private.filter(|_| !work_left) {
            private.wait().await;
        }
    }
}

/// One job on the other side.
#[derive(Debug)]
pub(crate) struct JobHandle<'a> {
    /// Its id.
    pub id: u64,
    /// Whom it was asked from.
    pub session: &'a Session,
    /// Its methods.
    pub job: JobProxy<'a>,
    /// Its properties.
    pub properties: PropertiesProxy<'a>,
}

impl JobHandle<'_> {
    /// All properties, in one message.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        let interface = zbus::names::InterfaceName::from_static_str_unchecked(forge_dbus::names::JOB_INTERFACE);
        let properties = self
            .properties
            .get_all(interface)
            .await
            .map_err(|e| self.session.failure(format!("cannot ask about job {}", self.id), e))?;
        Ok(Snapshot::from_properties(properties))
    }
}

async fn look_at_bus() -> (BusState, Option<Connection>) {
    let Ok(connection) = Connection::system().await else {
        return (BusState::Absent, None);
    };
    let state =
        if offers_forged(&connection).await.unwrap_or(false) { BusState::Ready } else { BusState::WithoutForged };
    (state, Some(connection))
}

async fn offers_forged(connection: &Connection) -> zbus::Result<bool> {
    let bus = DBusProxy::new(connection).await?;
    let name = BusName::try_from(BUS_NAME)?;
    if bus.name_has_owner(name).await? {
        return Ok(true);
    }
    let activatable = bus.list_activatable_names().await?;
    Ok(activatable.iter().any(|n| n.as_str() == BUS_NAME))
}

fn choose(wants_bus: bool, wants_private: bool, is_root: bool, state: BusState) -> Result<Plan> {
    match (state, wants_private) {
        (BusState::Ready, false) => Ok(Plan::Bus),
        (BusState::Absent, false) if wants_bus => Err(Failure::new("there is no system bus")
            .hint("leave out --bus; as root, forgectl then starts a private forged")),
        (BusState::WithoutForged, false) if wants_bus => {
            Err(Failure::new("the system bus does not know org.debian.forge1")
                .hint("install debian-forge, or leave out --bus as root"))
        }
        _ if is_root => Ok(Plan::Private),
        (_, true) => Err(Failure::named(ErrorName::NotAuthorized, "only root can start a private forged")
            .hint("run it as root, or leave out --embedded, --state-dir, --cache-dir and --config")),
        (BusState::Absent, false) => Err(Failure::new("forged cannot be reached: there is no system bus")
            .hint("run it as root: forgectl then starts a private forged")),
        (_, false) => Err(Failure::new("forged cannot be reached: the system bus does not know org.debian.forge1")
            .hint("install debian-forge, or run this as root: forgectl then starts a private forged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_go() {
        use BusState::{Absent, Ready, WithoutForged};
        let plan = |bus, private, root, state| choose(bus, private, root, state).ok();
        assert_eq!(plan(false, false, false, Ready), Some(Plan::Bus));
        assert_eq!(plan(false, false, true, Ready), Some(Plan::Bus));
        assert_eq!(plan(true, false, false, Ready), Some(Plan::Bus));
        assert_eq!(plan(false, false, true, Absent), Some(Plan::Private));
        assert_eq!(plan(false, false, true, WithoutForged), Some(Plan::Private));
        assert_eq!(plan(false, true, true, Absent), Some(Plan::Private));
        for (bus, private, root, state) in [
            (true, false, true, Absent),
            (true, false, true, WithoutForged),
            (false, false, false, Absent),
            (false, false, false, WithoutForged),
            (false, true, false, Absent),
        ] {
            let failure = choose(bus, private, root, state).unwrap_err();
            assert_eq!(failure.hints.len(), 1, "{failure:?}");
        }
        assert_eq!(choose(false, true, false, Absent).unwrap_err().code, 4);
    }
}
