//! org.osbuild.ext4, xfs, btrfs, fat, erofs and squashfs: a file system of a device, by mount(2).

use std::ffi::CString;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Mount, Mounted};
use crate::error::{Result, StageError};
use crate::host::Service;

/// Options of all of them together; each one's schema says which it takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    readonly: bool,
    norecovery: bool,
    uid: Option<i64>,
    gid: Option<i64>,
    umask: Option<String>,
    shortname: Option<String>,
    subvol: Option<String>,
    compress: Option<String>,
}

impl Options {
    /// What the file system itself is told.
    fn data(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        if self.norecovery {
            words.push("norecovery".into());
        }
        let numbers = [("uid", self.uid), ("gid", self.gid)];
        words.extend(numbers.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?))));
        let texts = [
            ("umask", &self.umask),
            ("shortname", &self.shortname),
            ("subvol", &self.subvol),
            ("compress", &self.compress),
        ];
        words.extend(texts.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))));
        words.join(",")
    }
}

/// Serves org.osbuild.ext4.
pub(crate) fn ext4(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "ext4"))
}

/// Serves org.osbuild.xfs.
pub(crate) fn xfs(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "xfs"))
}

/// Serves org.osbuild.btrfs.
pub(crate) fn btrfs(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "btrfs"))
}

/// Serves org.osbuild.fat.
pub(crate) fn fat(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "vfat"))
}

/// Serves org.osbuild.erofs.
pub(crate) fn erofs(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "erofs"))
}

/// Serves org.osbuild.squashfs.
pub(crate) fn squashfs(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |service, args| mount_type(service, args, "squashfs"))
}

fn mount_type(service: &mut Service, args: &Mount<Options>, kind: &str) -> Result<Value> {
    let (source, at) = (args.source()?, args.mount_point()?);
    crate::tree::make_dirs(&at)?;
    println!("mounting {} -> {}", source.display(), at.display());
    let data = args.options.data();
    let text = CString::new(data.as_str()).map_err(|_| StageError::new("options: a NUL character in a text"))?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, args.options.readonly);
    let mut mounted = mount(source, &at, kind, flags, text.as_c_str());
    // As mount(8) does it: a device that cannot be written is mounted read-only.
    if matches!(mounted, Err(Errno::ACCESS | Errno::ROFS)) && !args.options.readonly {
        println!("{} cannot be written: mounting read-only", source.display());
        mounted = mount(source, &at, kind, flags | MountFlags::RDONLY, text.as_c_str());
    }
    mounted.map_err(|error| {
        let hint = match error {
            Errno::INVAL => ": not a file system of this kind, a damaged one, or options it does not take",
            Errno::NODEV => ": the kernel has no such file system",
            _ => "",
        };
        let (source, at) = (source.display(), at.display());
        StageError::new(format!("cannot mount {source} as {kind} (options {data:?}) on {at}: {error}{hint}"))
    })?;
    service.hold(Mounted { at: at.clone() });
    Ok(json!(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_data() {
        for (options, data) in [
            (json!({}), ""),
            (json!({"readonly": true}), ""),
            (json!({"readonly": true, "norecovery": true}), "norecovery"),
            (
                json!({"uid": 0, "gid": 10, "umask": "077", "shortname": "winnt"}),
                "uid=0,gid=10,umask=077,shortname=winnt",
            ),
            (json!({"subvol": "root", "compress": "zstd:1"}), "subvol=root,compress=zstd:1"),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(options.data(), data);
        }
    }
}
