//! org.osbuild.resolv-conf: writes `/etc/resolv.conf`, in place of whatever file or link is there.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    nameserver: Vec<String>,
    search: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // The comment is upstream's: resulting trees are compared.
    let mut text = "# This file was created by osbuild\n".to_owned();
    if !options.search.is_empty() {
        text.push_str(&format!("search {}\n", options.search.join(" ")));
    }
    for nameserver in &options.nameserver {
        text.push_str(&format!("nameserver {nameserver}\n"));
    }
    tree::write_file(&args.tree, "/etc/resolv.conf", text, 0o644)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn servers_and_domains() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"nameserver": ["192.0.2.1", "192.0.2.2"], "search": ["a.example", "b.example"]});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        let text = std::fs::read_to_string(dir.path().join("etc/resolv.conf")).expect("read");
        assert!(
            text.ends_with("osbuild\nsearch a.example b.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"),
            "{text}"
        );
    }
}
