//! A small HTTP/1.1 server on the loopback interface: serves a directory, and misbehaves where it is told to.
//!
//! It knows what apt and curl use: GET and HEAD, keep-alive, Range, If-Modified-Since. Each connection has a thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

/// What the server does when it is asked for a path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Other bytes than the file's.
    Bytes(Vec<u8>),
    /// Bytes of a media type.
    Typed(&'static str, Vec<u8>),
    /// The file of another path.
    Other(String),
    /// 404.
    NotFound,
    /// Says the right length and hangs up after so many bytes.
    Truncate(usize),
    /// Accepts the request and never answers.
    Hang,
    /// At most so many bytes a second.
    Slow(usize),
}

#[derive(Debug, Default)]
struct State {
    /// By path or, when it ends with `/`, by beginning of a path.
    answers: BTreeMap<String, Answer>,
    /// Paths that were asked for with GET and answered with content, in order.
    requests: Vec<String>,
    connections: Vec<TcpStream>,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves `root` on a port of its own.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback interface");
        let address = listener.local_addr().expect("the server's address");
        let state = Arc::new(Mutex::new(State::default()));
        let ending = Arc::new(AtomicBool::new(false));
        let (root, shared, end) = (root.to_owned(), Arc::clone(&state), Arc::clone(&ending));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (root, state, end) = (root.clone(), Arc::clone(&shared), Arc::clone(&end));
                if let Ok(copy) = stream.try_clone() {
                    locked(&state).connections.push(copy);
                }
                // A client that went away is its own business.
                std::thread::spawn(move || drop(serve(&stream, &root, &state, &end)));
            }
        });
        Self { address, state, ending, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers so for a path (`/dists/…`), or for all below it when it ends with `/`.
    pub fn answer(&self, path: &str, answer: Answer) {
        locked(&self.state).answers.insert(path.to_owned(), answer);
    }

    /// Behaves well again.
    pub fn behave(&self) {
        locked(&self.state).answers.clear();
    }

    /// The paths that were served since the last call, in order.
    #[must_use]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).requests)
    }

    /// Closes the port: whoever connects from now on is refused.
    pub fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.ending.store(true, Ordering::SeqCst);
            // Wakes the thread that waits for connections.
            let _ = TcpStream::connect(self.address);
            for connection in locked(&self.state).connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug, Default)]
struct Request {
    head: bool,
    path: String,
    range_from: Option<usize>,
    since: Option<String>,
    close: bool,
}

/// First byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    // A client that tries TLS first takes the hint when we hang up.
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let head = words.next() == Some("HEAD");
    let path = decode(words.next().unwrap_or("/"));
    let mut request = Request { head, path, ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(request)) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value.strip_prefix("bytes=").and_then(|range| range.split('-').next());
                request.range_from = from.and_then(|from| from.parse().ok());
            }
            "if-modified-since" => request.since = Some(value.to_owned()),
            "connection" => request.close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

/// Undoes percent encoding: apt encodes `+` and `~`.
fn decode(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).unwrap_or_default();
        out.push(if byte == b'%' { u8::try_from(digit() * 16 + digit()).unwrap_or_default() } else { byte });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn serve(stream: &TcpStream, root: &Path, state: &Mutex<State>, end: &AtomicBool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        if !respond(stream, &request, root, state, end)? || request.close {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn chosen(state: &State, path: &str) -> Option<Answer> {
    let exact = state.answers.get(path);
    let below =
        || state.answers.iter().find(|(key, _)| key.ends_with('/') && path.starts_with(key.as_str())).map(|(_, a)| a);
    exact.or_else(below).cloned()
}

/// Returns whether the connection stays open.
fn respond(
    mut out: &TcpStream,
    request: &Request,
    root: &Path,
    state: &Mutex<State>,
    end: &AtomicBool,
) -> io::Result<bool> {
    let answer = chosen(&locked(state), &request.path);
    let path = match &answer {
        Some(Answer::Other(path)) => path,
        _ => &request.path,
    };
    let (body, modified) = match &answer {
        Some(Answer::Hang) => {
            while !end.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
            }
            return Ok(false);
        }
        Some(Answer::NotFound) => (None, None),
        Some(Answer::Bytes(bytes) | Answer::Typed(_, bytes)) => (Some(bytes.clone()), None),
        _ => file(root, path),
    };
    let Some(body) = body else {
        out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    };
    if modified.is_some() && modified == request.since {
        out.write_all(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    }
    if !request.head {
        locked(state).requests.push(request.path.clone());
    }
    let dated = modified.map(|time| format!("Last-Modified: {time}\r\n")).unwrap_or_default();
    let kind = match &answer {
        Some(Answer::Typed(kind, _)) => format!("Content-Type: {kind}\r\n"),
        _ => String::new(),
    };
    let from = request.range_from.filter(|from| *from < body.len());
    let (status, range) = match from {
        Some(from) => {
            ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len()))
        }
        None => ("200 OK", String::new()),
    };
    let part = &body[from.unwrap_or(0)..];
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n{kind}{dated}{range}\r\n",
        part.len()
    )?;
    if request.head {
        return Ok(true);
    }
    match answer {
        Some(Answer::Truncate(length)) => {
            out.write_all(&part[..length.min(part.len())])?;
            Ok(false)
        }
        Some(Answer::Slow(rate)) => {
            for chunk in part.chunks((rate / 20).max(1)) {
                if end.load(Ordering::SeqCst) {
                    return Ok(false);
                }
                out.write_all(chunk)?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(true)
        }
        _ => out.write_all(part).map(|()| true),
    }
}

