//! What a blueprint may say but probably should not. Pure: no archive is asked.

use std::fmt;

use super::{Blueprint, Password, User};

/// A remark on a blueprint that does not stop a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable name of the check.
    pub id: &'static str,
    /// The dotted key it is about.
    pub key: String,
    /// What and why.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.key, self.message, self.id)
    }
}

fn can_log_in(user: &User) -> bool {
    let password = match &user.password {
        Some(Password::Hash(hash)) => !hash.starts_with('!') && hash != "*",
        Some(Password::Clear(_)) => true,
        None => false,
    };
    password || !user.keys.is_empty()
}

pub(super) fn lint(blueprint: &Blueprint) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |id: &'static str, key: String, message: String| warnings.push(Warning { id, key, message });
    let customizations = &blueprint.customizations;
    let has_package = |name: &str| blueprint.packages.iter().any(|package| package.name == name);

    if !customizations.users.iter().any(can_log_in) {
        let message = "nobody can log in: there is no user with a password or key, and root is locked";
        warn("no-login", "customizations.user".to_owned(), message.to_owned());
    }
    for user in &customizations.users {
        let key = format!("customizations.user \"{}\"", user.name);
        if let Some(Password::Clear(_)) = user.password {
            let message = "the password is in clear text in this file; put a hash there (openssl passwd -6)";
            warn("password-clear", key.clone(), message.to_owned());
        }
        if matches!(&user.password, Some(Password::Hash(hash)) if hash.starts_with("$1$")) {
            warn(
                "password-weak-hash",
                key.clone(),
                "MD5 password hashes are broken; make a new one (openssl passwd -6)".to_owned(),
            );
        }
        if !user.keys.is_empty()
            && user.password.is_none()
            && !has_package("openssh-server")
            && !has_package("dropbear")
        {
            let message = "has only an SSH key, but the package openssh-server is not in this blueprint";
            warn("ssh-missing", key.clone(), message.to_owned());
        }
        if user.name == "root" && user.password.is_some() {
            warn(
                "root-password",
                key,
                "root has a password; a user in the group sudo leaves a trace of who did what".to_owned(),
            );
        }
    }
    for (index, repository) in customizations.repositories.iter().enumerate() {
        if repository.uris.iter().any(|uri| uri.contains('@')) {
            let message = "the address seems to hold credentials, which end up in the image";
            warn("uri-credentials", format!("customizations.repositories[{index}].uris"), message.to_owned());
        }
    }
    for argument in blueprint.kernel_arguments() {
        let name = argument.split('=').next().unwrap_or_default();
        if matches!(name, "root" | "ostree" | "rootflags" | "ro") {
            let message =
                format!("the argument \"{argument}\" is set by the image itself; the system may not boot with another");
            warn("kernel-argument-own", "customizations.kernel.append".to_owned(), message);
        }
    }
    if blueprint.version == "0.0.0" {
        warn("version-missing", "version".to_owned(), "is not set, so every commit will be called 0.0.0".to_owned());
    }
    warnings
}
