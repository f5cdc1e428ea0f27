//! org.osbuild.vagrant: the content of a Vagrant box.

use serde::{Deserialize, Serialize};

use super::{json, qemu_img};
use crate::child;
use crate::error::{Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tool::word;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    provider: Provider,
    virtualbox: Option<VirtualBox>,
    #[serde(default)]
    synced_folders: Ordered<Folder>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    Libvirt,
    VirtualBox,
}

#[derive(Deserialize)]
struct VirtualBox {
    mac_address: String,
}

#[derive(Deserialize)]
struct Folder {
    r#type: String,
}

#[derive(Serialize)]
struct Metadata {
    provider: Provider,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    /// In GB, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let source = args.single_file("image")?;
    let provider = options.provider;
    // VirtualBox tells formats by the name, vagrant-libvirt wants this one.
    let name = if provider == Provider::VirtualBox { "box.vmdk" } else { "box.img" };
    let target = tree::resolve(&args.tree, name)?;
    child::run(&["cp", "-a", "--reflink=auto", "--", &word(&source), &word(&target)])?;
    let mut metadata = Metadata { provider, format: None, virtual_size: None };
    if provider == Provider::Libvirt {
        metadata.format = Some("qcow2");
        metadata.virtual_size = Some(qemu_img::virtual_size(&target)? / 1_000_000_000);
    }
    tree::overwrite(&args.tree, "Vagrantfile", vagrantfile(&options)?)?;
    tree::overwrite(&args.tree, "metadata.json", json::text(&metadata)?)
}

fn vagrantfile(options: &Options) -> Result<String> {
    let mut settings = match (options.provider, &options.virtualbox) {
        (Provider::Libvirt, _) => {
            "config.vm.provider :libvirt do |libvirt|\n  libvirt.driver = \"kvm\"\nend\n".to_owned()
        }
        (Provider::VirtualBox, Some(virtualbox)) => format!("config.vm.base_mac = \"{}\"\n", virtualbox.mac_address),
        (Provider::VirtualBox, None) => {
            return Err(StageError::new("provider virtualbox: expected virtualbox.mac_address"));
        }
    };
    for (path, folder) in &options.synced_folders.0 {
        settings.push_str(&format!("    config.vm.synced_folder \".\", \"{path}\", type: \"{}\"\n", folder.r#type));
    }
    Ok(format!("Vagrant.configure(\"2\") do |config|\n    {settings}\nend\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_providers() {
        let options: Options = serde_json::from_value(json!({
            "provider": "virtualbox", "virtualbox": {"mac_address": "000000000000"},
            "synced_folders": {"/vagrant": {"type": "rsync"}}
        }))
        .expect("options");
        assert_eq!(
            vagrantfile(&options).expect("text"),
            "Vagrant.configure(\"2\") do |config|\n    config.vm.base_mac = \"000000000000\"\n    \
             config.vm.synced_folder \".\", \"/vagrant\", type: \"rsync\"\n\nend\n"
        );
        assert!(vagrantfile(&Options { virtualbox: None, ..options }).is_err());
        let options: Options = serde_json::from_value(json!({"provider": "libvirt"})).expect("options");
        assert!(vagrantfile(&options).expect("text").contains("    config.vm.provider :libvirt"));
        let metadata = Metadata { provider: Provider::Libvirt, format: Some("qcow2"), virtual_size: Some(10) };
        assert_eq!(
            super::json::text(&metadata).expect("text"),
            r#"{"provider": "libvirt", "format": "qcow2", "virtual_size": 10}"#
        );
    }
}
