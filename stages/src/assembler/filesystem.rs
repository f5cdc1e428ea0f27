//! File systems in files, with a tree in them.
//!
//! ext4, btrfs and FAT are written by their own tools, without a mount. xfs has no tool that takes a tree: it is mounted
//! over a loop device of the engine (`loopback`).

use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use serde::Deserialize;

use super::loopback;
use crate::error::{IoContext, Result};
use crate::tool::{Tool, word};

/// Kinds of file systems.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Ext4,
    Xfs,
    Btrfs,
    Vfat,
}

impl Kind {
    /// The name in options.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Vfat => "vfat",
        }
    }
}

/// A file system to make.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FileSystem {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) uuid: String,
    #[serde(default)]
    pub(super) label: String,
}

impl FileSystem {
    /// Makes it in a sparse file of `size` bytes and puts the content of a directory into it.
    ///
    /// # Errors
    /// The content does not fit, or any step fails.
    pub(super) fn make(&self, image: &Path, size: u64, content: &Path) -> Result<()> {
        sparse(image, size)?;
        Tool::new(&self.command(image, content)?).run()?;
        match self.kind {
            Kind::Ext4 => set_root_mode(image, content),
            Kind::Xfs => loopback::fill(image, content),
            Kind::Btrfs => Ok(()),
            Kind::Vfat => copy_into_fat(image, content),
        }
    }

    /// The command that makes it, with the content if it can.
    fn command(&self, image: &Path, content: &Path) -> Result<Vec<String>> {
        let (image, directory) = (word(image), word(content));
        let volume = self.uuid.replace('-', "");
        let label = |option: &'static str| if self.label.is_empty() { vec![] } else { vec![option, &self.label] };
        let owner = fs::metadata(content).doing("inspect", content)?;
        // The seed makes directory hashes, and so the image, depend on the tree alone.
        let extended = format!("root_owner={}:{},hash_seed={}", owner.uid(), owner.gid(), self.uuid);
        let xfs_uuid = format!("uuid={}", self.uuid);
        let argv = match self.kind {
            Kind::Ext4 => [
                vec!["mke2fs", "-q", "-F", "-t", "ext4", "-U", &self.uuid, "-E", &extended],
                label("-L"),
                vec!["-d", &directory, &image],
            ],
            Kind::Xfs => [vec!["mkfs.xfs", "-q", "-m", &xfs_uuid], label("-L"), vec![image.as_str()]],
            Kind::Btrfs => {
                [vec!["mkfs.btrfs", "-q", "-U", &self.uuid], label("-L"), vec!["--rootdir", &directory, &image]]
            }
            Kind::Vfat => [vec!["mkfs.vfat", "-i", &volume], label("-n"), vec![image.as_str()]],
        };
        Ok(argv.concat().iter().map(ToString::to_string).collect())
    }
}

/// Makes a file of holes.
///
/// # Errors
/// The system refuses.
pub(super) fn sparse(path: &Path, size: u64) -> Result<()> {
    File::create(path).and_then(|file| file.set_len(size)).doing("create", path)
}

/// Copies the data of a sparse file, and none of its holes, to a place in another.
///
/// # Errors
/// A read or write fails.
pub(super) fn copy_data(from: &Path, to: &Path, offset: u64) -> Result<()> {
    let source = File::open(from).doing("open", from)?;
    let mut target = File::options().write(true).open(to).doing("open", to)?;
    let mut at = 0;
    loop {
        at = match seek(&source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // No data after this.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error).doing("read", from),
        };
        let end = seek(&source, SeekFrom::Hole(at)).doing("read", from)?;
        (&source).seek(io::SeekFrom::Start(at)).doing("read", from)?;
        target.seek(io::SeekFrom::Start(offset + at)).doing("write", to)?;
        io::copy(&mut io::Read::take(&source, end - at), &mut target).doing("write", to)?;
        at = end;
    }
}

/// mke2fs gives every root directory mode 0755.
fn set_root_mode(image: &Path, content: &Path) -> Result<()> {
    let mode = fs::metadata(content).doing("inspect", content)?.mode();
    if mode & 0o7777 == 0o755 {
        return Ok(());
    }
    Tool::new(&["debugfs", "-w", "-R", &format!("set_inode_field <2> mode 0{mode:o}"), &word(image)]).run()
}

fn copy_into_fat(image: &Path, content: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(content).doing("list", content)? {
        names.push(word(&entry.doing("list", content)?.path()));
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    Tool::new(&["mcopy", "-i", &word(image), "-s", "-m", "-Q", "--"])
        .args(&names)
        .arg("::/")
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "1")
        .run()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn commands() {
        let dir = tempfile::tempdir().expect("dir");
        let owner = fs::metadata(dir.path()).expect("stat");
        let (path, id) = (dir.path().display(), format!("{}:{}", owner.uid(), owner.gid()));
        let words = |kind, label: &str| {
            let fs = FileSystem { kind, uuid: "AB-CD".into(), label: label.into() };
            fs.command("/o".as_ref(), dir.path()).expect("command").join(" ")
        };
        let extended = format!("root_owner={id},hash_seed=AB-CD");
        assert_eq!(words(Kind::Ext4, "r"), format!("mke2fs -q -F -t ext4 -U AB-CD -E {extended} -L r -d {path} /o"));
        assert_eq!(words(Kind::Xfs, ""), "mkfs.xfs -q -m uuid=AB-CD /o");
        assert_eq!(words(Kind::Btrfs, "r"), format!("mkfs.btrfs -q -U AB-CD -L r --rootdir {path} /o"));
        assert_eq!(words(Kind::Vfat, "EFI"), "mkfs.vfat -i ABCD -n EFI /o");
    }

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().expect("dir");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        sparse(&from, 8 << 20).expect("sparse");
        sparse(&to, 16 << 20).expect("sparse");
        File::options().write(true).open(&from).and_then(|f| f.write_all_at(b"data", 4 << 20)).expect("write");
        File::options().write(true).open(&to).and_then(|mut f| f.write_all(b"before")).expect("write");
        copy_data(&from, &to, 1 << 20).expect("copied");
        let file = File::open(&to).expect("open");
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 5 << 20).expect("read");
        assert_eq!(&bytes, b"data");
        let metadata = file.metadata().expect("stat");
        assert_eq!(metadata.len(), 16 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{}", metadata.blocks());
    }
}
