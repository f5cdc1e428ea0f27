//! org.osbuild.qemu: converts a raw disk image, by qemu-img(1) of the build root.

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    format: Format,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Format {
    Qcow2 {
        #[serde(default = "yes")]
        compression: bool,
        compat: Option<String>,
    },
    Vdi,
    Vmdk {
        adapter_type: Option<String>,
        #[serde(default)]
        compat6: bool,
        #[serde(default = "yes")]
        compression: bool,
        subformat: Option<String>,
    },
    Vpc {
        #[serde(default = "yes")]
        force_size: bool,
        subformat: Option<String>,
    },
    Vhdx,
}

fn yes() -> bool {
    true
}

impl Format {
    /// The format's name, whether to compress, and its options.
    fn arguments(&self) -> Vec<String> {
        let (name, compress, options) = match self {
            Self::Qcow2 { compression, compat } => {
                let compat = compat.iter().filter(|c| !c.is_empty()).map(|c| format!("compat={c}"));
                ("qcow2", *compression, compat.collect())
            }
            Self::Vdi => ("vdi", false, vec![]),
            Self::Vmdk { adapter_type, compat6, compression, subformat } => {
                let adapter = adapter_type.iter().map(|a| format!("adapter_type={a}"));
                let compat6 = compat6.then(|| "compat6".to_owned());
                let subformat = subformat.iter().map(|s| format!("subformat={s}"));
                ("vmdk", *compression, adapter.chain(compat6).chain(subformat).collect())
            }
            Self::Vpc { force_size, subformat } => {
                let subformat = format!("subformat={}", subformat.as_deref().unwrap_or("fixed"));
                let force_size = force_size.then(|| "force_size".to_owned());
                ("vpc", false, [subformat].into_iter().chain(force_size).collect())
            }
            Self::Vhdx => ("vhdx", false, vec![]),
        };
        let mut argv = vec!["-O".to_owned(), name.to_owned()];
        if compress {
            argv.push("-c".to_owned());
        }
        if !options.is_empty() {
            argv.extend(["-o".to_owned(), options.join(",")]);
        }
        argv
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let source = args.single_file("image")?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let mut argv = vec!["qemu-img".to_owned(), "convert".to_owned()];
    argv.extend(options.format.arguments());
    // Set by upstream's runners where several coroutines hang (qemu-img on aarch64).
    if let Ok(coroutines) = std::env::var("OSBUILD_QEMU_IMG_COROUTINES") {
        argv.extend(["-m".to_owned(), coroutines]);
    }
    argv.extend([source, target].map(|path| path.to_string_lossy().into_owned()));
    child::run(&argv)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_become_arguments() {
        for (format, argv) in [
            (json!({"type": "qcow2"}), "-O qcow2 -c"),
            (json!({"type": "qcow2", "compression": false, "compat": "1.1"}), "-O qcow2 -o compat=1.1"),
            (json!({"type": "vdi"}), "-O vdi"),
            (
                json!({"type": "vmdk", "compat6": true, "subformat": "streamOptimized", "adapter_type": "ide"}),
                "-O vmdk -c -o adapter_type=ide,compat6,subformat=streamOptimized",
            ),
            (json!({"type": "vpc"}), "-O vpc -o subformat=fixed,force_size"),
            (json!({"type": "vpc", "force_size": false, "subformat": "dynamic"}), "-O vpc -o subformat=dynamic"),
            (json!({"type": "vhdx"}), "-O vhdx"),
        ] {
            let format: Format = serde_json::from_value(format).expect("format");
            assert_eq!(format.arguments().join(" "), argv);
        }
    }
}
