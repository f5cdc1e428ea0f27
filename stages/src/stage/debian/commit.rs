//! org.debian.ostree.commit: a shaped tree becomes a commit in an OSTree repository of its own.
//!
//! The commit is a function of the tree and the options: its time is the source epoch, never now.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::status::{self, Package};
use crate::error::{Result, StageError};
use crate::protocol::{Arguments, write_metadata};
use crate::tool::{Tool, word};
use crate::tree;

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The branch, such as `debian/13/amd64/minimal`.
    r#ref: String,
    /// What `ostree admin status` shows.
    version: String,
    /// First line of the commit's message.
    #[serde(default)]
    subject: Option<String>,
    /// More metadata of the commit, all strings.
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
}

/// Longest text of the package list that still fits into one argument (the kernel's limit is 128 KiB).
const PACKAGES_LIMIT: usize = 120_000;

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let epoch = args.meta.source_epoch.ok_or_else(|| {
        StageError::new("the pipeline has no source-epoch, and the commit's time must not be the time of the build")
    })?;
    let input = &args.input("tree")?.path;
    let packages = status::installed(input)?;
    let repo = args.tree.join("repo");
    let repo_option = format!("--repo={}", word(&repo));
    if !repo.exists() {
        tree::make_dirs(&repo)?;
        Tool::new(&["ostree", &repo_option, "init", "--mode=bare-user"]).run()?;
    }
    let said = commit(&options, &repo_option, input, epoch, &packages).read()?;
    let checksum = said
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| StageError::new(format!("ostree commit did not say the checksum but {said:?}")))?;
    println!("{} {checksum}", options.r#ref);
    let compose = json!({
        "ref": options.r#ref,
        "ostree-commit": checksum,
        "ostree-version": options.version,
        "ostree-timestamp": timestamp(epoch),
    });
    tree::write_file(&args.tree, "compose.json", format!("{compose:#}\n"), 0o644)?;
    write_metadata(&compose)
}

/// The command that commits.
fn commit(options: &Options, repo: &str, input: &Path, epoch: i64, packages: &[Package]) -> Tool {
    let subject = options.subject.clone().unwrap_or_else(|| format!("{} {}", options.r#ref, options.version));
    let mut tool = Tool::new(&["ostree", repo, "commit", "--bootable", "--fsync=false"])
        .arg(format!("--branch={}", options.r#ref))
        .arg(format!("--subject={subject}"))
        .arg(format!("--timestamp=@{epoch}"))
        .arg(format!("--tree=dir={}", word(input)))
        .arg(format!("--add-metadata-string=version={}", options.version));
    for (key, value) in &options.metadata {
        tool = tool.arg(format!("--add-metadata-string={key}={value}"));
    }
    let list = packages_variant(packages);
    if list.len() <= PACKAGES_LIMIT {
        tool.arg(format!("--add-metadata=debian.packages={list}"))
    } else {
        println!("{} packages are too many for the commit's metadata; see the tree's dpkg status", packages.len());
        tool
    }
}

/// The package list in GVariant's text format, type a(sss).
fn packages_variant(packages: &[Package]) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let rows: Vec<String> = packages
        .iter()
        .map(|p| format!("({},{},{})", quote(&p.name), quote(&p.version), quote(&p.architecture)))
        .collect();
    format!("@a(sss) [{}]", rows.join(","))
}

/// Seconds since 1970 as RFC 3339 in UTC.
fn timestamp(epoch: i64) -> String {
    let (days, second) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
    // Days to civil date in the proleptic Gregorian calendar, counted in 400-year eras that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_known_days() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_790_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn the_package_list_is_a_variant() {
        let package = Package { name: "a".into(), version: "1'2".into(), architecture: "all".into() };
        assert_eq!(packages_variant(&[package]), "@a(sss) [('a','1\\'2','all')]");
        assert_eq!(packages_variant(&[]), "@a(sss) []");
    }

    #[test]
    fn no_epoch_no_commit() {
        let args = Arguments { options: json!({"ref": "r", "version": "1"}), ..Arguments::default() };
        assert!(run(&args).expect_err("refused").to_string().contains("source-epoch"));
    }
}
