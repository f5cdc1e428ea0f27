//! One broken tree for every check.

use super::super::model::Entry;
use super::*;

fn entry(kind: Kind) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    Entry { kind, mode, uid: 0, gid: 0, mtime: 100, utf8: true }
}

const KERNEL: &str = "usr/lib/modules/6.12/vmlinuz";
const INITRAMFS: &str = "usr/lib/modules/6.12/initramfs.img";

/// A tree without fault.
fn sound() -> Model {
    let mut model = Model { epoch: Some(100), ..Model::default() };
    for directory in ["var", "usr", "usr/etc", "dev", "sysroot", "usr/bin"] {
        model.entries.insert(directory.into(), entry(Kind::Directory));
    }
    for file in [KERNEL, INITRAMFS, "usr/lib/ostree/prepare-root.conf"] {
        model.entries.insert(file.into(), entry(Kind::File));
    }
    for (link, target) in
        [("bin", "usr/bin"), ("home", "var/home"), ("usr/local", "../var/usrlocal"), ("media", "run/media")]
    {
        model.entries.insert(link.into(), entry(Kind::Link(target.into())));
    }
    model.texts.insert("usr/etc/passwd".into(), "root:x:0:0::/root:/bin/sh\n".into());
    model.texts.insert("usr/etc/group".into(), "root:x:0:\n".into());
    let names = ["usr/lib/ostree/ostree-prepare-root", "usr/lib/systemd/system-generators/systemd-fstab-generator"];
    model.initramfs.insert(INITRAMFS.into(), Ok(names.map(str::to_owned).into()));
    model
}

/// Breaks the sound tree and expects exactly these ids.
#[track_caller]
fn breaks(ids: &[&str], break_it: impl FnOnce(&mut Model)) {
    let mut model = sound();
    break_it(&mut model);
    let found = check(&model);
    let found_ids: Vec<_> = found.iter().map(|f| f.id).collect();
    assert_eq!(found_ids, ids, "{found:#?}");
}

fn add(model: &mut Model, path: &str) {
    model.entries.insert(path.into(), entry(Kind::File));
}

fn say(model: &mut Model, path: &str, text: &str) {
    add(model, path);
    model.texts.insert(path.into(), text.into());
}

#[test]
fn a_sound_tree_has_no_findings() {
    breaks(&[], |_| {});
}

#[test]
fn var() {
    breaks(&["var-not-empty"], |m| add(m, "var/lib/x"));
    breaks(&["var-not-empty", "dpkg-db-in-var"], |m| add(m, "var/lib/dpkg"));
    breaks(&[], |m| add(m, "variable"));
}

#[test]
fn etc() {
    breaks(&["etc-and-usr-etc-both"], |m| add(m, "etc"));
    breaks(&["etc-and-usr-etc-both"], |m| {
        m.entries.remove("usr/etc");
    });
    breaks(&["fstab-not-empty"], |m| say(m, "usr/etc/fstab", "# c\n/dev/sda1 / ext4 defaults 0 1\n"));
    breaks(&[], |m| say(m, "usr/etc/fstab", "# only a comment\n"));
    breaks(&["machine-id-baked"], |m| say(m, "usr/etc/machine-id", "0123456789abcdef\n"));
    breaks(&[], |m| say(m, "usr/etc/machine-id", ""));
    breaks(&["ssh-host-keys-baked"], |m| add(m, "usr/etc/ssh/ssh_host_rsa_key"));
    breaks(&["resolv.conf-baked"], |m| add(m, "usr/etc/resolv.conf"));
}

#[test]
fn kernel_and_initramfs() {
    breaks(&["kernel-missing"], |m| {
        m.entries.remove(KERNEL);
    });
    breaks(&["kernel-many"], |m| {
        add(m, "usr/lib/modules/6.13/vmlinuz");
        add(m, "usr/lib/modules/6.13/initramfs.img");
    });
    breaks(&["initramfs-missing"], |m| {
        m.entries.remove(INITRAMFS);
        m.initramfs.clear();
    });
    breaks(&["initramfs-without-ostree-module", "root-not-discoverable"], |m| {
        m.initramfs.insert(INITRAMFS.into(), Ok(BTreeSet::new()));
    });
    breaks(&["root-not-discoverable"], |m| {
        let names = ["usr/lib/ostree/ostree-prepare-root".to_owned()];
        m.initramfs.insert(INITRAMFS.into(), Ok(names.into()));
    });
    breaks(&["initramfs-without-ostree-module", "root-not-discoverable"], |m| {
        m.initramfs.insert(INITRAMFS.into(), Err("cut short".into()));
    });
    breaks(&["prepare-root-missing"], |m| {
        m.entries.remove("usr/lib/ostree/prepare-root.conf");
    });
}

#[test]
fn links_and_writable_directories() {
    breaks(&["dangling-toplevel-symlink"], |m| {
        m.entries.insert("lib32".into(), entry(Kind::Link("usr/lib32".into())));
    });
    breaks(&["opt-has-content"], |m| add(m, "usr/share/factory/var/opt/tool"));
    breaks(&["usr-local-not-link"], |m| {
        m.entries.insert("usr/local".into(), entry(Kind::Directory));
    });
    breaks(&["device-nodes-in-dev"], |m| {
        m.entries.insert("dev/null".into(), entry(Kind::Device));
    });
}

#[test]
fn leftovers() {
    breaks(&["apt-lists-left"], |m| add(m, "usr/share/factory/var/lib/apt/lists/x_Packages"));
    breaks(&["policy-rc.d-left"], |m| add(m, "usr/sbin/policy-rc.d"));
    breaks(&[], |m| {
        add(m, "usr/sbin/policy-rc.d");
        m.packaged.insert("usr/sbin/policy-rc.d".into());
    });
}

#[test]
fn modes_owners_and_times() {
    let setuid = |m: &mut Model| {
        add(m, "usr/bin/su");
        m.entries.get_mut("usr/bin/su").expect("su").mode = 0o4755;
    };
    breaks(&["setuid-list-changed"], setuid);
    breaks(&[], |m| {
        setuid(m);
        m.packaged.insert("bin/su".into());
        m.packaged.insert("usr/bin/su".into());
    });
    breaks(&["sysusers-missing-for-owner"], |m| {
        m.entries.get_mut("usr/bin").expect("bin").uid = 1234;
    });
    breaks(&["mtime-not-clamped"], |m| {
        m.entries.get_mut("usr/bin").expect("bin").mtime = 101;
    });
    breaks(&["non-utf8-name"], |m| {
        m.entries.get_mut("usr/bin").expect("bin").utf8 = false;
    });
}

#[test]
fn directories_of_packages_in_var() {
    breaks(&["tmpfiles-missing-for-var-dir"], |m| {
        m.packaged.insert("var/lib/tool".into());
    });
    breaks(&[], |m| {
        for path in ["var/lib", "var/lib/tool", "var/lib/data/x", "var/cache/tool/y"] {
            m.packaged.insert(path.into());
        }
        let lines = "d /var/lib/tool 0755 root root - -\nC /var/lib/data - - - - /usr/share/data\n";
        say(m, "usr/lib/tmpfiles.d/tool.conf", lines);
    });
}

#[test]
fn ids_are_unique() {
    let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.0).collect();
    assert_eq!(ids.len(), RULES.len());
    assert!(is_known("var-not-empty") && !is_known("no-such-check"));
}
