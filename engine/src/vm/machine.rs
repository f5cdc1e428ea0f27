//! The host's side: QEMU and one virtiofsd for each share. All of them end with the [`Machine`], with the thread that
//! started it, and with the engine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cpio::Archive;
use super::kernel::Kernel;
use super::protocol::{Reply, Request};
use super::{LIBDIR, MODULES, PORT, PYTHON, ROOT, STORE, trouble};
use crate::error::{BuildError, IoContext};
use crate::monitor::{Cancel, Event, Monitor};
use crate::result::StageResult;
use crate::stage::{Shared, StageRun};

/// The first process of a guest: this engine, linked statically, in the libdir.
const AGENT: &str = "forge-vm-agent";
const MEMORY: &str = "3G";
const MOST_PROCESSORS: usize = 4;
/// Descriptor number of what a program gets first.
const FIRST_FD: i32 = 3;
/// How long a guest may take to boot where the processor helps, and where it is emulated.
const KVM_BOOT: Duration = Duration::from_secs(30);
const TCG_BOOT: Duration = Duration::from_secs(600);
/// How much longer than a stage may take we wait for the guest to say that it took too long.
const GRACE: Duration = Duration::from_secs(60);
/// How long virtiofsd may take to notice that its machine is gone.
const STOP: Duration = Duration::from_secs(5);
/// A line longer than this is none of ours.
const MAX_LINE: usize = 256 << 20;
/// How much of the console explains a failure.
const CONSOLE_TAIL: usize = 2000;

/// What differs between architectures.
struct Platform {
    programs: &'static [&'static str],
    package: &'static str,
    machine: &'static str,
    /// The processor that is emulated.
    processor: &'static str,
    console: &'static str,
}

const PLATFORM: Option<Platform> = if cfg!(target_arch = "x86_64") {
    Some(Platform {
        programs: &["/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm"],
        package: "qemu-system-x86",
        machine: "q35",
        // Without cmpxchg16b: guests die of it at random under the emulation of some QEMU releases.
        processor: "Nehalem,-cx16",
        console: "ttyS0",
    })
} else if cfg!(target_arch = "aarch64") {
    Some(Platform {
        programs: &["/usr/bin/qemu-system-aarch64", "/usr/libexec/qemu-kvm"],
        package: "qemu-system-arm",
        machine: "virt",
        processor: "cortex-a57",
        console: "ttyAMA0",
    })
} else {
    None
};

const VIRTIOFSD: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// A running machine.
#[derive(Debug)]
pub(crate) struct Machine {
    processes: Processes,
    port: UnixStream,
    received: Vec<u8>,
    console: PathBuf,
    /// The store as it is shared.
    store: PathBuf,
    /// Where the guest makes its temporary directories, in the store.
    guest_scratch: PathBuf,
    /// Where the processes above write; goes last.
    directory: Option<Directory>,
}

