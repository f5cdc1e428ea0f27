//! Repositories made through the API in a temporary directory. No root, no network.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use forge_sysroot::{Error, Ownership, Repository};
use ostree::glib::VariantDict;
use ostree::prelude::*;
use ostree::{MutableTree, gio};

const REF: &str = "debian/13/amd64/minimal";
const NONE: Option<&gio::Cancellable> = None;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Commits a tree of two files, one of which holds `text`, and sets [`REF`].
    fn commit(&self, repo: &str, text: &str, version: &str, parent: Option<&str>) -> String {
        let tree = self.path("tree");
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("usr/bin")).unwrap();
        fs::write(tree.join("usr/text"), text).unwrap();
        fs::write(tree.join("usr/bin/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        Repository::open_or_create(&self.path(repo)).unwrap();
        let repo = ostree::Repo::new_for_path(self.path(repo));
        repo.open(NONE).unwrap();
        let dict = VariantDict::new(None);
        dict.insert("version", version);
        dict.insert("ostree.bootable", true);
        dict.insert("debian.packages", vec![("base-files", "13.8", "amd64"), ("tzdata", "2025b-4", "all")]);
        let transaction = repo.auto_transaction(NONE).unwrap();
        let mtree = MutableTree::new();
        repo.write_directory_to_mtree(&gio::File::for_path(&tree), &mtree, None, NONE).unwrap();
        let root = repo.write_mtree(&mtree, NONE).unwrap();
        let root = root.downcast_ref::<ostree::RepoFile>().unwrap();
        let checksum = repo
            .write_commit_with_time(parent, Some("minimal"), None, Some(&dict.end()), root, 1_790_000_000, NONE)
            .unwrap();
        repo.transaction_set_ref(None, REF, Some(&checksum));
        transaction.commit(NONE).unwrap();
        checksum.into()
    }
}

fn content_object(repo: &Path) -> PathBuf {
    walk(&repo.join("objects"))
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "file") && fs::read(p).unwrap() == b"one")
        .expect("the object of usr/text")
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_empty_repository() {
    let fixture = Fixture::new();
    let path = fixture.path("repo");
    assert!(matches!(Repository::open(&path), Err(Error::NotARepository { .. })));
    fs::create_dir(&path).unwrap();
    assert!(matches!(Repository::open(&path), Err(Error::NotARepository { .. })));
    let repo = Repository::open_or_create(&path).unwrap();
    assert_eq!(repo.mode(), "bare-user");
    assert!(repo.refs().unwrap().is_empty());
    let error = repo.resolve(REF).unwrap_err().to_string();
    assert!(error.ends_with("it has no refs at all"), "{error}");
    Repository::open_or_create(&path).unwrap();
    Repository::open(&path).unwrap();
}

#[test]
fn a_repository_of_another_mode_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("repo");
    ostree::Repo::new_for_path(&path).create(ostree::RepoMode::Archive, NONE).unwrap();
    let error = Repository::open_or_create(&path).unwrap_err().to_string();
    assert!(error.contains("mode archive"), "{error}");
}

#[test]
fn refs_log_and_packages() {
    let fixture = Fixture::new();
    let first = fixture.commit("repo", "one", "1.0", None);
    let second = fixture.commit("repo", "two", "1.1", Some(&first));
    let repo = Repository::open(&fixture.path("repo")).unwrap();

    let refs = repo.refs().unwrap();
    assert_eq!(refs.len(), 1);
    assert_eq!((refs[0].name.as_str(), &refs[0].checksum), (REF, &second));
    assert_eq!(refs[0].version.as_deref(), Some("1.1"));
    assert_eq!(refs[0].timestamp, 1_790_000_000);

    let log = repo.log(REF, 0).unwrap();
    assert_eq!(log.iter().map(|c| &c.checksum).collect::<Vec<_>>(), [&second, &first]);
    assert_eq!(log[0].parent.as_ref(), Some(&first));
    assert_eq!(log[0].package_count, Some(2));
    assert_eq!(log[0].metadata["ostree.bootable"], "true");
    assert_eq!(repo.log(REF, 1).unwrap().len(), 1);
    assert_eq!(repo.log(&first, 0).unwrap().len(), 1);

    let packages = repo.packages(REF).unwrap();
    assert_eq!(packages[1].name, "tzdata");
    assert_eq!(packages[1].architecture, "all");
}