/// A file below the root and its time as HTTP writes it.
fn file(root: &Path, path: &str) -> (Option<Vec<u8>>, Option<String>) {
    let relative = Path::new(path.trim_start_matches('/'));
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return (None, None);
    }
    let path: PathBuf = root.join(relative);
    let mut content = Vec::new();
    let read = fs::File::open(&path).and_then(|mut file| file.read_to_end(&mut content));
    if read.is_err() {
        return (None, None);
    }
    let time =
        fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (Some(content), time.map(|time| http_date(time.as_secs())))
}

/// Seconds since 1970 as RFC 9110 and Debian's Release files write dates; the zone is to be added by the latter.
#[must_use]
pub fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut day) = (1970, days);
    while day >= if leap(year) { 366 } else { 365 } {
        day -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let weekday = DAYS[usize::try_from(days % 7).unwrap_or_default()];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1, MONTHS[month])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(server: &Server, head: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn serves_and_misbehaves() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a+b"), "hello").unwrap();
        let mut server = Server::start(dir.path());
        let whole = get(&server, "GET /a%2bb HTTP/1.1");
        assert!(whole.starts_with("HTTP/1.1 200 OK") && whole.ends_with("\r\n\r\nhello"), "{whole}");
        let time = whole.lines().find_map(|line| line.strip_prefix("Last-Modified: ")).unwrap().to_owned();
        assert!(get(&server, &format!("GET /a+b HTTP/1.1\r\nIf-Modified-Since: {time}")).starts_with("HTTP/1.1 304"));
        let rest = get(&server, "GET /a+b HTTP/1.1\r\nRange: bytes=3-");
        assert!(
            rest.starts_with("HTTP/1.1 206") && rest.contains("bytes 3-4/5") && rest.ends_with("\r\n\r\nlo"),
            "{rest}"
        );
        assert!(get(&server, "GET /../etc/passwd HTTP/1.1").starts_with("HTTP/1.1 404"));
        assert_eq!(server.take_requests(), ["/a+b", "/a+b"]);

        server.answer("/a+b", Answer::Truncate(2));
        assert!(get(&server, "GET /a+b HTTP/1.1").ends_with("\r\n\r\nhe"));
        server.answer("/a+b", Answer::Bytes(b"other".to_vec()));
        assert!(get(&server, "GET /a+b HTTP/1.1").ends_with("\r\n\r\nother"));
        server.answer("/a+b", Answer::Typed("text/x", b"kind".to_vec()));
        assert!(get(&server, "GET /a+b HTTP/1.1").contains("\r\nContent-Type: text/x\r\n"));
        server.answer("/a+b", Answer::NotFound);
        assert!(get(&server, "GET /a+b HTTP/1.1").starts_with("HTTP/1.1 404"));
        server.behave();
        assert!(get(&server, "HEAD /a+b HTTP/1.1").ends_with("\r\n\r\n"));
        server.stop();
        assert!(TcpStream::connect(server.address).is_err());
    }

    #[test]
    fn dates() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(951_827_696), "Tue, 29 Feb 2000 12:34:56 GMT");
    }
}