impl Machine {
    /// Boots a machine with the kernel of `tree` whose root is `view`, the same tree as it may be shown to stages.
    pub(crate) fn start(
        shared: &Shared<'_>,
        store: &Path,
        tree: &Path,
        view: &Path,
        cancel: &Cancel,
    ) -> Result<Self, BuildError> {
        let platform = PLATFORM.ok_or_else(|| trouble("not known how on this architecture"))?;
        let directory = Directory(shared.scratch.directory("vm")?);
        let kernel = Kernel::find(tree)?;
        let initrd = directory.0.join("initrd");
        write_initrd(&initrd, &kernel, &shared.index.libdir().join(AGENT))?;
        let guest_scratch = directory.0.join("guest");
        fs::create_dir(&guest_scratch).context("create", &guest_scratch)?;
        let libdir = shared.views.directory(shared.index.libdir());
        let mut shares = vec![(ROOT, view, "always"), (LIBDIR, &libdir, "always"), (STORE, store, "auto")];
        shares.extend(shared.python.iter().map(|python| (PYTHON, python.as_path(), "always")));
        let console = directory.0.join("console");
        let mut tries = Vec::new();
        // That there is such a device does not mean that it works.
        if File::options().read(true).write(true).open("/dev/kvm").is_ok() {
            tries.push((true, KVM_BOOT));
        }
        tries.push((false, TCG_BOOT));
        let mut last = trouble("not started");
        for (accelerated, patience) in tries {
            let (processes, port) = boot(&platform, &kernel, &initrd, &console, &shares, accelerated)?;
            let mut machine = Self {
                processes,
                port,
                received: Vec::new(),
                console: console.clone(),
                store: store.to_owned(),
                guest_scratch: guest_scratch.clone(),
                directory: None,
            };
            match machine.next(Some(Instant::now() + patience), cancel) {
                Ok(Reply::Ready) => {
                    machine.directory = Some(directory);
                    return Ok(machine);
                }
                Ok(_) => last = trouble("the guest's first word is not that it is ready"),
                Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
                Err(error) => {
                    tracing::info!(accelerated, %error, "the machine did not start");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Runs a stage in the machine.
    pub(crate) fn run(
        &mut self,
        shared: &Shared<'_>,
        run: &StageRun<'_>,
        monitor: &mut dyn Monitor,
    ) -> Result<StageResult, BuildError> {
        if run.shell {
            return Err(trouble("--break opens no shell in one"));
        }
        let trees = run.trees.iter().map(|(id, path)| Ok((id.clone(), self.shared_path(path)?)));
        let request = Request {
            stage: run.stage.clone(),
            runner: (run.runner.asked.clone(), run.runner.name.clone()),
            tree: self.shared_path(run.tree)?,
            meta: self.shared_path(run.meta)?,
            scratch: self.shared_path(&self.guest_scratch)?,
            trees: trees.collect::<Result<_, BuildError>>()?,
            environment: shared.environment.to_vec(),
            python: shared.python.is_some(),
            timeout: shared.timeout,
        };
        let line = request.to_json().to_line() + "\n";
        self.port.write_all(line.as_bytes()).map_err(|error| self.lost(&error.to_string()))?;
        let deadline = shared.timeout.map(|timeout| Instant::now() + timeout + GRACE);
        loop {
            match self.next(deadline, run.cancel)? {
                Reply::Log { text, service } => {
                    monitor.event(Event::Output { origin: service.then_some("org.osbuild"), text: &text });
                }
                Reply::Result(result) => return Ok(result),
                Reply::Failed(error) => return Err(trouble(format!("{}: in the build tree: {error}", run.stage.name))),
                Reply::Ready => return Err(self.lost("the guest started anew")),
            }
        }
    }

    /// A path of the store as the guest is told it.
    fn shared_path(&self, path: &Path) -> Result<String, BuildError> {
        let relative = path.strip_prefix(&self.store).ok().and_then(Path::to_str);
        relative.map(str::to_owned).ok_or_else(|| trouble(format!("{} is not in the store", path.display())))
    }

    /// The guest's next message.
    fn next(&mut self, deadline: Option<Instant>, cancel: &Cancel) -> Result<Reply, BuildError> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                let line = std::mem::replace(&mut self.received, rest);
                let value = crate::json::parse(&line).map_err(|error| self.lost(&error.to_string()))?;
                return Reply::from_json(&value).map_err(|error| self.lost(&error.to_string()));
            }
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(self.lost("no answer in time"));
            }
            if self.received.len() > MAX_LINE {
                return Err(self.lost("an endless message"));
            }
            self.receive().map_err(|error| self.lost(&error.to_string()))?;
        }
    }

    /// Takes what there is, waiting for it as long as a cancellation may go unnoticed.
    fn receive(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.port, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))? == 0 {
            return Ok(());
        }
        let mut buffer = [0; 65536];
        let length = self.port.read(&mut buffer)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"));
        }
        self.received.extend_from_slice(&buffer[..length]);
        Ok(())
    }

    /// The error of a machine that is of no use any more, with the end of its console.
    fn lost(&mut self, what: &str) -> BuildError {
        self.processes.stop();
        let console = fs::read(&self.console).unwrap_or_default();
        let tail = String::from_utf8_lossy(&console[console.len().saturating_sub(CONSOLE_TAIL)..]).replace('\r', "");
        trouble(match tail.trim() {
            "" => what.to_owned(),
            tail => format!("{what}; its console:\n{tail}"),
        })
    }
}

/// A directory that is removed at the end.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The processes of a machine: QEMU, then what serves it.
#[derive(Debug)]
struct Processes {
    servers: Vec<Child>,
    qemu: Option<Child>,
}

