//! org.osbuild.keymap: the keyboard layout of the console (`/etc/vconsole.conf`) and of X11.

use serde::Deserialize;

use super::firstboot::setting;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    keymap: String,
    x11_keymap: Option<X11>,
    #[serde(default)]
    font: String,
}

#[derive(Deserialize)]
struct X11 {
    layouts: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let mut console = setting("KEYMAP", &options.keymap)?;
    if !options.font.is_empty() {
        console.push_str(&format!("FONT={}\n", options.font));
    }
    tree::write_file(&args.tree, "/etc/vconsole.conf", console, 0o644)?;
    if let Some(x11) = options.x11_keymap {
        let layouts = x11.layouts.join(",");
        // The text is upstream's to the byte, comment included: resulting trees are compared.
        let text = format!(
            "# Created by osbuild. Do not edit manually, use localectl(1).\n\
             Section \"InputClass\"\n        \
             Identifier \"system-keyboard\"\n        \
             MatchIsKeyboard \"on\"\n        \
             Option \"XkbLayout\" \"{layouts}\"\n\
             EndSection\n"
        );
        tree::overwrite(&args.tree, "/etc/X11/xorg.conf.d/00-keyboard.conf", text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn console_and_x11() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"keymap": "de", "font": "eurlatgr", "x11-keymap": {"layouts": ["de", "us"]}});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).expect(path);
        assert_eq!(read("etc/vconsole.conf"), "KEYMAP=de\nFONT=eurlatgr\n");
        let x11 = read("etc/X11/xorg.conf.d/00-keyboard.conf");
        assert!(x11.contains("\n        Option \"XkbLayout\" \"de,us\"\nEndSection\n"), "{x11}");
        let bad = json!({"keymap": "de\nX=y"});
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), bad)).is_err());
    }
}
