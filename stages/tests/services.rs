//! Host services of the built binary, spoken to as the engine does: over a socket pair, with a small HTTP server in
//! place of the network.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A running service.
struct Service {
    socket: OwnedFd,
    child: Child,
}

impl Service {
    fn start(class: &str, name: &str) -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socketpair");
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).expect("inheritable");
        let child = Command::new(env!("CARGO_BIN_EXE_forge-module"))
            .arg0(format!("/libdir/{class}s/{name}"))
            .args(["--service-id", &format!("{class}/{name}")])
            .args(["--service-fd", &theirs.as_raw_fd().to_string()])
            .spawn()
            .expect("service starts");
        Self { socket: ours, child }
    }

    /// Calls a method: (signals, reply message).
    fn call(&self, method: &str, args: &Value) -> (Vec<Value>, Value) {
        let request = json!({"type": "method", "data": {"name": method, "args": args}}).to_string();
        send(&self.socket, request.as_bytes(), SendFlags::NOSIGNAL).expect("send");
        let mut signals = Vec::new();
        loop {
            let mut buffer = vec![0; 1 << 18];
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()).expect("receive");
            let message: Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
            if message["type"] != "signal" {
                return (signals, message);
            }
            signals.push(message["data"]["reply"].clone());
        }
    }

    /// Closes the socket and waits for the end.
    fn stop(mut self) {
        drop(self.socket);
        assert!(self.child.wait().expect("wait").success());
    }
}

/// What the server answers for a path.
#[derive(Clone)]
enum Page {
    /// The content, with ranges.
    Content(Vec<u8>),
    /// This status.
    Status(u16),
    /// First 503, then the content.
    Flaky(Vec<u8>),
    /// First the first half and a broken connection, then ranges.
    Broken(Vec<u8>),
    /// Never anything.
    Silence,
}

/// A server on the loopback interface; it lives until the test process ends.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(pages: HashMap<&'static str, Page>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let pages = Arc::new(pages);
        let turn = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, log, turn) = (Arc::clone(&pages), Arc::clone(&log), Arc::clone(&turn));
                std::thread::spawn(move || answer(stream, &pages, &log, &turn));
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn ranges(&self) -> usize {
        let requests = self.requests.lock().expect("lock");
        requests.iter().filter(|r| r.contains("range: bytes=")).count()
    }
}

fn answer(mut stream: TcpStream, pages: &HashMap<&'static str, Page>, log: &Mutex<Vec<String>>, turn: &AtomicUsize) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let lower = request.to_lowercase();
    log.lock().expect("lock").push(lower.clone());
    let start: usize = lower
        .split("range: bytes=")
        .nth(1)
        .and_then(|range| range.split('-').next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let first = turn.fetch_add(1, Ordering::SeqCst) == 0;
    let mut status = |text: String, body: &[u8]| {
        let head = format!("HTTP/1.1 {text}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
        let _ = stream.write_all(body);
    };
    match pages.get(path.as_str()).cloned().unwrap_or(Page::Status(404)) {
        Page::Silence => std::thread::sleep(Duration::from_secs(60)),
        Page::Status(code) => status(format!("{code} No"), b""),
        Page::Flaky(_) if first => status("503 Busy".into(), b""),
        Page::Broken(content) if first => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&content[..content.len() / 2]);
        }
        Page::Content(content) | Page::Flaky(content) | Page::Broken(content) => {
            if start == 0 {
                status("200 OK".into(), &content);
            } else {
                let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
                status(format!("206 Partial\r\nContent-Range: {range}"), &content[start..]);
            }
        }
    }
}

fn sum(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// Calls `download` of org.osbuild.curl with (checksum, URL) pairs: (signals, reply value).
fn download(cache: &Path, items: &[(String, String)]) -> (Vec<Value>, Value) {
    let items: serde_json::Map<String, Value> =
        items.iter().map(|(checksum, url)| (checksum.clone(), json!({"url": url}))).collect();
    let service = Service::start("source", "org.osbuild.curl");
    let (signals, reply) = service
        .call("download", &json!({"items": items, "options": {}, "cache": cache, "output": null, "checksums": []}));
    service.stop();
    assert_eq!(reply["type"], "reply", "{reply}");
    (signals, reply["data"]["reply"].clone())
}

#[test]
fn files_are_downloaded_once_and_in_parallel() {
    let dir = tempfile::tempdir().expect("dir");
    let contents: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 1000]).collect();
    let names: [&'static str; 20] = [
        "/0",
        "/1",
        "/2",
        "/3",
        "/4",
        "/5",
        "/6",
        "/7",
        "/8",
        "/9",
        "/10",
        "/11",
        "/12",
        "/13",
        "/14",
        "/15",
        "/16",
        "/17",
        "/18",
        "/a%20b%22",
    ];
    let pages = names.iter().zip(&contents).map(|(n, c)| (*n, Page::Content(c.clone())));
    let server = Server::start(pages.collect());
    let items: Vec<(String, String)> = names
        .iter()
        .zip(&contents)
        .map(|(name, content)| (sum(content), server.url(&name.replace("%20", " ").replace("%22", "\""))))
        .collect();
    let (signals, reply) = download(dir.path(), &items);
    assert_eq!(reply["success"], true, "{reply}");
    assert_eq!(reply["results"].as_array().expect("results").len(), 20);
    let last = &signals.last().expect("progress")["progress"];
    assert_eq!((&last["done"], &last["total"], &last["unit"]), (&json!(20), &json!(20), &json!("items")));
    for ((checksum, _), content) in items.iter().zip(&contents) {
        let file = dir.path().join("org.osbuild.files").join(checksum);
        assert_eq!(&fs::read(file).expect("file"), content);
    }
    let before = server.requests.lock().expect("lock").len();
    let (_, reply) = download(dir.path(), &items);
    assert_eq!(reply["results"][0]["metadata"]["cached"], true);
    assert_eq!(server.requests.lock().expect("lock").len(), before);
}

