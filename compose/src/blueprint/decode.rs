//! Which keys a blueprint has, and the rules between them.
//!
//! Users and groups are in `accounts`, package sources in `repositories`.

mod accounts;
mod repositories;

use std::collections::BTreeMap;

use super::node::{self, Node, Value};
use super::report::{Fields, ProblemKind, Report, Text};
use super::{
    Blueprint, Customizations, DirectoryNode, FileNode, Kernel, Locale, Owner, PackageSpec, Services, Timezone, policy,
    rules,
};
use crate::{Error, Result};

const TOP: &[&str] = &["name", "description", "version", "distro", "architecture", "packages", "customizations"];
const TOP_LATER: &[&str] = &["modules", "enabled_modules", "groups", "containers"];
const CUSTOMIZATIONS: &[&str] = &[
    "hostname",
    "kernel",
    "sshkey",
    "user",
    "group",
    "timezone",
    "locale",
    "services",
    "files",
    "directories",
    "repositories",
];
const CUSTOMIZATIONS_LATER: &[&str] = &[
    "bootloader",
    "cacerts",
    "containers-storage",
    "disk",
    "dnf",
    "fdo",
    "filesystem",
    "fips",
    "firewall",
    "firstboot",
    "ignition",
    "installation_device",
    "installer",
    "iso",
    "openscap",
    "partitioning_mode",
    "rhsm",
    "rpm",
    "sshd",
];
const FILE: &[&str] = &["path", "user", "group", "mode", "data"];
const DIRECTORY: &[&str] = &["path", "user", "group", "mode", "ensure_parents"];

pub(super) fn decode(text: &str, file: &str) -> Result<Blueprint> {
    let mut report = Report::new(file, text);
    let parsed = if file.ends_with(".json") { node::from_json(text) } else { node::from_toml(text) };
    let blueprint = match parsed {
        Ok(document) => blueprint(&mut report, &document),
        Err(errors) => {
            for error in errors {
                report.add(&error.span.unwrap_or(0..0), "", ProblemKind::Syntax, error.message);
            }
            None
        }
    };
    match blueprint {
        Some(blueprint) if report.problems.is_empty() => Ok(blueprint),
        _ => {
            let mut problems = report.problems;
            problems.sort_by_key(|problem| problem.at);
            Err(Error::Blueprint(problems))
        }
    }
}

/// Always runs to the end so that all faults are found; what it returns counts only when there is none.
fn blueprint(report: &mut Report<'_>, document: &Node) -> Option<Blueprint> {
    let top = report.table(document, "", TOP, TOP_LATER)?;
    let name = top.required(report, "name", rules::blueprint_name);
    let mut blueprint = Blueprint {
        file: report.file().to_owned(),
        name: name.map(|name| name.value).unwrap_or_default(),
        description: top.string(report, "description", rules::any).unwrap_or_default(),
        version: top.string(report, "version", rules::version).unwrap_or_else(|| "0.0.0".to_owned()),
        distro: top.string(report, "distro", rules::distribution),
        architecture: top.string(report, "architecture", rules::architecture),
        packages: packages(report, &top),
        customizations: Customizations::default(),
    };
    if let Some(node) = top.get("customizations") {
        let fields = report.table(node, "customizations", CUSTOMIZATIONS, CUSTOMIZATIONS_LATER);
        blueprint.customizations = fields.map(|fields| customizations(report, &fields)).unwrap_or_default();
    }
    Some(blueprint)
}

fn packages(report: &mut Report<'_>, top: &Fields<'_>) -> Vec<PackageSpec> {
    let mut packages: Vec<PackageSpec> = Vec::new();
    for (path, node) in top.tables(report, "packages") {
        let Some(fields) = report.table(node, &path, &["name", "version"], &[]) else { continue };
        let name = fields.required(report, "name", rules::package);
        let version = fields
            .string(report, "version", rules::package_version)
            .filter(|version| !version.is_empty() && version != "*");
        let Some(name) = name else { continue };
        match packages.iter().find(|package| package.name == name.value) {
            Some(other) if other.version != version => {
                report.invalid(
                    &name.span,
                    &name.key,
                    format!("package {} is named twice with different versions", name.value),
                );
            }
            Some(_) => {}
            None => packages.push(PackageSpec { name: name.value, version }),
        }
    }
    packages
}

fn customizations(report: &mut Report<'_>, fields: &Fields<'_>) -> Customizations {
    Customizations {
        hostname: fields.string(report, "hostname", rules::hostname),
        kernel: kernel(report, fields),
        users: accounts::users(report, fields),
        groups: accounts::groups(report, fields),
        timezone: timezone(report, fields),
        locale: locale(report, fields),
        services: services(report, fields),
        directories: Vec::new(),
        files: Vec::new(),
        repositories: repositories::repositories(report, fields),
    }
    .with_nodes(report, fields)
}

fn section<'n>(report: &mut Report<'_>, fields: &Fields<'n>, key: &str, known: &[&str]) -> Option<Fields<'n>> {
    report.table(fields.get(key)?, &fields.path_of(key), known, &[])
}

fn values(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.value).collect()
}

fn kernel(report: &mut Report<'_>, fields: &Fields<'_>) -> Kernel {
    let Some(fields) = section(report, fields, "kernel", &["name", "append"]) else { return Kernel::default() };
    Kernel {
        name: fields.string(report, "name", rules::package),
        append: fields.string(report, "append", rules::kernel_arguments).unwrap_or_default(),
    }
}

