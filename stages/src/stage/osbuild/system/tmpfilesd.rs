//! org.osbuild.tmpfilesd: writes a file in `/usr/lib/tmpfiles.d`.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    mode: Option<String>,
    user: Option<String>,
    group: Option<String>,
    age: Option<String>,
    argument: Option<String>,
}

impl Line {
    /// The line; `-` stands for what is not given before something that is.
    fn text(&self) -> String {
        let optional = [&self.mode, &self.user, &self.group, &self.age, &self.argument];
        let optional = optional.map(|value| value.as_deref().filter(|v| !v.is_empty()));
        let given = optional.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut words = vec![self.kind.as_str(), self.path.as_str()];
        words.extend(optional[..given].iter().map(|value| value.unwrap_or("-")));
        words.join(" ") + "\n"
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options.config.iter().map(Line::text).collect();
    tree::save(&args.tree, format!("/usr/lib/tmpfiles.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gaps_are_filled() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("usr/lib/tmpfiles.d")).expect("dirs");
        let options = json!({"filename": "x.conf", "config": [
            {"type": "d", "path": "/a"}, {"type": "d", "path": "/b", "user": "root"},
            {"type": "L", "path": "/c", "argument": "/d"}
        ]});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/tmpfiles.d/x.conf")).expect("read"),
            "d /a\nd /b - root\nL /c - - - - /d\n"
        );
    }
}
