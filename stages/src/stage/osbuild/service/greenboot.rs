//! org.osbuild.greenboot: adds services to those greenboot watches, in `/etc/greenboot/greenboot.conf`.

use serde::Deserialize;

use super::text;
use crate::error::Result;
use crate::protocol::Arguments;

const KEY: &str = "GREENBOOT_MONITOR_SERVICES";

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    monitor_services: Option<Vec<String>>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    text::edit(&args.tree, "/etc/greenboot/greenboot.conf", |old| match &options.config.monitor_services {
        Some(services) => edit(old, services),
        None => old.to_owned(),
    })
}

/// Puts the services before those of the first line of the setting; without such a line one is added.
fn edit(old: &str, services: &[String]) -> String {
    let mut text = String::new();
    let mut done = false;
    for line in old.split_inclusive('\n') {
        let current = line.strip_prefix(KEY).and_then(|rest| rest.strip_prefix('=')).filter(|rest| !rest.contains('='));
        match current {
            Some(current) if !done => {
                done = true;
                let current: Vec<&str> = current.trim_matches(['"', '\n']).split(' ').collect();
                let new = services.iter().map(String::as_str).filter(|service| !current.contains(service));
                let all: Vec<&str> = new.chain(current.iter().copied()).collect();
                text.push_str(&setting(&all));
            }
            _ => text.push_str(line),
        }
    }
    if !done {
        text.push_str(&setting(services));
    }
    text
}

fn setting<S: AsRef<str>>(services: &[S]) -> String {
    let names: Vec<&str> = services.iter().map(AsRef::as_ref).collect();
    format!("{KEY}=\"{}\"\n", names.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree;

    #[test]
    fn services_are_added_once() {
        for (old, config, new) in [
            (format!("# x\n{KEY}=\"a b\"\n"), json!(["c", "a"]), format!("# x\n{KEY}=\"c a b\"\n")),
            (format!("{KEY}=\"\"\n"), json!(["c"]), format!("{KEY}=\"c \"\n")),
            (format!("#{KEY}=\"a\"\nX=1\n"), json!(["c", "d"]), format!("#{KEY}=\"a\"\nX=1\n{KEY}=\"c d\"\n")),
            (format!("{KEY}=a\n{KEY}=b\n"), json!(["c"]), format!("{KEY}=\"c a\"\n{KEY}=b\n")),
            (format!("{KEY}=a\n"), json!([]), format!("{KEY}=\"a\"\n")),
        ] {
            let dir = tempfile::tempdir().expect("dir");
            tree::write_file(dir.path(), "etc/greenboot/greenboot.conf", old, 0o644).expect("write");
            let options = json!({"config": {"monitor_services": config}});
            run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
            assert_eq!(std::fs::read_to_string(dir.path().join("etc/greenboot/greenboot.conf")).expect("read"), new);
        }
    }
}
