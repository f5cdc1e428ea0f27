//! The pipelines `os`, a whole system in OSTree's shape, and `ostree-commit`, a repository with its commit.
//!
//! The order of the stages follows osbuild's `os` pipelines (packages, languages, host, time, accounts, files, units), so that
//! what changes often comes late and what is expensive is found in the store.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::content::{Content, TreeFile, owners};
use super::{Commit, Pipeline, tree_input};
use crate::Result;
use crate::blueprint::{Blueprint, Owner, Password, Repository, SignedBy, User};
use crate::distro::{Distribution, Dracut, ImageType, Tree};
use crate::lock::Lock;

/// The pipeline `os`.
pub(super) fn tree(
    blueprint: &Blueprint,
    distribution: &Distribution,
    image_type: &ImageType,
    lock: &Lock,
    content: &mut Content,
) -> Result<Pipeline> {
    let tree = image_type.tree()?;
    let customizations = &blueprint.customizations;
    let mut os = Pipeline::new("os");
    os.runner = Some(distribution.runner.clone());
    os.source_epoch = Some(lock.source_epoch);

    content.dpkg(&mut os, &lock.architecture, &lock.sets.base);
    if !lock.sets.extra.is_empty() {
        content.dpkg(&mut os, &lock.architecture, &lock.sets.extra);
    }
    let repository_files = sources(&mut os, distribution, &customizations.repositories);
    let languages = if customizations.locale.languages.is_empty() {
        &tree.locale.languages
    } else {
        &customizations.locale.languages
    };
    os.stage("org.debian.locale", json!({"languages": languages}));
    if let Some(hostname) = &customizations.hostname {
        os.stage("org.osbuild.hostname", json!({"hostname": hostname}));
    }
    if let Some(zone) = &customizations.timezone.timezone {
        os.stage("org.osbuild.timezone", json!({"zone": zone}));
    }
    accounts(&mut os, blueprint, lock);
    directories(&mut os, blueprint);
    content.files(&mut os, &files(tree, blueprint, repository_files));
    services(&mut os, tree, blueprint);
    os.stage("org.debian.dracut", dracut(&tree.dracut));
    os.stage("org.debian.ostree.shape", json!({}));
    os.stage("org.debian.ostree.lint", json!({}));
    Ok(os)
}

/// The pipeline `ostree-commit`. The tree itself is its build root: it has ostree.
pub(super) fn commit(blueprint: &Blueprint, lock: &Lock, commit: &Commit) -> Pipeline {
    let mut pipeline = Pipeline::new("ostree-commit");
    pipeline.build = Some("os");
    pipeline.source_epoch = Some(lock.source_epoch);
    let mut options = Map::new();
    options.insert("ref".to_owned(), json!(commit.reference));
    options.insert("version".to_owned(), json!(commit.version));
    options.insert("subject".to_owned(), json!(format!("{} {}", blueprint.name, commit.version)));
    let arguments = blueprint.kernel_arguments();
    if !arguments.is_empty() {
        // A deployment of this commit on a host is to get the same arguments as the disk image.
        options.insert("metadata".to_owned(), json!({"debian-forge.kernel-arguments": arguments.join(" ")}));
    }
    pipeline.stage_with_inputs("org.debian.ostree.commit", Value::Object(options), json!({"tree": tree_input("os")}));
    pipeline
}

/// Writes the distribution's and the blueprint's sources; returns the files they need (keys, pins).
fn sources(os: &mut Pipeline, distribution: &Distribution, repositories: &[Repository]) -> Vec<TreeFile> {
    let mut files = Vec::new();
    let mut sources: Vec<Value> = distribution
        .sources
        .iter()
        .map(|source| {
            json!({
                "name": source.name, "uris": source.uris, "suites": source.suites, "components": source.components,
                "signed-by": source.signed_by,
            })
        })
        .collect();
    for repository in repositories {
        let signed_by = match &repository.signed_by {
            SignedBy::Path(path) => path.clone(),
            SignedBy::Key(key) => {
                let path = format!("/etc/apt/keyrings/{}.asc", repository.id);
                files.push(TreeFile::new(path.clone(), key.clone()));
                path
            }
        };
        sources.push(json!({
            "name": repository.id, "uris": repository.uris, "suites": repository.suites, "components": repository.components,
            "signed-by": signed_by,
        }));
        if let Some(pins) = repository.pins() {
            files.push(TreeFile::new(format!("/etc/apt/preferences.d/{}.pref", repository.id), pins));
        }
    }
    os.stage("org.debian.apt.sources", json!({"sources": sources}));
    files
}

