//! The one table of errors: D-Bus name, exit code of `forgectl`, one line of documentation. Both sides use it: forged
//! answers with [`Error`], a client turns whatever came back into one with `Error::from(zbus_error)`.

use std::fmt;
use std::str::FromStr;

use zbus::message::Header;
use zbus::names::ErrorName as WireName;
use zbus::{DBusError, Message};

/// The error D-Bus itself has for arguments that make no sense; forged uses it for unknown options and wrong types.
pub const INVALID_ARGS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
/// Exit code of `forgectl` for [`INVALID_ARGS`] and for wrong usage.
pub const EXIT_USAGE: u8 = 2;

const PREFIX: &str = "org.debian.forge1.Error.";

macro_rules! error_names {
    ($($variant:ident $exit:literal $doc:literal;)+) => {
        /// The errors of Debian Forge. The D-Bus name is `org.debian.forge1.Error.` and the name of the variant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorName { $(#[doc = $doc] $variant,)+ }

        impl ErrorName {
            /// Every error, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The last part of the D-Bus name, which is also the name in `result.json`.
            #[must_use]
            pub const fn short(self) -> &'static str { match self { $(Self::$variant => stringify!($variant),)+ } }

            /// The full D-Bus error name.
            #[must_use]
            pub const fn dbus_name(self) -> &'static str {
                match self { $(Self::$variant => concat!("org.debian.forge1.Error.", stringify!($variant)),)+ }
            }

            /// The exit code of `forgectl`.
            #[must_use]
            pub const fn exit_code(self) -> u8 { match self { $(Self::$variant => $exit,)+ } }

            /// What it means, in one line.
            #[must_use]
            pub const fn doc(self) -> &'static str { match self { $(Self::$variant => $doc,)+ } }
        }
    };
}

error_names! {
    NotAuthorized 4 "The caller may not do this; polkit said no, or would have to ask and may not.";
    Busy 5 "Something else holds what this needs; trying again later may work.";
    Conflict 5 "The state is not what the request assumes, or an idempotency key was used for another request.";
    NotFound 3 "There is no such job, artifact, ref, commit or file.";
    InvalidBlueprint 6 "The blueprint is not valid; the message says where and what is allowed.";
    DepsolveFailed 7 "apt found no set of packages that satisfies the blueprint.";
    SignatureInvalid 8 "A signature is missing, wrong, expired or by an unknown key; nothing that it covers was used.";
    ArchiveFailed 8 "The archive answered with something unusable: a missing file, a wrong checksum, an expired Release.";
    StageFailed 9 "A stage of the build failed; the details name pipeline, stage and the end of its output.";
    LintFailed 9 "The tree breaks a rule of an atomic Debian; the findings say which.";
    NoSpace 10 "The disk is full or too small; the store stays sound.";
    NetworkFailed 8 "The archive could not be reached.";
    Cancelled 130 "The job was cancelled.";
    Interrupted 1 "The worker ended without a result: a crash, a kill or a power cut.";
    Corrupt 1 "A file that was written earlier cannot be read back.";
    Unsupported 1 "This version or this machine cannot do that.";
    Limits 1 "A limit was exceeded: size of a blueprint, length of the queue, run time.";
    Internal 1 "A fault of Debian Forge itself; please report it with the log.";
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.dbus_name())
    }
}

impl FromStr for ErrorName {
    type Err = Error;

    /// Takes the full D-Bus name or the short one.
    fn from_str(text: &str) -> Result<Self, Error> {
        let short = text.strip_prefix(PREFIX).unwrap_or(text);
        Self::ALL
            .iter()
            .copied()
            .find(|e| e.short() == short)
            .ok_or_else(|| Error::InvalidArgs(format!("{text} is not an error name of Debian Forge")))
    }
}

/// An error of the API, on either side of the bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of ours.
    #[error("{message}")]
    Forge {
        /// Which.
        name: ErrorName,
        /// One sentence for people.
        message: String,
    },
    /// An argument or option is unknown, of the wrong type or out of range.
    #[error("{0}")]
    InvalidArgs(String),
    /// Anything else D-Bus reports: no bus, no such service, time-out, disconnect.
    #[error(transparent)]
    Bus(zbus::Error),
}