fn timezone(report: &mut Report<'_>, fields: &Fields<'_>) -> Timezone {
    let Some(fields) = section(report, fields, "timezone", &["timezone", "ntpservers"]) else {
        return Timezone::default();
    };
    Timezone {
        timezone: fields.string(report, "timezone", rules::timezone),
        ntpservers: values(fields.strings(report, "ntpservers", rules::server)),
    }
}

fn locale(report: &mut Report<'_>, fields: &Fields<'_>) -> Locale {
    let Some(fields) = section(report, fields, "locale", &["languages", "keyboard"]) else { return Locale::default() };
    Locale {
        languages: values(fields.strings(report, "languages", rules::locale)),
        keyboard: fields.string(report, "keyboard", rules::keyboard),
    }
}

fn services(report: &mut Report<'_>, fields: &Fields<'_>) -> Services {
    let Some(fields) = section(report, fields, "services", &["enabled", "disabled", "masked"]) else {
        return Services::default();
    };
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut list = |report: &mut Report<'_>, key: &'static str| {
        let mut units = Vec::new();
        for text in fields.strings(report, key, rules::unit) {
            let unit = with_suffix(&text.value);
            match seen.get(&unit) {
                // Disabled and masked is no contradiction.
                Some(before) if *before != key && (*before == "enabled" || key == "enabled") => {
                    report.invalid(&text.span, &text.key, format!("{unit} is also in \"{before}\""));
                }
                Some(before) if *before == key => {}
                _ => {
                    seen.insert(unit.clone(), key);
                    units.push(unit);
                }
            }
        }
        units
    };
    Services { enabled: list(report, "enabled"), disabled: list(report, "disabled"), masked: list(report, "masked") }
}

fn with_suffix(unit: &str) -> String {
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".timer",
        ".target",
        ".path",
        ".mount",
        ".automount",
        ".swap",
        ".slice",
        ".scope",
        ".device",
    ];
    if SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) { unit.to_owned() } else { format!("{unit}.service") }
}

/// `user` and `group` of a file: a name or a number.
fn owner(report: &mut Report<'_>, fields: &Fields<'_>, key: &str) -> Option<Owner> {
    match &fields.get(key)?.value {
        Value::Integer(_) => fields.number(report, key).map(Owner::Id),
        _ => fields.string(report, key, rules::user).map(Owner::Name),
    }
}

fn mode(report: &mut Report<'_>, fields: &Fields<'_>) -> Option<u32> {
    let text = fields.string(report, "mode", rules::mode)?;
    u32::from_str_radix(&text, 8).ok()
}

impl Customizations {
    /// Reads `directories` and `files`, which have rules in common.
    fn with_nodes(mut self, report: &mut Report<'_>, fields: &Fields<'_>) -> Self {
        let mut nodes: Vec<(Text, bool)> = Vec::new();
        for (path, node) in fields.tables(report, "directories") {
            let Some(fields) = report.table(node, &path, DIRECTORY, &[]) else { continue };
            let place = fields.required(report, "path", rules::path);
            let directory = DirectoryNode {
                path: place.as_ref().map(|path| path.value.clone()).unwrap_or_default(),
                user: owner(report, &fields, "user"),
                group: owner(report, &fields, "group"),
                mode: mode(report, &fields),
                ensure_parents: fields.boolean(report, "ensure_parents").unwrap_or(false),
                at: report.locate(place.as_ref().map_or(&fields.span, |path| &path.span)),
            };
            let Some(place) = place else { continue };
            if let Err(message) = policy::directory(&place.value) {
                report.invalid(&place.span, &place.key, message);
            }
            nodes.push((place, false));
            self.directories.push(directory);
        }
        for (path, node) in fields.tables(report, "files") {
            let Some(fields) = report.table(node, &path, FILE, &["uri"]) else { continue };
            let place = fields.required(report, "path", rules::path);
            let file = FileNode {
                path: place.as_ref().map(|path| path.value.clone()).unwrap_or_default(),
                user: owner(report, &fields, "user"),
                group: owner(report, &fields, "group"),
                mode: mode(report, &fields),
                data: fields.string(report, "data", rules::any).unwrap_or_default(),
                at: report.locate(place.as_ref().map_or(&fields.span, |path| &path.span)),
            };
            let Some(place) = place else { continue };
            if let Err(message) = policy::file(&place.value) {
                report.invalid(&place.span, &place.key, message);
            }
            nodes.push((place, true));
            self.files.push(file);
        }
        check_nodes(report, &nodes);
        self
    }
}

/// No path twice, and no file that another path goes through.
fn check_nodes(report: &mut Report<'_>, nodes: &[(Text, bool)]) {
    let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
    for (text, is_file) in nodes {
        if seen.insert(&text.value, *is_file).is_some() {
            report.invalid(&text.span, &text.key, format!("{} is there twice", text.value));
        }
    }
    for (text, _) in nodes {
        let mut parent = text.value.as_str();
        while let Some((shorter, _)) = parent.rsplit_once('/').filter(|(shorter, _)| !shorter.is_empty()) {
            if seen.get(shorter) == Some(&true) {
                report.invalid(
                    &text.span,
                    &text.key,
                    format!("{shorter} is a file of this blueprint and cannot be its parent"),
                );
            }
            parent = shorter;
        }
    }
}
