//! Who may do what. On the bus polkit decides, asked with the details of the call; on a private connection the peer was
//! found to be root when it connected, and may do everything. Root may do everything on the bus as well: polkit would say the
//! same, and this way a machine without polkitd can be mended.

use std::sync::OnceLock;

use forge_dbus::{Error, ErrorName, Result};
use polkit_rs::{Authority as PolkitAuthority, CheckAuthorizationFlags, Details, SystemBusName};
use tokio::sync::oneshot;
use zbus::message::{Flags, Header};

/// The actions; see `polkit/org.debian.forge1.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Submit jobs.
    Build,
    /// Cancel other users' jobs.
    JobManage,
    /// Read other users' logs, events and artifacts.
    LogRead,
}

impl Action {
    /// polkit's id of the action.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Build => "org.debian.forge1.build",
            Self::JobManage => "org.debian.forge1.job-manage",
            Self::LogRead => "org.debian.forge1.log-read",
        }
    }
}

/// Whoever made a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Uid.
    pub(crate) uid: u32,
    /// Unique bus name; `None` on a private connection.
    pub(crate) bus_name: Option<String>,
    /// True if the caller said that a password prompt would be fine.
    pub(crate) interactive: bool,
}

/// What a rule may look at, in polkit's words: keys and values.
pub(crate) type CallDetails = Vec<(&'static str, String)>;

/// The one that decides.
#[derive(Debug)]
pub(crate) enum Authority {
    /// polkit, reached from a thread of its own.
    Polkit(PolkitThread),
    /// A private connection of root.
    Peer,
}

impl Authority {
    /// Who made the call with this header.
    ///
    /// # Errors
    /// `NotAuthorized` if the caller is gone before it could be identified.
    pub(crate) async fn caller(&self, connection: &zbus::Connection, header: &Header<'_>) -> Result<Caller> {
        let interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        match self {
            Self::Peer => Ok(Caller { uid: 0, bus_name: None, interactive }),
            Self::Polkit(_) => {
                let unknown = || Error::new(ErrorName::NotAuthorized, "the caller cannot be identified");
                let sender = header.sender().ok_or_else(unknown)?.to_owned();
                let bus = zbus::fdo::DBusProxy::builder(connection)
                    .cache_properties(zbus::proxy::CacheProperties::No)
                    .build()
                    .await?;
                let uid = bus.get_connection_unix_user(sender.clone().into()).await.map_err(|_| unknown())?;
                Ok(Caller { uid, bus_name: Some(sender.to_string()), interactive })
            }
        }
    }

    /// Asks whether the caller may do this. May take as long as a person needs to type a password.
    ///
    /// # Errors
    /// `NotAuthorized` with a reason.
    pub(crate) async fn check(&self, caller: &Caller, action: Action, details: CallDetails) -> Result<()> {
        if caller.uid == 0 {
            return Ok(());
        }
        match (self, &caller.bus_name) {
            (Self::Polkit(polkit), Some(name)) => polkit.check(name.clone(), action, details, caller.interactive).await,
            _ => Err(Error::new(ErrorName::NotAuthorized, "only root may do this on a private connection")),
        }
    }
}

/// polkit-rs needs a thread with a `GLib` main context. The thread starts with the first question; all questions are
/// asynchronous on it, so one prompt does not hold up another caller.
#[derive(Debug, Default)]
pub(crate) struct PolkitThread {
    context: OnceLock<glib::MainContext>,
}

impl PolkitThread {
    async fn check(&self, bus_name: String, action: Action, details: CallDetails, interactive: bool) -> Result<()> {
        let context = self.context.get_or_init(start_thread);
        let (answer, result) = oneshot::channel();
        // The handle is for joining, which nobody does: the answer comes through the channel.
        drop(context.spawn_from_within(move || async move {
            let found = ask(&bus_name, action, &details, interactive).await;
            // The caller may have gone away.
            let _ = answer.send(found);
        }));
        result.await.map_err(|_| Error::new(ErrorName::Internal, "the polkit thread has ended"))?
    }
}

fn start_thread() -> glib::MainContext {
    let context = glib::MainContext::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let inner = context.clone();
    std::thread::spawn(move || {
        let main_loop = glib::MainLoop::new(Some(&inner), false);
        let ran = inner.with_thread_default(|| {
            // From here on the context belongs to this thread, and whatever others spawn on it runs here.
            let _ = ready.send(());
            main_loop.run();
        });
        if let Err(error) = ran {
            tracing::error!(%error, "the polkit thread cannot run");
        }
    });
    // An error means that the thread has ended; then so has the answer's channel, which the caller reports.
    let _ = is_ready.recv();
    context
}

async fn ask(bus_name: &str, action: Action, details: &CallDetails, interactive: bool) -> Result<()> {
    let no_polkit = |e: glib::Error| {
        Error::new(ErrorName::NotAuthorized, format!("polkit cannot be asked about {}: {}", action.id(), e.message()))
    };
    let authority = PolkitAuthority::async__future().await.map_err(no_polkit)?;
    let subject = SystemBusName::new(bus_name);
    let polkit_details = Details::new();
    for (key, value) in details {
        polkit_details.insert(key, Some(value));
    }
    let flags =
        if interactive { CheckAuthorizationFlags::ALLOW_USER_INTERACTION } else { CheckAuthorizationFlags::NONE };
    let answer = authority
        .check_authorization_future(&subject, action.id(), Some(&polkit_details), flags)
        .await
        .map_err(no_polkit)?;
    if answer.is_authorized() {
        Ok(())
    } else if answer.is_challenge() && !interactive {
        Err(Error::new(
            ErrorName::NotAuthorized,
            format!("{} needs authentication, and the caller does not allow a prompt", action.id()),
        ))
    } else {
        Err(Error::new(ErrorName::NotAuthorized, format!("not authorized for {}", action.id())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_is_in_the_policy_file_with_its_owner() {
        let policy = include_str!("../../polkit/org.debian.forge1.policy");
        for action in [Action::Build, Action::JobManage, Action::LogRead] {
            let start =
                policy.find(&format!("<action id=\"{}\">", action.id())).unwrap_or_else(|| panic!("{action:?}"));
            let text = &policy[start..start + policy[start..].find("</action>").unwrap()];
            assert!(
                text.contains("<annotate key=\"org.freedesktop.policykit.owner\">unix-user:_forge</annotate>"),
                "{action:?}"
            );
            for tag in ["<description>", "<message>", "<allow_any>", "<allow_inactive>", "<allow_active>"] {
                assert!(text.contains(tag), "{action:?} {tag}");
            }
        }
    }
}
