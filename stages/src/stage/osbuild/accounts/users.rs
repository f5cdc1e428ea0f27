//! org.osbuild.users: creates or changes accounts by useradd(8), usermod(8) and passwd(1), and adds
//! their SSH keys.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde::Deserialize;

use crate::chroot::Chroot;
use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::offline;
use crate::tree::{self, Account};

#[derive(Deserialize)]
struct Options {
    users: Ordered<User>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Vec<String>,
    description: Option<String>,
    /// Empty: no home directory is made.
    home: Option<String>,
    shell: Option<String>,
    /// Hashed.
    password: Option<String>,
    key: Option<String>,
    keys: Vec<String>,
    /// Days since 1970.
    expiredate: Option<i64>,
    force_password_reset: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (name, user) in &options.users.0 {
        set_up(&args.tree, name, user)?;
    }
    Ok(())
}

fn set_up(root: &Path, name: &str, user: &User) -> Result<()> {
    match tree::account(root, name)? {
        Some(account) => change(root, name, user, &account)?,
        None => run_tool(root, "useradd", add_options(user), name)?,
    }
    if user.force_password_reset {
        run_tool(root, "passwd", vec!["--expire".into()], name)?;
    }
    let key = user.key.iter().filter(|key| !key.is_empty());
    let keys: Vec<&str> = user.keys.iter().chain(key).map(String::as_str).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let account = tree::account(root, name)?
        .ok_or_else(|| StageError::new(format!("user {name:?} is not in the tree's /etc/passwd")))?;
    add_keys(root, &account, &keys)
}

fn change(root: &Path, name: &str, user: &User, account: &Account) -> Result<()> {
    if let Some(uid) = user.uid.filter(|uid| *uid != account.uid) {
        return Err(StageError::new(format!(
            "user {name:?} exists with uid {}: it cannot be changed to {uid}",
            account.uid
        )));
    }
    let options = change_options(user);
    if !options.is_empty() {
        run_tool(root, "usermod", options, name)?;
    }
    let home = tree::account(root, name)?.map_or_else(String::new, |account| account.home);
    if home.is_empty() || tree::resolve(root, &home)?.exists() {
        return Ok(());
    }
    Chroot::new(root).run(&["mkhomedir_helper", name])
}

fn run_tool(root: &Path, tool: &str, options: Vec<String>, name: &str) -> Result<()> {
    let mut words = options;
    words.push(name.to_owned());
    offline::run(root, tool, &words).map_err(|error| match error {
        // The argument list may hold a password's hash.
        StageError::Command { status, .. } => {
            StageError::Command { command: format!("{tool} for user {name:?}"), status }
        }
        StageError::Start { source, .. } => StageError::Start { program: tool.to_owned(), source },
        other => other,
    })
}

/// Options of useradd.
fn add_options(user: &User) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(uid) = user.uid {
        options.extend(["--uid".into(), uid.to_string(), "-o".into()]);
    }
    options.extend(shared_options(user));
    match user.home.as_deref() {
        None => {}
        Some("") => options.push("--no-create-home".into()),
        Some(home) => options.extend(["--home-dir".into(), home.into(), "--create-home".into()]),
    }
    options
}

/// Options of usermod.
fn change_options(user: &User) -> Vec<String> {
    let mut options = shared_options(user);
    if let Some(home) = user.home.as_deref().filter(|home| !home.is_empty()) {
        options.extend(["--home".into(), home.into()]);
    }
    options
}

fn shared_options(user: &User) -> Vec<String> {
    let groups = (!user.groups.is_empty()).then(|| user.groups.join(","));
    [
        ("--gid", user.gid.map(|gid| gid.to_string())),
        ("--groups", groups),
        ("--comment", user.description.clone()),
        ("--shell", user.shell.clone().filter(|shell| !shell.is_empty())),
        ("--password", user.password.clone()),
        ("--expiredate", user.expiredate.map(|days| days.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some([name.to_owned(), value?]))
    .flatten()
    .collect()
}

/// Adds lines to the account's `~/.ssh/authorized_keys`.
fn add_keys(root: &Path, account: &Account, keys: &[&str]) -> Result<()> {
    let directory = tree::resolve(root, format!("{}/.ssh", account.home))?;
    if !directory.exists() {
        fs::create_dir(&directory).doing("make directory", &directory)?;
        own(&directory, account, 0o700)?;
    }
    let name = format!("{}/.ssh/authorized_keys", account.home);
    let path = tree::resolve(root, &name)?;
    let mut text = if path.exists() { fs::read(&path).doing("read", &path)? } else { Vec::new() };
    text.extend(format!("{}\n", keys.join("\n")).into_bytes());
    tree::overwrite(root, name, text)?;
    own(&path, account, 0o600)
}

fn own(path: &Path, account: &Account, mode: u32) -> Result<()> {
    chown(path, Some(account.uid), Some(account.gid)).doing("change the owner of", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing("set the mode of", path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(value: serde_json::Value) -> User {
        serde_json::from_value(value).expect("user")
    }

    #[test]
    fn options_become_arguments() {
        let full = user(json!({
            "uid": 1001, "gid": 5, "groups": ["a", "b"], "description": "D", "home": "/home/x", "shell": "/bin/sh",
            "password": "$6$x", "expiredate": 12345
        }));
        assert_eq!(
            add_options(&full).join(" "),
            "--uid 1001 -o --gid 5 --groups a,b --comment D --shell /bin/sh --password $6$x --expiredate 12345 \
             --home-dir /home/x --create-home"
        );
        assert_eq!(add_options(&user(json!({"home": ""}))), ["--no-create-home"]);
        assert!(change_options(&user(json!({"uid": 7}))).is_empty());
    }

    #[test]
    fn keys_are_appended() {
        let dir = tempfile::tempdir().expect("dir");
        let own = rustix::process::geteuid().as_raw();
        let account = Account { uid: own, gid: rustix::process::getegid().as_raw(), home: "/home/x".into() };
        fs::create_dir_all(dir.path().join("home/x")).expect("home");
        add_keys(dir.path(), &account, &["a", "b"]).expect("first");
        add_keys(dir.path(), &account, &["c"]).expect("more");
        let path = dir.path().join("home/x/.ssh/authorized_keys");
        assert_eq!(fs::read_to_string(&path).expect("read"), "a\nb\nc\n");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_existing_uid_stays() {
        let dir = tempfile::tempdir().expect("dir");
        tree::write_file(dir.path(), "etc/passwd", "x:x:1000:1000::/:/bin/sh\n", 0o644).expect("write");
        let error = set_up(dir.path(), "x", &user(json!({"uid": 7}))).expect_err("refused").to_string();
        assert!(error.contains("exists with uid 1000"), "{error}");
    }
}
