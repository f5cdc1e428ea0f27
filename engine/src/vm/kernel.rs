//! The kernel of a build tree, and those of its modules that a machine needs before it has its root.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::trouble;
use crate::error::{BuildError, IoContext};

/// Modules without which there is no machine.
const NEEDED: [&str; 3] = ["virtio_pci", "virtio_console", "virtiofs"];
/// Modules that nothing in the guest would ask for by itself.
const USEFUL: [&str; 1] = ["loop"];

/// A kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// What QEMU loads.
    pub(super) image: PathBuf,
    /// The directory of its modules.
    modules: PathBuf,
}

/// A module to load.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// Not compressed.
    pub(super) content: Vec<u8>,
}

impl Kernel {
    /// The first kernel of a tree, by its version's name.
    pub(super) fn find(tree: &Path) -> Result<Self, BuildError> {
        let all = tree.join("usr/lib/modules");
        let mut versions: Vec<PathBuf> =
            fs::read_dir(&all).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        versions.sort();
        let found = versions.into_iter().find_map(|modules| {
            let version = modules.file_name()?.to_str()?.to_owned();
            let images = [modules.join("vmlinuz"), tree.join(format!("boot/vmlinuz-{version}"))];
            // A link would be followed on the host.
            let image = images.into_iter().find(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()))?;
            Some(Self { image, modules })
        });
        found.ok_or_else(|| {
            trouble(
                "the build tree has no kernel: neither usr/lib/modules/VERSION/vmlinuz nor boot/vmlinuz-VERSION; \
                 add a package such as linux-image-cloud-amd64",
            )
        })
    }

    /// The modules to load, in order.
    pub(super) fn modules(&self) -> Result<Vec<Module>, BuildError> {
        let read = |name: &str| {
            let path = self.modules.join(name);
            fs::read_to_string(&path).context("read", &path)
        };
        let (table, built_in) = (read("modules.dep")?, read("modules.builtin")?);
        let mut paths = Vec::new();
        for name in NEEDED.into_iter().chain(USEFUL) {
            if !require(name, &table, &built_in, &mut paths) && NEEDED.contains(&name) {
                return Err(trouble(format!("the kernel {} has no module {name}", self.modules.display())));
            }
        }
        let module = |path: &str| {
            let file = self.modules.join(path);
            let content = fs::read(&file).and_then(|data| decompress(path, data)).context("read", &file)?;
            Ok(Module { name: module_name(path), content })
        };
        paths.into_iter().map(module).collect()
    }
}

/// Adds a module's file and before it all it depends on, by the tables of depmod(8). False if there is no such module.
fn require<'a>(name: &str, table: &'a str, built_in: &str, paths: &mut Vec<&'a str>) -> bool {
    if built_in.lines().any(|path| module_name(path) == name) {
        return true;
    }
    let Some(path) = table.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| module_name(path) == name)
    else {
        return false;
    };
    add(path, table, paths, &mut Vec::new());
    true
}

fn add<'a>((path, needs): (&'a str, &'a str), table: &'a str, paths: &mut Vec<&'a str>, above: &mut Vec<&'a str>) {
    if paths.contains(&path) || above.contains(&path) {
        return;
    }
    above.push(path);
    // The farthest is last.
    for need in needs.split_ascii_whitespace().rev() {
        let line = table.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| *path == need);
        add(line.unwrap_or((need, "")), table, paths, above);
    }
    above.pop();
    paths.push(path);
}

/// `virtio_pci` of `kernel/drivers/virtio/virtio-pci.ko.xz`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn decompress(path: &str, data: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match path.rsplit('.').next() {
        Some("xz") => liblzma::read::XzDecoder::new(&*data).read_to_end(&mut content)?,
        Some("gz") => flate2::read::GzDecoder::new(&*data).read_to_end(&mut content)?,
        Some("zst") => return zstd::decode_all(&*data),
        _ => return Ok(data),
    };
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "kernel/fs/fuse/fuse.ko.xz:\n\
                         kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz kernel/d/virtio.ko.xz \
                         kernel/d/virtio-ring.ko.xz\n\
                         kernel/d/virtio.ko.xz: kernel/d/virtio-ring.ko.xz\n\
                         kernel/d/virtio-ring.ko.xz:\n\
                         a.ko: b.ko\nb.ko: a.ko\n";

    fn order(name: &str, built_in: &str) -> Option<Vec<String>> {
        let mut paths = Vec::new();
        let found = require(name, TABLE, built_in, &mut paths);
        found.then(|| paths.into_iter().map(module_name).collect())
    }

    #[test]
    fn a_module_comes_after_what_it_needs() {
        assert_eq!(order("virtiofs", "").unwrap(), ["virtio_ring", "virtio", "fuse", "virtiofs"]);
        assert_eq!(order("virtio_ring", "").unwrap(), ["virtio_ring"]);
        assert_eq!(order("virtiofs", "kernel/fs/fuse/virtiofs.ko\n").unwrap(), [""; 0]);
        assert_eq!(order("loop", ""), None);
        assert_eq!(order("a", "").unwrap(), ["b", "a"], "a circle has an end");
    }

    #[test]
    fn what_two_modules_need_is_loaded_once() {
        let mut paths = Vec::new();
        assert!(require("virtio", TABLE, "", &mut paths) && require("virtiofs", TABLE, "", &mut paths));
        assert_eq!(paths.iter().filter(|path| path.ends_with("virtio-ring.ko.xz")).count(), 1);
    }

    #[test]
    fn the_kernel_is_in_one_of_two_places() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        assert!(Kernel::find(tree).unwrap_err().to_string().contains("no kernel"));
        for version in ["6.1", "6.2", "6.3"] {
            fs::create_dir_all(tree.join("usr/lib/modules").join(version)).unwrap();
        }
        fs::create_dir(tree.join("boot")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tree.join("boot/vmlinuz-6.1")).unwrap();
        assert!(Kernel::find(tree).is_err());
        fs::write(tree.join("usr/lib/modules/6.3/vmlinuz"), "").unwrap();
        assert_eq!(Kernel::find(tree).unwrap().image, tree.join("usr/lib/modules/6.3/vmlinuz"));
        fs::write(tree.join("boot/vmlinuz-6.2"), "").unwrap();
        let modules = tree.join("usr/lib/modules/6.2");
        assert_eq!(Kernel::find(tree).unwrap(), Kernel { image: tree.join("boot/vmlinuz-6.2"), modules });
    }

    #[test]
    fn modules_are_decompressed() {
        use std::io::Write;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"module").unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(b"module").unwrap();
        let zst = zstd::encode_all(&b"module"[..], 1).unwrap();
        let files = [
            ("a.ko", b"module".to_vec()),
            ("a.ko.gz", gz.finish().unwrap()),
            ("a.ko.xz", xz.finish().unwrap()),
            ("a.ko.zst", zst),
        ];
        for (path, data) in files {
            assert_eq!(decompress(path, data).unwrap(), b"module", "{path}");
        }
        assert!(decompress("a.ko.xz", b"module".to_vec()).is_err());
    }
}