#[test]
fn passing_failures_are_tried_again() {
    let dir = tempfile::tempdir().expect("dir");
    let server = Server::start(HashMap::from([("/x", Page::Flaky(b"later".to_vec()))]));
    let (_, reply) = download(dir.path(), &[(sum(b"later"), server.url("/x"))]);
    assert_eq!(reply["success"], true, "{reply}");
}

#[test]
fn a_broken_transfer_is_continued() {
    let dir = tempfile::tempdir().expect("dir");
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let server = Server::start(HashMap::from([("/x", Page::Broken(content.clone()))]));
    let (_, reply) = download(dir.path(), &[(sum(&content), server.url("/x"))]);
    assert_eq!(reply["success"], true, "{reply}");
    assert_eq!(server.ranges(), 1);
}

#[test]
fn final_failures_name_url_and_cause() {
    let dir = tempfile::tempdir().expect("dir");
    let server =
        Server::start(HashMap::from([("/gone", Page::Status(404)), ("/other", Page::Content(b"other".to_vec()))]));
    for (path, cause) in [("/gone", "HTTP status 404".to_owned()), ("/other", format!("got {}", sum(b"other")))] {
        let (_, reply) = download(dir.path(), &[(sum(b"wanted"), server.url(path))]);
        assert_eq!(reply["success"], false);
        let error = reply["results"][0]["error"].as_str().expect("error");
        assert!(error.starts_with(&server.url(path)) && error.contains(&cause), "{error}");
        assert!(reply["output"].as_str().expect("output").contains(error));
    }
    let left = fs::read_dir(dir.path().join("org.osbuild.files")).expect("list").flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| n != ".partial").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_download_ends_when_the_engine_goes() {
    let dir = tempfile::tempdir().expect("dir");
    let server = Server::start(HashMap::from([("/x", Page::Silence)]));
    let mut service = Service::start("source", "org.osbuild.curl");
    let items = json!({sum(b"x"): {"url": server.url("/x")}});
    let request =
        json!({"type": "method", "data": {"name": "download", "args": {"items": items, "cache": dir.path()}}});
    send(&service.socket, request.to_string().as_bytes(), SendFlags::NOSIGNAL).expect("send");
    while server.requests.lock().expect("lock").is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let gone = Instant::now();
    drop(service.socket);
    assert!(!service.child.wait().expect("wait").success());
    assert!(gone.elapsed() < Duration::from_secs(5));
}

#[test]
fn inline_files_and_bad_calls() {
    let dir = tempfile::tempdir().expect("dir");
    let service = Service::start("source", "org.osbuild.inline");
    let item = json!({sum(b"hello"): {"encoding": "base64", "data": "aGVsbG8="}});
    let (_, reply) = service.call("download", &json!({"items": item, "options": {}, "cache": dir.path()}));
    assert_eq!(reply["data"]["reply"]["success"], true, "{reply}");
    let wrong = json!({sum(b"other"): {"encoding": "base64", "data": "aGVsbG8="}});
    let (_, reply) = service.call("download", &json!({"items": wrong, "options": {}, "cache": dir.path()}));
    let error = reply["data"]["reply"]["results"][0]["error"].as_str().expect("error");
    assert_eq!(error, format!("Checksum mismatch for {}", sum(b"other")));
    let copy = json!({"items": item, "options": {}, "cache": dir.path(), "dst_cache": dir.path().join("d")});
    let (_, reply) = service.call("copy", &copy);
    assert_eq!(reply["data"]["reply"]["success"], true, "{reply}");
    assert!(dir.path().join("d/org.osbuild.files").join(sum(b"hello")).is_file());
    let (_, reply) = service.call("upload", &json!({"items": {}, "cache": dir.path()}));
    assert_eq!(reply["type"], "exception");
    service.stop();
}

#[test]
fn a_mount_stays_below_its_root() {
    let dir = tempfile::tempdir().expect("dir");
    let service = Service::start("mount", "org.osbuild.noop");
    for (target, path) in [("/a/b", "a/b"), ("/", ""), ("/../../x", "x")] {
        let args = json!({"root": dir.path(), "target": target, "source": null, "tree": "/", "options": {}});
        let (_, reply) = service.call("mount", &args);
        let got = reply["data"]["reply"].as_str().expect("path");
        assert_eq!(Path::new(got), dir.path().join(path));
        assert!(Path::new(got).is_dir());
    }
    service.stop();
}
