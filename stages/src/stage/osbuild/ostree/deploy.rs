//! org.osbuild.ostree.deploy: deploys a commit into the sysroot that the tree is.

use serde::Deserialize;

use super::repo::{Commits, ostree, repo_option, sysroot_option};
use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tool::Tool;
use crate::tree;

/// Options that this stage shares with org.osbuild.ostree.deploy.container.
#[derive(Deserialize)]
pub(super) struct Options {
    /// Stateroot.
    pub(super) osname: String,
    rootfs: Option<RootFs>,
    #[serde(default)]
    mounts: Vec<String>,
    #[serde(default)]
    kernel_opts: Vec<String>,
}

#[derive(Deserialize)]
struct RootFs {
    uuid: Option<String>,
    label: Option<String>,
}

impl Options {
    /// The kernel's arguments.
    pub(super) fn kernel_arguments(&self) -> Result<Vec<String>> {
        let mut arguments = self.kernel_opts.clone();
        if let Some(rootfs) = &self.rootfs {
            let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
            let root = given(&rootfs.uuid)
                .map(|uuid| format!("UUID={uuid}"))
                .or_else(|| given(&rootfs.label).map(|label| format!("LABEL={label}")))
                .ok_or_else(|| StageError::new("rootfs: expected uuid or label"))?;
            arguments.push(format!("root={root}"));
        }
        Ok(arguments)
    }

    /// Lets a program see some directories as mounts, as libostree wants /boot to be.
    pub(super) fn with_mounts(&self, args: &Arguments, mut tool: Tool) -> Result<Tool> {
        for path in &self.mounts {
            let path = tree::resolve(&args.tree, path)?;
            if !path.exists() {
                return Err(StageError::new(format!("mounts: {} is not there", path.display())));
            }
            tool = tool.bind(&path, &path);
        }
        Ok(tool)
    }
}

#[derive(Deserialize)]
struct Deploy {
    #[serde(flatten)]
    common: Options,
    #[serde(default, rename = "ref")]
    reference: String,
    remote: Option<String>,
}

impl Deploy {
    /// The ref to deploy, with its remote.
    fn refspec(&self, reference: &str) -> String {
        match self.remote.as_deref() {
            Some(remote) if !remote.is_empty() => format!("{remote}:{reference}"),
            _ => reference.to_owned(),
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Deploy = args.options()?;
    let kernel = options.common.kernel_arguments()?;
    let reference = match (args.inputs.is_empty(), options.reference.as_str()) {
        (true, "") => return Err(StageError::new("expected the option ref, or a commit as input \"commits\"")),
        (true, reference) => reference.to_owned(),
        (false, "") => {
            let repo = repo_option(&args.tree, "ostree/repo")?;
            Commits::of(args, "commits")?.pull(&repo, options.remote.as_deref())?
        }
        (false, reference) => {
            return Err(StageError::new(format!(
                "ref {reference:?} and input \"commits\": only one of them is wanted"
            )));
        }
    };
    let mut words = vec!["admin".to_owned(), "deploy".to_owned(), options.refspec(&reference)];
    words.extend(kernel.iter().map(|argument| format!("--karg-append={argument}")));
    words.extend([sysroot_option(&args.tree), format!("--os={}", options.common.osname)]);
    options.common.with_mounts(args, ostree(&words))?.run()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kernel_arguments_end_with_the_root() {
        for (options, expected) in [
            (json!({"osname": "o"}), Some("")),
            (json!({"osname": "o", "kernel_opts": ["a", "b=c"], "rootfs": {"label": "r"}}), Some("a b=c root=LABEL=r")),
            (json!({"osname": "o", "rootfs": {"uuid": "u", "label": "r"}}), Some("root=UUID=u")),
            (json!({"osname": "o", "rootfs": {"uuid": ""}}), None),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(options.kernel_arguments().ok().map(|a| a.join(" ")).as_deref(), expected);
        }
    }

    #[test]
    fn either_a_ref_or_an_input() {
        let run_with = |inputs, options| {
            let args: Arguments =
                serde_json::from_value(json!({"tree": "/nonexistent", "inputs": inputs, "options": options}))
                    .expect("arguments");
            run(&args).expect_err("refused").to_string()
        };
        assert!(run_with(json!({}), json!({"osname": "o"})).contains("expected the option ref"));
        let commits = json!({"commits": {"path": "/i", "data": {"refs": {"aa": {}}}}});
        assert!(run_with(commits, json!({"osname": "o", "ref": "r"})).contains("only one of them"));
        let deploy: Deploy = serde_json::from_value(json!({"osname": "o", "remote": "origin"})).expect("options");
        assert_eq!(deploy.refspec("r"), "origin:r");
    }
}