fn accounts(os: &mut Pipeline, blueprint: &Blueprint, lock: &Lock) {
    let customizations = &blueprint.customizations;
    if !customizations.groups.is_empty() {
        let group = |gid: Option<u32>| gid.map_or_else(|| json!({}), |gid| json!({"gid": gid}));
        let groups: BTreeMap<&str, Value> =
            customizations.groups.iter().map(|item| (item.name.as_str(), group(item.gid))).collect();
        os.stage("org.osbuild.groups", json!({"groups": groups}));
    }
    let mut users: BTreeMap<&str, Value> =
        customizations.users.iter().map(|item| (item.name.as_str(), user(item, lock))).collect();
    let root = users.entry("root").or_insert_with(|| json!({}));
    if let Some(root) = root.as_object_mut() {
        root.entry("password").or_insert_with(|| json!("!locked"));
    }
    os.stage("org.osbuild.users", json!({"users": users}));
}

fn user(user: &User, lock: &Lock) -> Value {
    let mut options = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(key.to_owned(), value);
        }
    };
    set("description", user.description.as_ref().map(|text| json!(text)));
    let password = match &user.password {
        Some(Password::Hash(hash)) => Some(hash),
        Some(Password::Clear(_)) => lock.passwords.get(&user.name),
        None => None,
    };
    set("password", password.map(|hash| json!(hash)));
    set("keys", (!user.keys.is_empty()).then(|| json!(user.keys)));
    // Named even where it is the default: without a name, Debian's useradd makes no directory.
    let default = (user.name != "root").then(|| format!("/home/{}", user.name));
    set("home", user.home.clone().or(default).map(Value::from));
    set("shell", user.shell.as_ref().map(|text| json!(text)));
    set("groups", (!user.groups.is_empty()).then(|| json!(user.groups)));
    set("uid", user.uid.map(|id| json!(id)));
    set("gid", user.gid.map(|id| json!(id)));
    set("expiredate", user.expiredate.map(|days| json!(days)));
    set("force_password_reset", user.force_password_reset.then_some(Value::Bool(true)));
    Value::Object(options)
}

fn owner(owner: Option<&Owner>) -> Option<Value> {
    owner.map(|owner| match owner {
        Owner::Name(name) => json!(name),
        Owner::Id(id) => json!(id),
    })
}

fn directories(os: &mut Pipeline, blueprint: &Blueprint) {
    let directories = &blueprint.customizations.directories;
    if directories.is_empty() {
        return;
    }
    let paths: Vec<Value> = directories
        .iter()
        .map(|directory| {
            let mut path = json!({"path": directory.path, "exist_ok": true, "parents": directory.ensure_parents});
            if let Some(mode) = directory.mode {
                path["mode"] = json!(mode);
            }
            path
        })
        .collect();
    os.stage("org.osbuild.mkdir", json!({"paths": paths}));
    // mkdir does not touch a directory that is there already.
    let modes: BTreeMap<&str, Value> = directories
        .iter()
        .filter_map(|directory| Some((directory.path.as_str(), json!({"mode": format!("{:04o}", directory.mode?)}))))
        .collect();
    if !modes.is_empty() {
        os.stage("org.osbuild.chmod", json!({"items": modes}));
    }
    let owned: Vec<_> = directories
        .iter()
        .map(|item| (item.path.as_str(), owner(item.user.as_ref()), owner(item.group.as_ref())))
        .collect();
    owners(os, owned.iter().map(|(path, user, group)| (*path, user.as_ref(), group.as_ref())));
}

