//! org.osbuild.luks2.format and org.osbuild.luks2.remove-key: by cryptsetup(8) of the build root. Passphrases go through
//! standard input, never into an argument list.

use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Format {
    passphrase: String,
    uuid: String,
    pbkdf: Pbkdf,
    cipher: Option<String>,
    label: Option<String>,
    #[serde(default)]
    subsystem: String,
    sector_size: Option<i64>,
    integrity: Option<String>,
}

/// Key derivation.
#[derive(Deserialize)]
struct Pbkdf {
    method: String,
    iterations: u64,
    /// In KiB.
    #[serde(default = "default_memory")]
    memory: u64,
    #[serde(default = "default_parallelism")]
    parallelism: u64,
}

fn default_memory() -> u64 {
    32
}

fn default_parallelism() -> u64 {
    1
}

impl Format {
    fn arguments(&self) -> Vec<String> {
        let mut argv = words(
            &["cryptsetup", "-q", "--uuid", &self.uuid, "luksFormat", "--type", "luks2", "--force-password"],
            &[],
        );
        let mut add = |name: &str, value: &str| argv.extend([name.to_owned(), value.to_owned()]);
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(cipher) = given(&self.cipher) {
            add("--cipher", &cipher);
        }
        if let Some(label) = given(&self.label) {
            add("--label", &label);
            add("--subsystem", &self.subsystem);
        }
        if let Some(size) = self.sector_size.filter(|size| *size != 0) {
            add("--sector-size", &size.to_string());
        }
        if let Some(integrity) = given(&self.integrity) {
            add("--integrity", &integrity);
        }
        add("--pbkdf", &self.pbkdf.method);
        add("--pbkdf-force-iterations", &self.pbkdf.iterations.to_string());
        add("--pbkdf-memory", &self.pbkdf.memory.to_string());
        add("--pbkdf-parallel", &self.pbkdf.parallelism.to_string());
        argv
    }
}

/// Runs org.osbuild.luks2.format.
pub(crate) fn format(args: &Arguments) -> Result<()> {
    let options: Format = args.options()?;
    child::run_with_input(&words(&options.arguments(), &[args.device("device")?]), &options.passphrase)
}

#[derive(Deserialize)]
struct RemoveKey {
    passphrase: String,
}

/// Runs org.osbuild.luks2.remove-key.
pub(crate) fn remove_key(args: &Arguments) -> Result<()> {
    let options: RemoveKey = args.options()?;
    child::run_with_input(
        &words(&["cryptsetup", "-q", "luksRemoveKey"], &[args.device("device")?]),
        &options.passphrase,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (
                json!({"passphrase": "p", "uuid": "u", "pbkdf": {"method": "pbkdf2", "iterations": 1000}}),
                "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --pbkdf-memory 32 --pbkdf-parallel 1",
            ),
            (
                json!({
                    "passphrase": "p", "uuid": "u", "cipher": "aes-xts-plain64", "label": "l", "subsystem": "s",
                    "sector-size": 4096, "integrity": "hmac-sha256",
                    "pbkdf": {"method": "argon2id", "iterations": 4, "memory": 64, "parallelism": 2}
                }),
                "--cipher aes-xts-plain64 --label l --subsystem s --sector-size 4096 --integrity hmac-sha256 \
                 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 64 --pbkdf-parallel 2",
            ),
            (
                json!({"passphrase": "p", "uuid": "u", "subsystem": "s", "pbkdf": {"method": "argon2i", "iterations": 4}}),
                "--pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1",
            ),
        ] {
            let options: Format = serde_json::from_value(options).expect("options");
            let start = "cryptsetup -q --uuid u luksFormat --type luks2 --force-password";
            assert_eq!(options.arguments().join(" "), format!("{start} {argv}"));
        }
    }
}
