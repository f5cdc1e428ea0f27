//! What is wrong with a blueprint, found without the archive and without a job.

use forge_compose::{Blueprint, Error, Problem};
use forge_dbus::{BlueprintProblem, ErrorName};

/// Refuses a blueprint that cannot be built whatever the archive has, with every fault and its place in the file `name`.
pub(crate) fn check(text: &str, name: &str) -> forge_dbus::Result<()> {
    match Blueprint::parse(text, name) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(forge_dbus::Error::new(ErrorName::InvalidBlueprint, error.to_string().replace('\0', "\u{fffd}")))
        }
    }
}

/// Faults and warnings in the order of the text; empty for a blueprint that can be built as far as one can see from here.
pub(crate) fn problems(text: &str) -> Vec<BlueprintProblem> {
    match Blueprint::parse(text, "blueprint") {
        Ok(blueprint) => {
            let warn = |warning: forge_compose::Warning| problem("warning", &warning.key, 0, 0, &warning.message);
            blueprint.lint().into_iter().map(warn).collect()
        }
        Err(Error::Blueprint(faults)) => faults.iter().map(fault).collect(),
        Err(other) => vec![problem("error", "", 0, 0, &other.to_string())],
    }
}

fn fault(found: &Problem) -> BlueprintProblem {
    let mut message = found.message.clone();
    if let Some(name) = &found.suggestion {
        message.push_str(&format!("; did you mean \"{name}\"?"));
    }
    if !found.allowed.is_empty() {
        message.push_str(&format!(" (allowed here: {})", found.allowed.join(", ")));
    }
    problem("error", &found.key, found.at.line, found.at.column, &message)
}

fn problem(severity: &str, key: &str, line: usize, column: usize, message: &str) -> BlueprintProblem {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (line, column) = (number(line), number(column));
    BlueprintProblem {
        severity: severity.to_owned(),
        key: key.to_owned(),
        line,
        column,
        message: message.replace('\0', "\u{fffd}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_blueprint_has_no_faults_and_a_bad_one_has_their_places() {
        let good = problems("name = \"minimal\"\nversion = \"1.0.0\"\n");
        assert!(good.iter().all(|p| p.severity == "warning"), "{good:?}");
        let bad = problems("name = \"minimal\"\nverison = \"1.0.0\"\n");
        assert_eq!((bad[0].severity.as_str(), bad[0].key.as_str(), bad[0].line), ("error", "verison", 2));
        assert!(bad[0].message.contains("version"), "{bad:?}");
        assert_eq!(problems("name = [").len(), 1);
        assert!(check("name = \"minimal\"\n", "a.toml").is_ok());
        assert!(check("nam = 1\n", "a.toml").unwrap_err().to_string().contains("a.toml:1"));
    }
}
