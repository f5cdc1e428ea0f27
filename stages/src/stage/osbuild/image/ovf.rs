//! org.osbuild.ovf: an OVF descriptor and a manifest beside a VMDK image.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::qemu_img;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    vmdk: String,
    #[serde(default)]
    vmware: VmWare,
    #[serde(default)]
    virtualbox: VirtualBox,
}

#[derive(Deserialize)]
#[serde(default)]
struct VmWare {
    os_type: String,
    virtual_hardware_version: String,
}

impl Default for VmWare {
    fn default() -> Self {
        Self { os_type: "other26xLinux64Guest".into(), virtual_hardware_version: "vmx-15".into() }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct VirtualBox {
    os_type: String,
    mac_address: String,
}

impl Default for VirtualBox {
    fn default() -> Self {
        Self { os_type: "OtherLinux_64".into(), mac_address: String::new() }
    }
}

/// What the descriptor says about the image.
struct Image {
    name: String,
    size: u64,
    capacity: u64,
    sha256: [u8; 32],
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let relative = PathBuf::from(&options.vmdk);
    let path = tree::resolve(&args.tree, &relative)?;
    let name =
        relative.file_name().ok_or_else(|| StageError::new(format!("{}: not the name of a file", options.vmdk)))?;
    let mut file = File::open(&path).doing("open", &path)?;
    let mut hasher = Sha256::new();
    let size = io::copy(&mut file, &mut hasher).doing("read", &path)?;
    let image = Image {
        name: name.to_string_lossy().into_owned(),
        size,
        capacity: qemu_img::virtual_size(&path)?,
        sha256: hasher.finalize().into(),
    };
    let descriptor = descriptor(&options, &image);
    let ovf = relative.with_extension("ovf");
    tree::overwrite(&args.tree, &ovf, &descriptor)?;
    let ovf_name = Path::new(&image.name).with_extension("ovf");
    let manifest = format!(
        "SHA256({})= {}\nSHA256({})= {}\n",
        ovf_name.display(),
        hex(&Sha256::digest(&descriptor)),
        image.name,
        hex(&image.sha256)
    );
    tree::overwrite(&args.tree, relative.with_extension("mf"), manifest)
}

fn descriptor(options: &Options, image: &Image) -> String {
    let mac = match options.virtualbox.mac_address.as_str() {
        // VirtualBox' own prefix.
        "" => format!("080027{}", &hex(&derived(image, "mac"))[..6]),
        given => given.to_owned(),
    };
    let mut text = include_str!("ovf.xml").to_owned();
    for (name, value) in [
        ("image_name", escaped(&image.name)),
        ("vmdk_size", image.size.to_string()),
        ("vmdk_capacity", image.capacity.to_string()),
        ("vmware_os_type", escaped(&options.vmware.os_type)),
        ("vmware_virtual_hardware_version", escaped(&options.vmware.virtual_hardware_version)),
        ("vbox_disk_uuid", uuid(derived(image, "disk"))),
        ("vbox_machine_uuid", uuid(derived(image, "machine"))),
        ("vbox_os_type", escaped(&options.virtualbox.os_type)),
        ("vbox_mac_address", mac),
    ] {
        text = text.replace(&format!("{{{name}}}"), &value);
    }
    text
}

/// Bytes for an identifier. They depend on the image alone, so the same image gets the same descriptor.
fn derived(image: &Image, purpose: &str) -> [u8; 16] {
    let digest = Sha256::new().chain_update(image.sha256).chain_update(purpose).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

/// The text of a UUID of version 4.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text as the value of an XML attribute or element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(options: serde_json::Value, sha256: [u8; 32]) -> String {
        let image = Image { name: "a.vmdk".into(), size: 7, capacity: 4096, sha256 };
        descriptor(&serde_json::from_value(options).expect("options"), &image)
    }

    #[test]
    fn the_descriptor_names_the_image() {
        let plain = text(json!({"vmdk": "a.vmdk"}), [1; 32]);
        for want in [
            "ovf:href=\"a.vmdk\" ovf:id=\"file1\" ovf:size=\"7\"",
            "ovf:capacity=\"4096\"",
            "vmw:osType=\"other26xLinux64Guest\"",
            ">vmx-15<",
            "OSType=\"OtherLinux_64\"",
            "MACAddress=\"080027",
        ] {
            assert!(plain.contains(want), "{want}: {plain}");
        }
        assert!(!plain.contains(['{', '}']), "{plain}");
        assert_eq!(plain, text(json!({"vmdk": "a.vmdk"}), [1; 32]));
        assert_ne!(plain, text(json!({"vmdk": "a.vmdk"}), [2; 32]));
        let given = text(
            json!({"vmdk": "a.vmdk", "vmware": {"os_type": "a<b", "virtual_hardware_version": "vmx-21"},
                   "virtualbox": {"os_type": "Debian_64", "mac_address": "00aaBB112233"}}),
            [1; 32],
        );
        for want in ["\"a&lt;b\"", ">vmx-21<", "\"Debian_64\"", "\"00aaBB112233\""] {
            assert!(given.contains(want), "{want}: {given}");
        }
    }

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
