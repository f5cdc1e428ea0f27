//! `[[customizations.repositories]]`.

use super::values;
use crate::blueprint::node::Value;
use crate::blueprint::report::{Fields, ProblemKind, Report};
use crate::blueprint::{Repository, SignedBy, rules};

const REPOSITORY: &[&str] =
    &["id", "uris", "baseurls", "suites", "components", "signed-by", "priority", "install_from"];
const REPOSITORY_LATER: &[&str] = &[
    "gpgkeys",
    "metalink",
    "mirrorlist",
    "name",
    "enabled",
    "gpgcheck",
    "repo_gpgcheck",
    "sslverify",
    "module_hotfixes",
    "filename",
];

pub(super) fn repositories(report: &mut Report<'_>, fields: &Fields<'_>) -> Vec<Repository> {
    let mut repositories: Vec<Repository> = Vec::new();
    for (path, node) in fields.tables(report, "repositories") {
        let Some(fields) = report.table(node, &path, REPOSITORY, REPOSITORY_LATER) else { continue };
        let id = fields.required(report, "id", rules::repository);
        let mut uris = values(fields.strings(report, "uris", rules::uri));
        if let Some(node) = fields.get("baseurls") {
            if fields.get("uris").is_some() {
                report.invalid(
                    &node.span,
                    &fields.path_of("baseurls"),
                    "is another name of \"uris\"; give one of them",
                );
            }
            uris.extend(values(fields.strings(report, "baseurls", rules::uri)));
        }
        let suites = values(fields.strings(report, "suites", rules::archive_part));
        let components = values(fields.strings(report, "components", rules::archive_part));
        for (key, missing) in [("uris", uris.is_empty()), ("suites", suites.is_empty())] {
            if missing && !(fields.get(key).is_some() || key == "uris" && fields.get("baseurls").is_some()) {
                report.add(&fields.span, &fields.path_of(key), ProblemKind::Missing, "is required here");
            }
        }
        let flat = !suites.is_empty() && suites.iter().all(|suite| suite.ends_with('/'));
        if !suites.is_empty() && flat != components.is_empty() {
            let message =
                "components are required, except for a flat repository whose suites end with \"/\", which has none";
            report.invalid(&fields.span, &fields.path_of("components"), message);
        }
        let signed_by = fields.required(report, "signed-by", rules::signed_by).map(|text| {
            if text.value.starts_with('/') {
                SignedBy::Path(text.value)
            } else {
                SignedBy::Key(text.value.trim().to_owned() + "\n")
            }
        });
        let priority = priority(report, &fields);
        let install_from = fields.boolean(report, "install_from").unwrap_or(false);
        let (Some(id), Some(signed_by)) = (id, signed_by) else { continue };
        if repositories.iter().any(|other| other.id == id.value) {
            report.invalid(&id.span, &id.key, format!("duplicate repository id: {}", id.value));
        }
        repositories.push(Repository { id: id.value, uris, suites, components, signed_by, priority, install_from });
    }
    repositories
}

/// apt's pin priority: an integer other than 0, within what apt stores (16 bits).
fn priority(report: &mut Report<'_>, fields: &Fields<'_>) -> Option<i32> {
    let node = fields.get("priority")?;
    let path = fields.path_of("priority");
    match node.value {
        Value::Integer(value) if value != 0 && i16::try_from(value).is_ok() => i32::try_from(value).ok(),
        Value::Integer(_) => {
            report.invalid(
                &node.span,
                &path,
                "must be an apt pin priority: -32768 to 32767, not 0 (500 is apt's default)",
            );
            None
        }
        _ => {
            report.add(
                &node.span,
                &path,
                ProblemKind::WrongType,
                format!("expected an integer, found {}", node.value.kind()),
            );
            None
        }
    }
}