impl Processes {
    fn stop(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
        // They end when QEMU has gone.
        let deadline = Instant::now() + STOP;
        for mut server in self.servers.drain(..) {
            while matches!(server.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

fn boot(
    platform: &Platform,
    kernel: &Kernel,
    initrd: &Path,
    console: &Path,
    shares: &[(&str, &Path, &str)],
    accelerated: bool,
) -> Result<(Processes, UnixStream), BuildError> {
    let qemu = find(platform.programs, "qemu-system", platform.package)?;
    let virtiofsd = find(&VIRTIOFSD, "virtiofsd", "virtiofsd")?;
    let output = File::create(console).context("create", console)?;
    let mut processes = Processes { servers: Vec::new(), qemu: None };
    let (port, theirs) = UnixStream::pair().context("make a socket for", Path::new(qemu))?;
    let mut fds = vec![OwnedFd::from(theirs)];
    for (tag, source, cache) in shares {
        let socket = console.with_file_name(format!("{tag}.socket"));
        let (listener, stream) = connected(&socket).context("make the socket", &socket)?;
        let mut command = mortal(virtiofsd);
        command
            .args(["-f", &format!("--fd={FIRST_FD}"), &format!("--rlimit-nofile={}", most_files())])
            .args(["-o", &format!("cache={cache}"), "-o", "sandbox=chroot", "-o", "xattr", "-o", "log_level=err"])
            .arg("-o")
            .arg(format!("source={}", source.display()));
        processes.servers.push(spawn(command, virtiofsd, vec![listener], &output)?);
        fds.push(stream);
    }
    let (accelerator, processor) = if accelerated { ("kvm", "host") } else { ("tcg,thread=multi", platform.processor) };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_PROCESSORS));
    let mut command = mortal(qemu);
    command
        .args(["-machine", platform.machine, "-accel", accelerator, "-cpu", processor])
        .args(["-smp", &processors.to_string(), "-m", MEMORY])
        // What virtiofsd reads and writes is the guest's memory.
        .args(["-object", &format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"), "-numa"])
        .args(["node,memdev=memory", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .args(["-chardev", &format!("socket,id=port,fd={FIRST_FD}")])
        .args(["-device", &format!("virtserialport,chardev=port,name={PORT}")])
        .args(["-append", &format!("console={} quiet panic=-1", platform.console)])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initrd);
    for ((tag, _, _), fd) in shares.iter().zip(FIRST_FD + 1..) {
        command.args(["-chardev", &format!("socket,id={tag},fd={fd}")]);
        command.args(["-device", &format!("vhost-user-fs-pci,queue-size=1024,chardev={tag},tag={tag}")]);
    }
    processes.qemu = Some(spawn(command, qemu, fds, &output)?);
    Ok((processes, port))
}

fn find(places: &[&'static str], program: &'static str, package: &'static str) -> Result<&'static str, BuildError> {
    let found = places.iter().copied().find(|path| Path::new(path).is_file());
    found.ok_or(BuildError::MissingProgram { program, package })
}

/// A command that is killed when we die, however that comes.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

fn spawn(mut command: Command, program: &str, fds: Vec<OwnedFd>, output: &File) -> Result<Child, BuildError> {
    let program = Path::new(program);
    let output = || output.try_clone().context("start", program);
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    let mappings = fds.into_iter().zip(FIRST_FD..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).map_err(io::Error::other).context("start", program)?;
    command.spawn().context("start", program)
}

/// A listening socket and a connection to it. Both ends are given away, and nobody else is to connect: its name goes.
fn connected(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    // A store may lie deeper than a socket address is long, so the name is looked up in our descriptor of the directory.
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let listener = UnixListener::bind(&short)?;
    let stream = UnixStream::connect(&short);
    fs::remove_file(path)?;
    Ok((listener.into(), stream?.into()))
}

/// virtiofsd holds a descriptor for each file that the guest knows.
fn most_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX).min(1_000_000)
}

fn write_initrd(path: &Path, kernel: &Kernel, agent: &Path) -> Result<(), BuildError> {
    let program = fs::read(agent).map_err(|error| {
        trouble(format!(
            "{}: {error}; it is the engine, linked statically (target/TRIPLE/PROFILE/forge-osbuild), as ./dev build and \
             ./dev install put it there",
            agent.display()
        ))
    })?;
    let modules = kernel.modules()?;
    let write = || {
        let mut archive = Archive::new(BufWriter::new(File::create(path)?));
        for directory in ["dev", "proc", "sys", "root", MODULES] {
            archive.directory(directory)?;
        }
        archive.character_device("dev/console", (5, 1))?;
        archive.character_device("dev/null", (1, 3))?;
        archive.file("init", 0o755, &program)?;
        for (position, module) in modules.iter().enumerate() {
            archive.file(&format!("{MODULES}/{position:03}-{}.ko", module.name), 0o644, &module.content)?;
        }
        archive.finish()
    };
    write().map(drop).context("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_lie_deep_and_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let (listener, stream) = connected(&deep.join("x.socket")).unwrap();
        let (mut peer, _) = UnixListener::from(listener).accept().unwrap();
        UnixStream::from(stream).write_all(b"x").unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_agent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("usr/lib/modules/6");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), "").unwrap();
        let kernel = Kernel::find(dir.path()).unwrap();
        let error = write_initrd(&dir.path().join("initrd"), &kernel, &dir.path().join(AGENT)).unwrap_err();
        assert!(error.to_string().contains("forge-vm-agent: No such file"), "{error}");
    }
}