#[test]
fn names_that_are_not_there() {
    let fixture = Fixture::new();
    let sum = fixture.commit("repo", "one", "1.0", None);
    let repo = Repository::open(&fixture.path("repo")).unwrap();
    let error = repo.resolve("debian/13/amd64/minimum").unwrap_err();
    assert!(matches!(&error, Error::NoSuchRef { known, .. } if known == &[REF]));
    for wrong in ["", "a b", "-x", "../x"] {
        assert!(matches!(repo.resolve(wrong), Err(Error::InvalidName { .. })), "{wrong}");
    }
    // An abbreviated checksum is not taken for a ref.
    assert!(matches!(repo.resolve(&sum[..10]), Err(Error::NoSuchRef { .. })));
    let missing = "0".repeat(64);
    assert!(matches!(repo.commit(&missing), Err(Error::NoSuchCommit { .. })));
    assert!(matches!(repo.log(&missing, 0), Err(Error::NoSuchCommit { .. })));
    assert!(matches!(repo.verify(&missing), Err(Error::NoSuchCommit { .. })));
}

#[test]
fn import_links_and_sets_the_ref() {
    let fixture = Fixture::new();
    // A blank and a percent sign, for the URL libostree wants.
    let first = fixture.commit("a %41 b", "one", "1.0", None);
    let source = fixture.path("a %41 b");
    let repo = Repository::open_or_create(&fixture.path("repo")).unwrap();
    let imported = repo.import(&source, REF).unwrap();
    assert_eq!(imported.checksum, first);
    assert_eq!(imported.previous, None);
    assert_eq!(repo.resolve(REF).unwrap(), first);
    let object = content_object(&fixture.path("repo"));
    assert!(fs::metadata(&object).unwrap().nlink() >= 2, "not linked");
    assert_eq!(fs::metadata(&object).unwrap().ino(), fs::metadata(content_object(&source)).unwrap().ino());

    let second = fixture.commit("a %41 b", "two", "1.1", Some(&first));
    let imported = repo.import(&source, REF).unwrap();
    assert_eq!(imported.previous.as_ref(), Some(&first));
    assert_eq!(imported.checksum, second);
    assert_eq!(repo.log(REF, 0).unwrap().len(), 2);
    assert!(repo.verify(REF).unwrap().is_sound());
    assert_eq!(repo.import(&source, REF).unwrap().previous, Some(second));
}

#[test]
fn an_import_without_its_parent_is_whole() {
    let fixture = Fixture::new();
    let first = fixture.commit("source", "one", "1.0", None);
    let second = fixture.commit("source", "two", "1.1", Some(&first));
    let repo = Repository::open_or_create(&fixture.path("repo")).unwrap();
    repo.import(&fixture.path("source"), REF).unwrap();
    let log = repo.log(REF, 0).unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].checksum, second);
    assert!(repo.verify(REF).unwrap().is_sound());
    assert!(matches!(repo.import(&fixture.path("source"), "no/such/ref"), Err(Error::NoSuchRef { .. })));
    assert!(matches!(repo.import(&fixture.path("nowhere"), REF), Err(Error::NotARepository { .. })));
}

#[test]
fn checkout_writes_the_tree() {
    let fixture = Fixture::new();
    fixture.commit("repo", "one", "1.0", None);
    let repo = Repository::open(&fixture.path("repo")).unwrap();
    let out = fixture.path("out/tree");
    repo.checkout(REF, &out, Ownership::Caller).unwrap();
    assert_eq!(fs::read_to_string(out.join("usr/text")).unwrap(), "one");
    let mode = fs::metadata(out.join("usr/bin/tool")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn damage_is_found() {
    let fixture = Fixture::new();
    fixture.commit("repo", "one", "1.0", None);
    let repo = Repository::open(&fixture.path("repo")).unwrap();
    let report = repo.verify(REF).unwrap();
    assert!(report.is_sound());
    assert!(report.objects >= 5, "{report:?}");

    let object = content_object(&fixture.path("repo"));
    fs::write(&object, "two").unwrap();
    let report = repo.verify(REF).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].object.ends_with(".file"), "{report:?}");

    fs::remove_file(&object).unwrap();
    assert_eq!(repo.verify(REF).unwrap().problems.len(), 1);

    for dirtree in
        walk(&fixture.path("repo/objects")).into_iter().filter(|p| p.extension().is_some_and(|e| e == "dirtree"))
    {
        fs::remove_file(dirtree).unwrap();
    }
    assert!(!repo.verify(REF).unwrap().is_sound());
}
