//! org.osbuild.nginx.conf: writes a configuration of nginx with one server.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(default = "default_path")]
    path: String,
    #[serde(default)]
    config: Config,
}

fn default_path() -> String {
    "/etc/nginx/nginx.conf".into()
}

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    listen: String,
    pid: String,
    daemon: bool,
    root: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: "*:80".into(), pid: "/run/nginx.pid".into(), daemon: true, root: "/usr/share/nginx/html".into() }
    }
}

impl Config {
    fn text(&self) -> String {
        let Self { listen, pid, daemon, root } = self;
        let daemon = if *daemon { "on" } else { "off" };
        let server = format!("    listen {listen};\n    root {root};\n");
        format!("events {{}}\nhttp {{\n  server {{\n{server}  }}\n}}\n\npid {pid};\ndaemon {daemon};\n")
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    tree::save(&args.tree, options.path, options.config.text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_is_written() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        assert!(run_with(json!({})).is_err(), "no /etc/nginx");
        std::fs::create_dir_all(dir.path().join("etc/nginx")).expect("dir");
        run_with(json!({})).expect("defaults");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/nginx/nginx.conf")).expect("read"),
            "events {}\nhttp {\n  server {\n    listen *:80;\n    root /usr/share/nginx/html;\n  }\n}\n\n\
             pid /run/nginx.pid;\ndaemon on;\n"
        );
        run_with(json!({"path": "/x", "config": {"daemon": false, "pid": "p"}})).expect("options");
        let text = std::fs::read_to_string(dir.path().join("x")).expect("read");
        assert!(text.ends_with("pid p;\ndaemon off;\n"), "{text}");
    }
}