/// All files of the tree by path: the image type's, then those that customizations stand for, then the blueprint's own.
fn files(tree: &Tree, blueprint: &Blueprint, repository_files: Vec<TreeFile>) -> Vec<TreeFile> {
    let customizations = &blueprint.customizations;
    let mut files: BTreeMap<String, TreeFile> = BTreeMap::new();
    let mut add = |file: TreeFile| drop(files.insert(file.path.clone(), file));
    for file in &tree.files {
        add(TreeFile::new(file.path.clone(), file.data.clone()));
    }
    repository_files.into_iter().for_each(&mut add);
    if !customizations.timezone.ntpservers.is_empty() {
        let data = format!("[Time]\nNTP={}\n", customizations.timezone.ntpservers.join(" "));
        add(TreeFile::new("/etc/systemd/timesyncd.conf.d/50-forge.conf", data));
    }
    if let Some(keyboard) = &customizations.locale.keyboard {
        let (layout, variant) = xkb(keyboard);
        let data = format!(
            "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{layout}\"\nXKBVARIANT=\"{variant}\"\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n"
        );
        add(TreeFile::new("/etc/default/keyboard", data));
    }
    for file in &customizations.files {
        let (user, group) = (owner(file.user.as_ref()), owner(file.group.as_ref()));
        add(TreeFile {
            path: file.path.clone(),
            data: file.data.clone(),
            mode: file.mode.unwrap_or(0o644),
            user,
            group,
        });
    }
    files.into_values().collect()
}

/// Blueprints name a console keymap (`de-nodeadkeys`, `uk`); Debian's keyboard-configuration wants XKB's layout and variant.
fn xkb(keymap: &str) -> (&str, &str) {
    let (layout, variant) = keymap.split_once('-').unwrap_or((keymap, ""));
    let layout = if layout == "uk" { "gb" } else { layout };
    // These are encodings of the console's keymap, which XKB does not have.
    let variant = if variant.starts_with("latin") { "" } else { variant };
    (layout, variant)
}

fn services(os: &mut Pipeline, tree: &Tree, blueprint: &Blueprint) {
    let own = &blueprint.customizations.services;
    let named = |unit: &&String| [&own.enabled, &own.disabled, &own.masked].iter().any(|units| units.contains(unit));
    // What the blueprint says of a unit takes the place of what the image type says.
    let merge = |defaults: &[String], own: &[String]| {
        let mut units: Vec<String> = defaults.iter().filter(|unit| !named(unit)).chain(own).cloned().collect();
        units.sort();
        units.dedup();
        units
    };
    let mut options = Map::new();
    for (key, units) in [
        ("enabled_services", merge(&tree.services.enabled, &own.enabled)),
        ("disabled_services", merge(&tree.services.disabled, &own.disabled)),
        ("masked_services", merge(&tree.services.masked, &own.masked)),
    ] {
        if !units.is_empty() {
            options.insert(key.to_owned(), json!(units));
        }
    }
    if !options.is_empty() {
        os.stage("org.osbuild.systemd", Value::Object(options));
    }
}

fn dracut(dracut: &Dracut) -> Value {
    let mut options = Map::new();
    for (key, names) in [
        ("add-drivers", &dracut.add_drivers),
        ("add-modules", &dracut.add_modules),
        ("omit-modules", &dracut.omit_modules),
    ] {
        if !names.is_empty() {
            options.insert(key.to_owned(), json!(names));
        }
    }
    Value::Object(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyboards() {
        assert_eq!(xkb("us"), ("us", ""));
        assert_eq!(xkb("uk"), ("gb", ""));
        assert_eq!(xkb("de-nodeadkeys"), ("de", "nodeadkeys"));
        assert_eq!(xkb("de-latin1-nodeadkeys"), ("de", ""));
    }
}
