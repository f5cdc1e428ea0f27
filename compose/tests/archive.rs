//! Resolution against the real Debian archive. Needs the network and a Debian host with apt and debian-archive-keyring, so it
//! runs only with `FORGE_TEST_ARCHIVE=1`. `FORGE_TEST_LOCK=FILE` keeps the lock of the minimal example.

use std::path::Path;
use std::time::Instant;

use forge_compose::{Blueprint, Distributions, Error, Lock, ResolveRequest, plan, resolve};

fn wanted(test: &str) -> bool {
    let wanted = std::env::var_os("FORGE_TEST_ARCHIVE").is_some_and(|value| value == "1");
    if !wanted {
        eprintln!("SKIPPED {test}: set FORGE_TEST_ARCHIVE=1 to ask the real archive");
    }
    wanted
}

fn example(name: &str) -> Blueprint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    Blueprint::parse(&std::fs::read_to_string(&path).unwrap(), name).unwrap()
}

#[test]
fn the_examples_resolve() {
    if !wanted("the_examples_resolve") {
        return;
    }
    let all = Distributions::load(&[]).unwrap();
    let distribution = all.get("debian-13").unwrap();
    let types = all.image_types(&["ostree-commit", "qcow2"]).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut last: Option<Lock> = None;
    for name in ["minimal.toml", "minimal.toml", "web-server.toml", "builder.toml"] {
        let blueprint = example(name);
        let mut request = ResolveRequest::new(&blueprint, distribution, &types, cache.path());
        request.previous = last.as_ref();
        let since = Instant::now();
        let mut steps = 0;
        let lock = resolve(&request, &mut |progress| steps = progress.done, &|| false).unwrap();
        let bytes: u64 = lock.tree_packages().map(|package| package.size).sum();
        eprintln!(
            "{name}: {:.1} s, {steps} steps, base {}, extra {}, build {}, tree download {:.1} MB",
            since.elapsed().as_secs_f64(),
            lock.sets.base.len(),
            lock.sets.extra.len(),
            lock.sets.build.len(),
            bytes as f64 / 1e6,
        );
        assert!(lock.sets.base.iter().any(|package| package.name == "systemd"));
        assert!(lock.tree_packages().filter(|package| package.name.starts_with("linux-image-6")).count() == 1);
        assert!(lock.tree_packages().all(|package| package.name != "initramfs-tools"));
        for package in &blueprint.packages {
            assert!(lock.tree_packages().any(|locked| locked.name == package.name), "{}", package.name);
        }
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        let planned = plan(&blueprint, distribution, &types, &lock).unwrap();
        if name == "minimal.toml" {
            if let Some(path) = std::env::var_os("FORGE_TEST_LOCK") {
                std::fs::write(&path, lock.to_text()).unwrap();
                std::fs::write(Path::new(&path).with_extension("manifest.json"), planned.manifest_text()).unwrap();
            }
            if let Some(last) = &last {
                assert!(lock.builds_the_same(last), "{}", last.diff(&lock));
            }
            last = Some(lock);
        }
    }
}

#[test]
fn faults_are_explained() {
    if !wanted("faults_are_explained") {
        return;
    }
    let all = Distributions::load(&[]).unwrap();
    let distribution = all.get("debian-13").unwrap();
    let types = all.image_types(&["ostree-commit"]).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let attempt = |text: &str| {
        let blueprint = Blueprint::parse(&format!("name = \"x\"\n{text}"), "x.toml").unwrap();
        let error =
            resolve(&ResolveRequest::new(&blueprint, distribution, &types, cache.path()), &mut |_| {}, &|| false)
                .unwrap_err();
        eprintln!("{error}\n");
        error
    };
    let package = |name: &str| format!("[[packages]]\nname = \"{name}\"\n");
    match attempt(&(package("ngnix") + &package("openssh-sever"))) {
        Error::UnknownPackages { packages } => {
            assert_eq!(packages.len(), 2);
            assert!(
                packages[0].nearest.contains(&"nginx".to_owned())
                    && packages[1].nearest.contains(&"openssh-server".to_owned())
            );
        }
        other => panic!("{other:?}"),
    }
    match attempt(&package("mail-transport-agent")) {
        Error::UnknownPackages { packages } => assert!(packages[0].providers.contains(&"postfix".to_owned())),
        other => panic!("{other:?}"),
    }
    match attempt(&(package("bash") + "version = \"1.0\"\n")) {
        Error::UnknownPackages { packages } => assert_eq!(packages[0].version.as_deref(), Some("1.0")),
        other => panic!("{other:?}"),
    }
    match attempt(&package("sysvinit-core")) {
        Error::Unsatisfiable { explanation } => assert!(explanation.contains("sysvinit-core"), "{explanation}"),
        other => panic!("{other:?}"),
    }
}
