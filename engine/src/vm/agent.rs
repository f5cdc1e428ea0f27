//! The guest's side: the first process of the machine. It mounts what the host shares, makes the build tree its root,
//! and runs the stages that it is asked to run.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};

use super::protocol::{Reply, Request};
use super::{LIBDIR, MODULES, PORT, PYTHON, ROOT, STORE, trouble};
use crate::error::{BuildError, IoContext};
use crate::modules::{Index, Runner};
use crate::monitor::{Cancel, Event, Monitor};
use crate::result::StageResult;
use crate::sandbox::{Root, Views};
use crate::stage::{self, Shared, StageRun};
use crate::store::Scratch;

/// Where the shares are mounted, each below its name.
const SHARES: &str = "/run/forge";
/// Where the new root is mounted first.
const SYSROOT: &str = "/root";
/// How long a share may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);
/// For host services and the programs that they start.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this process is a machine's first.
pub(crate) fn is_wanted(program: Option<&str>) -> bool {
    program == Some("/init") && std::process::id() == 1
}

/// Serves until the host has no more to say, then switches the machine off.
pub(crate) fn main() -> ExitCode {
    if let Err(error) = enter().and_then(|()| serve()) {
        // This is the machine's console.
        eprintln!("forge-vm-agent: {error}");
    }
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn attach(kind: &str, source: &str, target: &Path, flags: MountFlags, data: Option<&std::ffi::CStr>) -> io::Result<()> {
    Ok(mount(source, target, kind, flags, data)?)
}

/// Mounts everything and makes the build tree the root.
fn enter() -> Result<(), BuildError> {
    let none = MountFlags::empty();
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        let target = Path::new(target);
        attach(kind, kind, target, none, None).context("mount", target)?;
    }
    load_modules()?;
    let root = Path::new(SYSROOT);
    share(ROOT, root, MountFlags::RDONLY)?;
    for target in ["proc", "sys", "dev"] {
        let (from, to) = (Path::new("/").join(target), root.join(target));
        mount_move(&from, &to).map_err(io::Error::from).context("mount", &to)?;
    }
    for (target, mode) in [("run", c"mode=0755"), ("tmp", c"mode=1777"), ("var", c"mode=0755")] {
        let target = root.join(target);
        attach("tmpfs", "tmpfs", &target, MountFlags::NOSUID | MountFlags::NODEV, Some(mode))
            .context("mount", &target)?;
    }
    std::env::set_current_dir(root).context("enter", root)?;
    mount_move(".", "/").map_err(io::Error::from).context("move", root)?;
    rustix::process::chroot(".").map_err(io::Error::from).context("change the root to", root)?;
    std::env::set_current_dir("/").context("enter", Path::new("/"))?;
    // Where programs of the build root expect to put things.
    fs::create_dir_all("/var/tmp").context("create", Path::new("/var/tmp"))?;
    for (name, flags) in [(LIBDIR, MountFlags::RDONLY), (STORE, none)] {
        share(name, &Path::new(SHARES).join(name), flags)?;
    }
    Ok(())
}

fn load_modules() -> Result<(), BuildError> {
    let directory = Path::new("/").join(MODULES);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let file = File::open(&path).context("open", &path)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(io::Error::from(error)).context("load", &path),
        }
    }
    Ok(())
}

/// Mounts what the host shares under a name. Its device may still be on its way.
fn share(name: &str, target: &Path, flags: MountFlags) -> Result<(), BuildError> {
    fs::create_dir_all(target).context("create", target)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attach("virtiofs", name, target, flags, None) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            result => return result.context("mount the share", Path::new(name)),
        }
    }
}

/// The node of the serial port that the host speaks through.
fn port() -> Result<PathBuf, BuildError> {
    let directory = Path::new("/sys/class/virtio-ports");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let found = entries
            .into_iter()
            .find(|entry| fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT));
        match found {
            Some(entry) => return Ok(Path::new("/dev").join(entry.file_name())),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            None => return Err(trouble(format!("there is no serial port {PORT}"))),
        }
    }
}

fn serve() -> Result<(), BuildError> {
    let path = port()?;
    let port = File::options().read(true).write(true).open(&path).context("open", &path)?;
    let mut host = Host(port.try_clone().context("open", &path)?);
    host.send(&Reply::Ready).context("write to", &path)?;
    let mut requests = BufReader::new(port);
    loop {
        let mut line = Vec::new();
        if requests.read_until(b'\n', &mut line).context("read from", &path)? == 0 {
            return Ok(());
        }
        let reply = match answer(&line, &mut host) {
            Ok(result) => Reply::Result(result),
            Err(error) => Reply::Failed(error.to_string()),
        };
        // The host goes on with the tree.
        rustix::fs::sync();
        host.send(&reply).context("write to", &path)?;
    }
}

fn answer(line: &[u8], host: &mut Host) -> Result<StageResult, BuildError> {
    let value = crate::json::parse(line).map_err(|error| trouble(error.to_string()))?;
    let request = Request::from_json(&value).map_err(|error| trouble(error.to_string()))?;
    run(request, host)
}

fn run(request: Request, host: &mut Host) -> Result<StageResult, BuildError> {
    let shares = Path::new(SHARES);
    let (libdir, store) = (shares.join(LIBDIR), shares.join(STORE));
    let python = shares.join(PYTHON).join("osbuild");
    if request.python && !python.is_dir() {
        share(PYTHON, &python, MountFlags::RDONLY)?;
    }
    let index = Index::open(&libdir)?;
    let (asked, name) = request.runner;
    let runner = Runner { asked, path: libdir.join("runners").join(&name), name };
    let mut environment = request.environment;
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".to_owned(), SEARCH_PATH.to_owned()));
    }
    let shared = Shared {
        scratch: Scratch::new(store.join(&request.scratch)),
        sources: store.join("sources"),
        index: &index,
        // The host shares nothing that it could not lose.
        views: Views::none(),
        python: request.python.then_some(python),
        environment: &environment,
        timeout: request.timeout,
    };
    let (tree, meta) = (store.join(&request.tree), store.join(&request.meta));
    let run = StageRun {
        stage: &request.stage,
        runner: &runner,
        root: &Root::Tree(PathBuf::from("/")),
        tree: &tree,
        meta: &meta,
        trees: request.trees.into_iter().map(|(id, path)| (id, store.join(path))).collect(),
        shell: false,
        // The host switches the machine off instead.
        cancel: &Cancel::default(),
    };
    stage::run(&shared, run, host)
}

/// The host, as what listens to a stage.
struct Host(File);

impl Host {
    fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.0.write_all((reply.to_json().to_line() + "\n").as_bytes())
    }
}

impl Monitor for Host {
    fn event(&mut self, event: Event<'_>) {
        if let Event::Output { origin, text } = event {
            // A host that is gone will switch us off.
            let _ = self.send(&Reply::Log { text: text.to_owned(), service: origin.is_some() });
        }
    }
}
