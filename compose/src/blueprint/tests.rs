//! Blueprints as a whole: what is read, and how faults are told.

use proptest::prelude::*;

use super::*;
use crate::Distributions;

fn problems(text: &str) -> Vec<String> {
    match Blueprint::parse(text, "x.toml") {
        Err(Error::Blueprint(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn customized(text: &str) -> Blueprint {
    Blueprint::parse(&format!("name = \"x\"\n{text}"), "x.toml").unwrap()
}

#[test]
fn every_key() {
    let text = include_str!("testdata/every-key.toml");
    let blueprint = Blueprint::parse(text, "every-key.toml").unwrap();
    let customizations = &blueprint.customizations;
    assert_eq!(blueprint.version, "1.2.3");
    assert_eq!(blueprint.packages[1].to_string(), "vim=2:9*");
    assert_eq!(customizations.users[0].name, "old");
    let me = &customizations.users[1];
    assert_eq!(
        (me.home.as_deref(), me.groups.as_slice()),
        (Some("/home/me"), ["sudo".to_owned(), "adm".to_owned()].as_slice())
    );
    assert_eq!(me.keys.len(), 2);
    assert!(matches!(me.password, Some(Password::Hash(_))));
    assert_eq!(customizations.services.enabled, ["ssh.service", "fstrim.timer"]);
    assert_eq!(customizations.files[0].mode, Some(0o600));
    assert_eq!(customizations.files[0].user, Some(Owner::Name("me".to_owned())));
    assert_eq!(customizations.directories[0].group, Some(Owner::Id(1000)));
    assert_eq!(customizations.repositories[0].priority, Some(600));
    assert_eq!(blueprint.implied_packages(), ["console-setup", "locales", "sudo", "systemd-timesyncd", "tzdata"]);
    assert_eq!(blueprint.kernel_arguments(), ["quiet", "a=\"b c\"", "d"]);
}

#[test]
fn json_is_the_same_thing() {
    let toml =
        Blueprint::parse("name = \"x\"\nversion = \"1.0.0\"\n[customizations]\nhostname = \"h\"\n", "x.toml").unwrap();
    let json = r#"{"name": "x", "version": "1.0.0", "customizations": {"hostname": "h"}}"#;
    let json = Blueprint::parse(json, "x.json").unwrap();
    assert_eq!(Blueprint { file: "x.toml".to_owned(), ..json }, toml);
    let Err(Error::Blueprint(found)) = Blueprint::parse("{\"name\": \"x\",\n \"versoin\": \"1\"}", "x.json") else {
        panic!()
    };
    assert_eq!((found[0].at.line, found[0].suggestion.as_deref()), (2, Some("version")));
}

#[test]
fn all_faults_with_their_places() {
    let text = "name = \"a b\"\nversion = 1\n\n[customizations]\n  hostnam = \"x\"\n\n[[customizations.user]]\nname = \"me\"\nuid = -1\ncolour = \"red\"\n";
    assert_eq!(
        problems(text),
        [
            "x.toml:1:8: name: \"a b\" is not a blueprint name: letters, digits, '.', '_' and '-', at most 128, not starting with a dot",
            "x.toml:2:11: version: expected a string, found an integer",
            "x.toml:5:3: customizations.hostnam: unknown key; did you mean \"hostname\"? (allowed here: hostname, kernel, sshkey, user, group, timezone, locale, services, files, directories, repositories)",
            "x.toml:9:7: customizations.user[0].uid: -1 is out of range, allowed are 0 to 4294967294",
            "x.toml:10:1: customizations.user[0].colour: unknown key (allowed here: name, description, password, key, home, shell, groups, uid, gid, expiredate, force_password_reset)",
        ]
    );
}

#[test]
fn what_is_known_but_not_built_is_told_apart() {
    let Err(Error::Blueprint(found)) =
        Blueprint::parse("name = \"x\"\n[customizations.firewall]\nports = []\n", "x.toml")
    else {
        panic!()
    };
    assert_eq!(found[0].kind, ProblemKind::Unsupported);
    assert_eq!(found[0].to_string(), "x.toml:2:17: customizations.firewall: not supported by Debian Forge yet");
    let found = problems("name = \"x\"\n[[customizations.files]]\npath = \"/etc/x\"\nuri = \"file:///x\"\n");
    assert!(found[0].contains("customizations.files[0].uri: not supported by Debian Forge yet"), "{found:?}");
}

#[test]
fn missing_and_syntax() {
    assert_eq!(problems("description = \"x\"\n"), ["x.toml:1:1: name: is required here"]);
    assert!(
        problems("[[packages]]\nversion = \"1\"\n")
            .iter()
            .any(|line| line.contains("packages[0].name: is required here"))
    );
    assert!(problems("name = \"x\"\nname = \"y\"\n")[0].starts_with("x.toml:2:1: duplicate key"));
    assert!(problems("name = \n")[0].starts_with("x.toml:1:8:"));
}

#[test]
fn rules_between_values() {
    let start = "name = \"x\"\n";
    let one = |text: &str, expect: &str| {
        let found = problems(&format!("{start}{text}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expect), "{found:?}");
    };
    one(
        "[customizations.services]\nenabled = [\"ssh\"]\nmasked = [\"ssh.service\"]",
        "ssh.service is also in \"enabled\"",
    );
    one("[[customizations.user]]\nname = \"a\"\n[[customizations.user]]\nname = \"a\"", "duplicate user name: a");
    one(
        "[[customizations.group]]\nname = \"a\"\ngid = 5\n[[customizations.group]]\nname = \"b\"\ngid = 5",
        "duplicate group ID: 5",
    );
    one(
        "[[customizations.files]]\npath = \"/etc/a\"\n[[customizations.directories]]\npath = \"/etc/a/b\"",
        "/etc/a is a file of this blueprint",
    );
    one(
        "[[customizations.files]]\npath = \"/etc/a\"\n[[customizations.directories]]\npath = \"/etc/a\"",
        "/etc/a is there twice",
    );
    one("[[customizations.files]]\npath = \"/etc/passwd\"", "made by the build itself");
    one("[[customizations.files]]\npath = \"/usr/bin/x\"", "nothing may be put into /usr");
    one("[[packages]]\nname = \"a1\"\n[[packages]]\nname = \"a1\"\nversion = \"2\"", "twice with different versions");
    one("packages = [\"vim\"]", "packages[0]: expected a table, found a string");
    let repository = "[[customizations.repositories]]\nid = \"a\"\nuris = [\"https://x/y\"]\nsuites = [\"s\"]\n";
    one(&format!("{repository}components = [\"main\"]"), "signed-by: is required here");
    one(&format!("{repository}signed-by = \"/etc/apt/keyrings/a.asc\""), "components are required");
    one(&format!("{repository}components = [\"main\"]\nsigned-by = \"/etc/shadow\""), "below /usr/share/keyrings/");
}

#[test]
fn image_types_have_a_say() {
    let all = Distributions::load(&[]).unwrap();
    let types = all.image_types(&["qcow2"]).unwrap();
    let blueprint = customized(
        "[[customizations.files]]\npath = \"/var/lib/x\"\n[[customizations.directories]]\npath = \"/opt/x\"\n",
    );
    let Err(Error::Blueprint(found)) = blueprint.check(&types) else { panic!() };
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "x.toml:3:8: customizations.files[0].path: /var/lib/x is not allowed in the image type qcow2; allowed is below /etc, /root, /usr/local/bin, /usr/local/sbin",
            "x.toml:5:8: customizations.directories[0].path: /opt/x is not allowed in the image type qcow2; allowed is below /etc",
        ]
    );
    assert!(customized("[[customizations.files]]\npath = \"/etc/x\"\n").check(&types).is_ok());
}

#[test]
fn no_password_in_debug_output() {
    let blueprint = customized("[[customizations.user]]\nname = \"a\"\npassword = \"geheim\"\n");
    assert!(!format!("{blueprint:?}").contains("geheim"));
}

#[test]
fn lint_finds_what_is_probably_not_meant() {
    let ids = |text: &str| customized(text).lint().into_iter().map(|warning| warning.id).collect::<Vec<_>>();
    assert_eq!(ids(""), ["no-login", "version-missing"]);
    assert_eq!(
        ids("version = \"1.0.0\"\n[[customizations.user]]\nname = \"a\"\npassword = \"x\"\n"),
        ["password-clear"]
    );
    let key = "version = \"1.0.0\"\n[[customizations.user]]\nname = \"a\"\nkey = \"ssh-rsa AAAA\"\n";
    assert_eq!(ids(key), ["ssh-missing"]);
    assert!(ids(&format!("{key}[[packages]]\nname = \"openssh-server\"\n")).is_empty());
    let locked = "version = \"1.0.0\"\n[customizations.kernel]\nappend = \"root=/dev/sda\"\n[[customizations.user]]\nname = \"root\"\npassword = \"!\"\n";
    assert_eq!(ids(locked), ["no-login", "root-password", "kernel-argument-own"]);
}

#[test]
fn the_examples_are_clean() {
    let all = Distributions::load(&[]).unwrap();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.display().to_string();
            let blueprint = Blueprint::parse(&std::fs::read_to_string(&path).unwrap(), &name)
                .unwrap_or_else(|error| panic!("{error}"));
            blueprint.check(&all.image_types(&["qcow2"]).unwrap()).unwrap_or_else(|error| panic!("{error}"));
            assert!(blueprint.lint().is_empty(), "{name}: {:?}", blueprint.lint());
            count += 1;
        }
    }
    assert!(count >= 3);
}

/// Text that is often nearly a blueprint.
fn nearly() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "name",
        "=",
        "\"x\"",
        "[customizations]",
        "[[customizations.user]]",
        "\n",
        "password",
        "\"$6$\"",
        "[[packages]]",
        "version",
        "\"1.0.0\"",
        "[[customizations.files]]",
        "path",
        "\"/etc/x\"",
        "mode",
        "\"0644\"",
        "[",
        "]",
        "{",
        "}",
        "1",
        "-1",
        "true",
        "1979-05-27",
        "é",
        "\"\"\"",
        "'",
        "\\",
        ".",
        ",",
        "kernel",
        "append",
        ":",
        "null",
        "1e400",
        "99999999999999999999",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC*") {
        let _ = Blueprint::parse(&text, "x.toml");
        let _ = Blueprint::parse(&text, "x.json");
    }

    #[test]
    fn reading_what_is_nearly_right_never_panics(text in nearly()) {
        for file in ["x.toml", "x.json"] {
            match Blueprint::parse(&text, file) {
                Ok(blueprint) => {
                    let _ = blueprint.lint();
                    let _ = blueprint.kernel_arguments();
                }
                Err(Error::Blueprint(problems)) => prop_assert!(!problems.is_empty()),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
