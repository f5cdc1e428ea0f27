//! Host services: the server loop shared by sources, inputs, devices and mounts, and what a service holds. How its messages
//! travel: `channel`; what does not live here: what a service does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::channel::{self, Channel};
use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::{fd, table};

/// What a service gives back when the engine closes: a mount, a loop device.
pub(crate) trait Held: std::fmt::Debug {
    /// Gives it back.
    ///
    /// # Errors
    /// It could not be given back, or not as it should be; nobody tries again.
    fn release(self: Box<Self>) -> Result<()>;
}

/// Something bind-mounted, with whatever is mounted below it. What it shows is mounted elsewhere too, so there is nothing
/// to write out and nothing to wait for.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The mount point.
    pub(crate) at: PathBuf,
}

impl Held for Bound {
    fn release(self: Box<Self>) -> Result<()> {
        unmount(&self.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).doing("unmount", &self.at)
    }
}

/// A running host service, as its methods see it.
#[derive(Debug)]
pub(crate) struct Service {
    channel: Channel,
    /// In the order it was got.
    held: Vec<Box<dyn Held>>,
    /// The call that is being answered.
    call: Vec<u8>,
}

impl Service {
    /// Serves on this channel.
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, held: Vec::new(), call: Vec::new() }
    }

    /// Keeps something until the engine closes, or until [`Service::release`].
    pub(crate) fn hold(&mut self, held: impl Held + 'static) {
        self.held.push(Box::new(held));
    }

    /// Gives back everything it holds, the last first.
    ///
    /// # Errors
    /// The first failure; the others are printed, and the rest is given back all the same.
    pub(crate) fn release(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(held) = self.held.pop() {
            match (held.release(), &result) {
                (Err(error), Ok(())) => result = Err(error),
                (Err(error), Err(_)) => eprintln!("{error}"),
                (Ok(()), _) => {}
            }
        }
        result
    }

    /// Sends a signal (a message beside the reply).
    ///
    /// # Errors
    /// The engine has gone.
    pub(crate) fn signal(&self, value: &Value) -> Result<()> {
        self.channel.send(&json!({"type": "signal", "data": {"reply": value}}))
    }

    /// Whether the engine has gone; long work should stop then.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.channel.is_closed()
    }

    /// Shows `from` at `to`, read-only, until the service ends.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn mount(&mut self, from: &Path, to: &Path) -> Result<()> {
        mount_bind_recursive(from, to).doing("bind-mount", from)?;
        self.hold(Bound { at: to.to_owned() });
        mount_change(to, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).doing("make private", to)?;
        mount_remount(to, MountFlags::BIND | MountFlags::RDONLY, c"").doing("make read-only", to)
    }

    /// Names of the members of an argument of the call that is being answered, in the order of the text.
    pub(crate) fn members(&self, argument: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Call<'a> {
            #[serde(borrow)]
            data: Data<'a>,
        }
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            args: BTreeMap<String, &'a RawValue>,
        }
        let call: Result<Call<'_>> = channel::parse(&self.call);
        let members = call.ok().and_then(|call| {
            let text = call.data.args.get(argument)?.get();
            serde_json::from_str::<Ordered<IgnoredAny>>(text).ok()
        });
        members.unwrap_or_default().0.into_iter().map(|(name, _)| name).collect()
    }

    /// Answers requests until the engine closes.
    fn serve(&mut self, name: &str, entry: table::ServiceFn) -> Result<()> {
        while let Some(text) = self.channel.receive_text()? {
            let message: Value = channel::parse(&text)?;
            self.call = text;
            if message["type"] != "method" {
                return Err(StageError::Protocol(format!("expected a method call, got {}", message["type"])));
            }
            let method = message["data"]["name"].as_str().unwrap_or_default();
            let reply = match entry(self, method, &message["data"]["args"]) {
                Ok(value) => json!({"type": "reply", "data": {"reply": value}}),
                Err(error) => {
                    eprintln!("{name}: {error}");
                    let text = error.to_string();
                    json!({"type": "exception", "data": {"name": kind(&error), "value": text, "backtrace": text}})
                }
            };
            self.channel.send(&reply)?;
        }
        Ok(())
    }
}

impl Drop for Service {
    /// For the ways out that did not release: an engine that broke the protocol, a panic.
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("{error}");
        }
    }
}

/// A class name for an exception message.
fn kind(error: &StageError) -> &'static str {
    match error {
        StageError::Io { .. } => "OSError",
        StageError::Options(_) | StageError::Json { .. } => "ValueError",
        _ => "RuntimeError",
    }
}

/// The error for a method a service does not have.
pub(crate) fn no_method(method: &str) -> StageError {
    StageError::Protocol(format!("no method {method:?}"))
}

/// A method's arguments as its own type.
///
/// # Errors
/// They do not fit.
pub(crate) fn arguments<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(StageError::Options)
}

/// Runs the host service of that class and name on an inherited socket.
pub(crate) fn main(name: &str, class: &str, number: i32) -> ExitCode {
    let served = fd::inherited_socket(number).and_then(|socket| {
        let entry = table::service(class, name)
            .ok_or_else(|| StageError::new(format!("forge-module has no {class} of this name")))?;
        // The engine ends a service by closing its socket; the terminal's Ctrl-C reaches us as well and must not.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.add(Signal::SIGINT);
        blocked.thread_block().doing("block signals of", name)?;
        let mut service = Service::new(Channel::new(socket));
        service.serve(name, entry)?;
        service.release()
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// Says when it is given back.
    #[derive(Debug)]
    struct Word(&'static str, std::sync::mpsc::Sender<&'static str>);

    impl Held for Word {
        fn release(self: Box<Self>) -> Result<()> {
            self.1.send(self.0).expect("the test listens");
            Err(StageError::new(self.0))
        }
    }

    #[test]
    fn what_is_held_is_given_back_last_first_and_once() {
        let (said, heard) = std::sync::mpsc::channel();
        let (_engine, service) = pair();
        let mut service = Service::new(service);
        service.hold(Word("device", said.clone()));
        service.hold(Word("mount", said.clone()));
        assert_eq!(service.release().expect_err("the first failure").to_string(), "mount");
        service.hold(Word("late", said));
        drop(service);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["mount", "device", "late"]);
    }

    fn pair() -> (Channel, Channel) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socketpair");
        (Channel::new(a), Channel::new(b))
    }

    #[test]
    fn a_call_gets_signals_and_then_its_reply() {
        let (engine, service) = pair();
        let thread = std::thread::spawn(move || {
            Service::new(service).serve("test", |service, method, args| match method {
                "echo" => {
                    service.signal(&json!(1))?;
                    assert_eq!(service.members("o"), ["z", "a"]);
                    Ok(args.clone())
                }
                other => Err(no_method(other)),
            })
        });
        let text = r#"{"type": "method", "data": {"name": "echo", "args": {"o": {"z": 1, "a": [2]}}}}"#;
        engine.send_text(text).expect("send");
        assert_eq!(engine.receive().expect("signal"), Some(json!({"type": "signal", "data": {"reply": 1}})));
        let reply = json!({"type": "reply", "data": {"reply": {"o": {"z": 1, "a": [2]}}}});
        assert_eq!(engine.receive().expect("reply"), Some(reply));
        engine.send(&json!({"type": "method", "data": {"name": "other", "args": null}})).expect("send");
        let reply = engine.receive().expect("receive").expect("exception");
        assert_eq!(reply["type"], "exception");
        drop(engine);
        thread.join().expect("thread").expect("clean end");
    }
}