impl Error {
    /// One of ours.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self::Forge { name, message: message.into() }
    }

    /// A word that is none of a closed set.
    #[must_use]
    pub fn unknown_word(what: &str, found: &str, allowed: &[&str]) -> Self {
        Self::InvalidArgs(format!("unknown {what} \"{}\"; allowed: {}", found.escape_debug(), allowed.join(", ")))
    }

    /// Which of ours it is, if it is one.
    #[must_use]
    pub fn forge_name(&self) -> Option<ErrorName> {
        match self {
            Self::Forge { name, .. } => Some(*name),
            Self::InvalidArgs(_) | Self::Bus(_) => None,
        }
    }

    /// The exit code of `forgectl` for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Forge { name, .. } => name.exit_code(),
            Self::InvalidArgs(_) => EXIT_USAGE,
            Self::Bus(zbus::Error::MethodError(name, ..))
                if name.as_str() == "org.freedesktop.DBus.Error.AccessDenied" =>
            {
                ErrorName::NotAuthorized.exit_code()
            }
            Self::Bus(zbus::Error::MethodError(name, ..))
                if name.as_str() == "org.freedesktop.DBus.Error.UnknownObject" =>
            {
                ErrorName::NotFound.exit_code()
            }
            Self::Bus(_) => 1,
        }
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, message, _) => {
                let text = message.clone().unwrap_or_else(|| name.to_string());
                if name.as_str() == INVALID_ARGS {
                    return Self::InvalidArgs(text);
                }
                match name.as_str().strip_prefix(PREFIX).map(ErrorName::from_str) {
                    Some(Ok(name)) => Self::new(name, text),
                    _ => Self::Bus(error),
                }
            }
            zbus::Error::FDO(fdo) => match fdo.as_ref() {
                zbus::fdo::Error::InvalidArgs(text) => Self::InvalidArgs(text.clone()),
                _ => Self::Bus(error),
            },
            _ => Self::Bus(error),
        }
    }
}

impl From<zbus::fdo::Error> for Error {
    fn from(error: zbus::fdo::Error) -> Self {
        match error {
            zbus::fdo::Error::InvalidArgs(text) => Self::InvalidArgs(text),
            zbus::fdo::Error::ZBus(inner) => inner.into(),
            other => Self::Bus(zbus::Error::FDO(Box::new(other))),
        }
    }
}

impl DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name())?.build(&(self.to_string(),))
    }

    fn name(&self) -> WireName<'_> {
        let name = match self {
            Self::Forge { name, .. } => name.dbus_name(),
            Self::InvalidArgs(_) => INVALID_ARGS,
            Self::Bus(zbus::Error::FDO(fdo)) => return fdo.name(),
            Self::Bus(_) => "org.freedesktop.DBus.Error.Failed",
        };
        WireName::from_static_str_unchecked(name)
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::Forge { message, .. } | Self::InvalidArgs(message) => Some(message),
            Self::Bus(error) => error.description(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        for name in ErrorName::ALL {
            assert_eq!(name.short().parse::<ErrorName>().unwrap(), *name);
            assert_eq!(name.dbus_name().parse::<ErrorName>().unwrap(), *name);
            assert!(name.doc().ends_with('.'), "{name}");
            assert_ne!(name.exit_code(), 0);
            assert_ne!(name.exit_code(), EXIT_USAGE);
            assert!(WireName::try_from(name.dbus_name()).is_ok());
        }
        assert!("org.debian.forge1.Error.Nonsense".parse::<ErrorName>().is_err());
    }

    #[test]
    fn what_forged_answers_is_what_a_client_reads() {
        let call = Message::method_call("/a", "b").unwrap().build(&()).unwrap();
        let sent = Error::new(ErrorName::NoSpace, "4 MiB free below /var");
        let reply = sent.create_reply(&call.header()).unwrap();
        let read = Error::from(zbus::Error::from(reply));
        assert_eq!(read.forge_name(), Some(ErrorName::NoSpace));
        assert_eq!(read.to_string(), "4 MiB free below /var");
        assert_eq!(read.exit_code(), 10);

        let reply = Error::unknown_word("option", "nane", &["name"]).create_reply(&call.header()).unwrap();
        let read = Error::from(zbus::Error::from(reply));
        assert!(matches!(read, Error::InvalidArgs(_)), "{read:?}");
        assert_eq!(read.exit_code(), EXIT_USAGE);
    }
}
