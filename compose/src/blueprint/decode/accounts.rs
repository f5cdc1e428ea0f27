//! `sshkey`, `user` and `group`.

use std::collections::{BTreeMap, BTreeSet};

use super::values;
use crate::blueprint::report::{Fields, Report};
use crate::blueprint::{Group, Password, User, rules};
use crate::crypt;

const USER: &[&str] = &[
    "name",
    "description",
    "password",
    "key",
    "home",
    "shell",
    "groups",
    "uid",
    "gid",
    "expiredate",
    "force_password_reset",
];

fn group_name(name: String) -> String {
    if name == "wheel" { "sudo".to_owned() } else { name }
}

fn key_lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
}

pub(super) fn users(report: &mut Report<'_>, fields: &Fields<'_>) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for (path, node) in fields.tables(report, "sshkey") {
        let Some(fields) = report.table(node, &path, &["user", "key"], &[]) else { continue };
        let name = fields.required(report, "user", rules::user);
        let key = fields.required(report, "key", rules::ssh_keys);
        if let (Some(name), Some(key)) = (name, key) {
            let keys = key_lines(&key.value);
            match users.iter_mut().find(|user| user.name == name.value) {
                Some(user) => user.keys.extend(keys),
                None => users.push(User { name: name.value, keys, ..User::default() }),
            }
        }
    }
    let mut named = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for (path, node) in fields.tables(report, "user") {
        let Some(fields) = report.table(node, &path, USER, &[]) else { continue };
        let name = fields.required(report, "name", rules::user);
        let mut user = User {
            name: String::new(),
            description: fields.string(report, "description", rules::gecos),
            password: fields.string(report, "password", rules::password).map(|password| {
                if crypt::is_hash(&password) { Password::Hash(password) } else { Password::Clear(password) }
            }),
            keys: fields.string(report, "key", rules::ssh_keys).map(|key| key_lines(&key)).unwrap_or_default(),
            home: fields.string(report, "home", rules::home).map(|home| home.trim_end_matches('/').to_owned()),
            shell: fields.string(report, "shell", rules::path),
            groups: values(fields.strings(report, "groups", rules::user)).into_iter().map(group_name).collect(),
            uid: fields.number(report, "uid"),
            gid: fields.number(report, "gid"),
            expiredate: fields.number(report, "expiredate"),
            force_password_reset: fields.boolean(report, "force_password_reset").unwrap_or(false),
        };
        let Some(name) = name else { continue };
        if !named.insert(name.value.clone()) {
            report.invalid(&name.span, &name.key, format!("duplicate user name: {}", name.value));
        }
        if let Some((uid, other)) = user.uid.and_then(|uid| Some((uid, ids.insert(uid, name.value.clone())?))) {
            report.invalid(&fields.span, &fields.path_of("uid"), format!("duplicate user ID: {uid} (also of {other})"));
        }
        user.name = name.value;
        match users.iter().position(|other| other.name == user.name) {
            Some(at) => {
                let older = std::mem::take(&mut users[at].keys);
                user.keys.splice(0..0, older);
                users[at] = user;
            }
            None => users.push(user),
        }
    }
    users
}

pub(super) fn groups(report: &mut Report<'_>, fields: &Fields<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, node) in fields.tables(report, "group") {
        let Some(fields) = report.table(node, &path, &["name", "gid"], &[]) else { continue };
        let name = fields.required(report, "name", rules::user);
        let gid = fields.number(report, "gid");
        let Some(name) = name else { continue };
        let group = Group { name: group_name(name.value.clone()), gid };
        if groups.iter().any(|other| other.name == group.name) {
            report.invalid(&name.span, &name.key, format!("duplicate group name: {}", group.name));
        }
        if let Some(gid) = gid.filter(|gid| groups.iter().any(|other| other.gid == Some(*gid))) {
            report.invalid(&fields.span, &fields.path_of("gid"), format!("duplicate group ID: {gid}"));
        }
        groups.push(group);
    }
    groups
}
