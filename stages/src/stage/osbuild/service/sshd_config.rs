//! org.osbuild.sshd.config: sets options in `/etc/ssh/sshd_config`.

use serde::Deserialize;
use serde_json::Number;

use super::text::{self, Setting};
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    password_authentication: Option<bool>,
    challenge_response_authentication: Option<bool>,
    client_alive_interval: Option<Number>,
    permit_root_login: Option<RootLogin>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RootLogin {
    Allowed(bool),
    How(String),
}

impl Config {
    fn settings(self) -> Vec<Setting> {
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let root = self.permit_root_login.map(|login| match login {
            RootLogin::Allowed(yes) => word(yes),
            RootLogin::How(how) => how,
        });
        [
            ("PasswordAuthentication", self.password_authentication.map(word), false),
            ("ChallengeResponseAuthentication", self.challenge_response_authentication.map(word), false),
            // Upstream compares a text with a number here, so the line is always written anew.
            ("ClientAliveInterval", self.client_alive_interval.map(|n| n.to_string()), true),
            ("PermitRootLogin", root, false),
        ]
        .into_iter()
        .filter_map(|(key, value, always)| Some(Setting { key, value: value?, always }))
        .collect()
    }
}

/// Key and value of a line of two words.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some(value), None) => Some((key, value)),
        _ => None,
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let settings = options.config.settings();
    text::edit(&args.tree, "/etc/ssh/sshd_config", |old| text::set_each(old, settings, ' ', split))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree;

    #[test]
    fn lines_are_changed_and_added() {
        for (old, config, new) in [
            ("#PermitRootLogin yes\n", json!({"PermitRootLogin": false}), "#PermitRootLogin yes\nPermitRootLogin no\n"),
            ("permitrootlogin  yes # no\n", json!({}), "permitrootlogin  yes # no\n"),
            (
                "PasswordAuthentication   yes\n",
                json!({"PasswordAuthentication": true}),
                "PasswordAuthentication   yes\n",
            ),
            ("clientaliveinterval  7\n", json!({"ClientAliveInterval": 7}), "clientaliveinterval 7\n"),
            (
                "a",
                json!({"PermitRootLogin": "prohibit-password", "ChallengeResponseAuthentication": true}),
                "aChallengeResponseAuthentication yes\nPermitRootLogin prohibit-password\n",
            ),
        ] {
            let dir = tempfile::tempdir().expect("dir");
            tree::write_file(dir.path(), "etc/ssh/sshd_config", old, 0o600).expect("write");
            run(&crate::stage::osbuild::arguments(dir.path(), json!({"config": config}))).expect("runs");
            assert_eq!(std::fs::read_to_string(dir.path().join("etc/ssh/sshd_config")).expect("read"), new);
        }
    }
}
