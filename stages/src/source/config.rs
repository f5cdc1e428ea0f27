//! What org.osbuild.curl asks of curl: its items, and the text of curl's configuration for them.
//!
//! Pure: no file is opened and nothing is started here. What curl's answers mean: `answer`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::rhsm::Subscriptions;
use crate::error::{Result, StageError};
use crate::host;

/// Transfers at a time. More does not help one mirror and annoys it.
const PARALLEL: usize = 10;

/// The environment of the service, as far as it matters.
#[derive(Debug, Default, Clone)]
pub(super) struct Environment {
    /// OSBUILD_SOURCES_CURL_PROXY
    pub(super) proxy: Option<String>,
    /// OSBUILD_SOURCES_CURL_SSL_CLIENT_KEY
    pub(super) client_key: Option<String>,
    /// OSBUILD_SOURCES_CURL_SSL_CLIENT_CERT
    pub(super) client_cert: Option<String>,
    /// OSBUILD_SOURCES_CURL_SSL_CA_CERT
    pub(super) ca_cert: Option<String>,
    /// Certificates of a Red Hat subscription.
    pub(super) subscriptions: Subscriptions,
}

impl Environment {
    /// That of this process.
    pub(super) fn of_process() -> Self {
        let get =
            |name: &str| std::env::var(format!("OSBUILD_SOURCES_CURL_{name}")).ok().filter(|value| !value.is_empty());
        Self {
            proxy: get("PROXY"),
            client_key: get("SSL_CLIENT_KEY"),
            client_cert: get("SSL_CLIENT_CERT"),
            ca_cert: get("SSL_CA_CERT"),
            subscriptions: Subscriptions::of_machine(Path::new("/")),
        }
    }
}

/// One file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer {
    /// `algorithm:hex`.
    pub(super) checksum: String,
    /// As in the manifest.
    pub(super) url: String,
    insecure: bool,
    client: Option<ClientFiles>,
}

/// Files of TLS client authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientFiles {
    key: String,
    cert: String,
    ca: Option<String>,
}

impl ClientFiles {
    /// A key, its certificate and the authority of the server's.
    pub(super) fn new(key: &Path, cert: &Path, ca: Option<&Path>) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Self { key: text(key), cert: text(cert), ca: ca.map(text) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Item {
    Url(String),
    Full {
        url: String,
        #[serde(default)]
        insecure: bool,
        secrets: Option<Secrets>,
    },
}

#[derive(Debug, Deserialize)]
struct Secrets {
    name: String,
}

impl Transfer {
    /// The transfer for an item of the manifest.
    ///
    /// # Errors
    /// The item is malformed, or needs secrets we do not have.
    pub(super) fn new(checksum: &str, item: &Value, environment: &Environment) -> Result<Self> {
        let (url, insecure, secrets) = match host::arguments(item)? {
            Item::Url(url) => (url, false, None),
            Item::Full { url, insecure, secrets } => (url, insecure, secrets),
        };
        if url.chars().any(char::is_control) {
            return Err(StageError::new(format!("{url:?}: a URL has no control characters")));
        }
        let client = match secrets.as_ref().map(|s| s.name.as_str()) {
            None => None,
            Some("org.osbuild.mtls") => match (&environment.client_key, &environment.client_cert) {
                (Some(key), Some(cert)) => {
                    Some(ClientFiles { key: key.clone(), cert: cert.clone(), ca: environment.ca_cert.clone() })
                }
                _ => {
                    return Err(StageError::new(format!(
                        "{url}: secrets org.osbuild.mtls need OSBUILD_SOURCES_CURL_SSL_CLIENT_KEY and \
                         OSBUILD_SOURCES_CURL_SSL_CLIENT_CERT in the environment"
                    )));
                }
            },
            Some("org.osbuild.rhsm") => match environment.subscriptions.for_url(&url) {
                Some(files) => Some(files.clone()),
                None => {
                    return Err(StageError::new(format!(
                        "{url}: secrets org.osbuild.rhsm need a Red Hat subscription on this machine"
                    )));
                }
            },
            Some(other) => {
                // Upstream goes on as well: the server says whether it minds.
                eprintln!("{url}: no secrets of the kind {other:?} are known; trying without");
                None
            }
        };
        Ok(Self { checksum: checksum.to_owned(), url, insecure, client })
    }

    /// Name of the file for messages: the last part of the URL's path.
    pub(super) fn file_name(&self) -> &str {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.url)
    }
}

/// The text of a curl configuration (`curl --config`) for transfers, each with its output file. For each finished
/// transfer curl writes the line `NUMBER EXITCODE HTTPCODE REDIRECTS MESSAGE` to its standard output.
pub(super) fn config<'a>(
    transfers: impl Iterator<Item = (usize, &'a Transfer, &'a Path)>,
    environment: &Environment,
) -> String {
    let mut text = format!("no-progress-meter\nparallel\nparallel-max = {PARALLEL}\n");
    for (n, (number, transfer, output)) in transfers.enumerate() {
        if n > 0 {
            text.push_str("next\n");
        }
        let mut set = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(" = ");
            text.push_str(&quoted(value));
            text.push('\n');
        };
        set("url", &encoded(&transfer.url));
        set("output", &output.to_string_lossy());
        set("write-out", &format!("{number} %{{exitcode}} %{{http_code}} %{{num_redirects}} %{{errormsg}}\n"));
        set("user-agent", concat!("debian-forge/", env!("CARGO_PKG_VERSION")));
        // A transfer that crawls or hangs for 30 seconds is given up and tried again.
        set("speed-limit", "1000");
        set("speed-time", "30");
        set("connect-timeout", "30");
        set("continue-at", "-");
        if let Some(proxy) = &environment.proxy {
            set("proxy", proxy);
        }
        if let Some(client) = &transfer.client {
            set("key", &client.key);
            set("cert", &client.cert);
            if let Some(ca) = &client.ca {
                set("cacert", ca);
            }
        }
        text.push_str("silent\nfail\nlocation\ngloboff\n");
        if transfer.insecure {
            text.push_str("insecure\n");
        }
    }
    text
}

/// A value in a curl configuration.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A URL with everything percent-encoded that may not stand in one (what is encoded already stays).
fn encoded(url: &str) -> String {
    let mut text = String::new();
    for byte in url.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn items_of_all_forms() {
        let environment = Environment::default();
        let short = Transfer::new("sha256:aa", &json!("http://h/a/b.deb?x=/y"), &environment).expect("short");
        assert_eq!(short.file_name(), "b.deb");
        let full = json!({"url": "https://h/b", "insecure": true});
        assert!(Transfer::new("sha256:aa", &full, &environment).expect("full").insecure);
        let mtls = json!({"url": "https://h/b", "secrets": {"name": "org.osbuild.mtls"}});
        let error = Transfer::new("sha256:aa", &mtls, &environment).expect_err("no key").to_string();
        assert!(error.contains("SSL_CLIENT_KEY"), "{error}");
        let environment = Environment { client_key: Some("/k".into()), client_cert: Some("/c".into()), ..environment };
        let transfer = Transfer::new("sha256:aa", &mtls, &environment).expect("with key");
        let text = config([(3, &transfer, Path::new("/p/x"))].into_iter(), &environment);
        assert!(text.contains("key = \"/k\"\ncert = \"/c\"\n"), "{text}");
        assert!(text.contains("write-out = \"3 %{exitcode}"), "{text}");
        let rhsm = json!({"url": "https://h/b", "secrets": {"name": "org.osbuild.rhsm"}});
        assert!(Transfer::new("sha256:aa", &rhsm, &environment).is_err());
        let other = json!({"url": "https://h/b", "secrets": {"name": "org.example.none"}});
        assert_eq!(Transfer::new("sha256:aa", &other, &environment).expect("without").client, None);
        let with_proxy = Environment { proxy: Some("http://p:1\"".into()), ..Environment::default() };
        let text = config([(0, &short, Path::new("/p")), (1, &transfer, Path::new("/q"))].into_iter(), &with_proxy);
        assert_eq!(text.matches("proxy = \"http://p:1\\\"\"\n").count(), 2, "for each transfer: {text}");
        assert_eq!(text.matches("next\n").count(), 1);
        assert!(Transfer::new("sha256:aa", &json!("http://h/\nurl=x"), &environment).is_err());
    }

    /// JSON of any kind, with the names that items have.
    fn nonsense() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,20}|https?://[ -~]{0,20}|.{0,8}|org\\.osbuild\\.(mtls|rhsm)".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let name = prop_oneof!["url|insecure|secrets|name", "\\PC{0,6}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_harmless(item in nonsense(), checksum in "\\PC{0,80}") {
            let environment = Environment {
                client_key: Some("/k".into()),
                client_cert: Some("/c".into()),
                ..Environment::default()
            };
            let Ok(transfer) = Transfer::new(&checksum, &item, &environment) else { return Ok(()) };
            prop_assert!(item.is_string() || item.get("url").is_some_and(Value::is_string));
            let text = config([(0, &transfer, Path::new("/p"))].into_iter(), &environment);
            for line in text.lines() {
                let (option, value) = line.split_once(" = ").map_or((line, None), |(o, v)| (o, Some(v)));
                prop_assert!(option.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{line}");
                let quoted = |v: &str| v.len() > 1 && v.starts_with('"') && v.ends_with('"');
                prop_assert!(value.is_none_or(|v| quoted(v) || v.parse::<usize>().is_ok()), "{line}");
            }
            prop_assert_eq!(text.matches("\nurl = ").count(), 1);
        }

        #[test]
        fn a_url_stays_on_its_line(url in "\\PC{0,60}") {
            let Ok(transfer) = Transfer::new("sha256:aa", &json!(url), &Environment::default()) else { return Ok(()) };
            let text = config([(0, &transfer, Path::new("/p"))].into_iter(), &Environment::default());
            let line = text.lines().nth(3).expect("line");
            prop_assert!(line.starts_with("url = \"") && line.ends_with('"'));
            prop_assert!(line[7..line.len() - 1].bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\'));
        }
    }
}
