//! Running one stage: its inputs, devices and mounts, its arguments, its sandbox, its output.
//!
//! Which stages run, and on which trees, is [`crate::build`]'s business.

mod api;
pub(crate) mod arguments;
mod output;
mod remoteloop;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use self::api::ApiServer;
use self::arguments::Arguments;
use self::output::Output;
use self::remoteloop::LoopServer;
use crate::error::{BuildError, IoContext};
use crate::host::store_api::{StoreServer, Trees};
use crate::host::{HostError, Notice, Service};
use crate::json::{Object as JsonObject, Value};
use crate::manifest::{Device, Input, Mount, Stage};
use crate::modules::{Index, ModuleClass, Runner};
use crate::monitor::{Cancel, Event, Monitor};
use crate::result::StageResult;
use crate::sandbox::{self, DeviceDir, Root, Sandbox, Views};
use crate::store::Scratch;

/// Where bubblewrap is looked for, as upstream does: the caller's PATH has no say in what builds a system.
const PROGRAM_DIRS: &[&str] = &["/usr/sbin", "/usr/bin"];

/// The most that a stage may tell about itself.
const MAX_METADATA: u64 = 64 << 20;

/// What every stage of a run shares.
pub(crate) struct Shared<'a> {
    /// Where its temporary directories are made.
    pub(crate) scratch: Scratch,
    /// The sources cache.
    pub(crate) sources: PathBuf,
    pub(crate) index: &'a Index,
    /// Directories as stages see them.
    pub(crate) views: Views,
    pub(crate) python: Option<PathBuf>,
    /// Variables for host services.
    pub(crate) environment: &'a [(String, String)],
    /// How long one stage may take.
    pub(crate) timeout: Option<Duration>,
}

/// One stage about to run.
pub(crate) struct StageRun<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) runner: &'a Runner,
    pub(crate) root: &'a Root,
    /// The tree it works on.
    pub(crate) tree: &'a Path,
    /// The directory of the tree's metadata.
    pub(crate) meta: &'a Path,
    /// Trees its inputs may read.
    pub(crate) trees: Trees,
    /// Whether to open a shell in the sandbox first.
    pub(crate) shell: bool,
    pub(crate) cancel: &'a Cancel,
}

/// The directories and sockets of one stage, below the run's scratch directory.
struct Places {
    inputs: PathBuf,
    mounts: PathBuf,
    var: PathBuf,
    cmdline: PathBuf,
    arguments: PathBuf,
    store_socket: PathBuf,
    api_socket: PathBuf,
    loop_socket: PathBuf,
    /// The directory of the sockets, held open for [`Places::store_address`].
    api: OwnedFd,
    meta: PathBuf,
    dev: DeviceDir,
    root: PathBuf,
}

impl Places {
    fn create(scratch: &Scratch, meta: &Path) -> Result<Self, BuildError> {
        use std::os::unix::fs::PermissionsExt;
        let root = scratch.directory("stage")?;
        let dir = |name: &str| {
            let path = root.join(name);
            fs::create_dir(&path).context("create", &path)?;
            Ok::<_, BuildError>(path)
        };
        let (inputs, mounts, dev, var, api) = (dir("inputs")?, dir("mounts")?, dir("dev")?, dir("var")?, dir("api")?);
        let tmp = dir("var/tmp")?;
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).context("set the mode of", &tmp)?;
        let cmdline = root.join("cmdline");
        fs::write(&cmdline, "root=/dev/osbuild\n").context("write", &cmdline)?;
        let meta = meta.join(".stage.tmp.json");
        fs::write(&meta, "").context("write", &meta)?;
        let dev = DeviceDir::mount(dev.clone()).context("mount a tmpfs at", &dev)?;
        let (arguments, store_socket) = (api.join("arguments"), api.join("store"));
        let (api_socket, loop_socket) = (api.join("osbuild"), api.join("remoteloop"));
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(&api, flags, rustix::fs::Mode::empty()).map_err(io::Error::from).context("open", &api)?;
        Ok(Self {
            inputs,
            mounts,
            var,
            cmdline,
            arguments,
            store_socket,
            api_socket,
            loop_socket,
            api: fd,
            meta,
            dev,
            root,
        })
    }

    /// Where services reach the store. A store may lie deeper than a socket address is long, so they go through our
    /// descriptor of the directory.
    fn store_address(&self) -> String {
        format!("/proc/{}/fd/{}/store", std::process::id(), self.api.as_raw_fd())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // The mounted devices below make this fail half-way; the run's own clean-up takes the rest.
        let _ = fs::remove_file(&self.meta);
        let _ = fs::remove_file(&self.api_socket);
        let _ = fs::remove_dir_all(self.root.join("var"));
    }
}

/// Runs a stage; an unsuccessful one is a result, not an error. So is one whose inputs, devices or mounts fail, or that
/// leaves nonsense as its metadata.
pub(crate) fn run(
    shared: &Shared<'_>,
    run: StageRun<'_>,
    monitor: &mut dyn Monitor,
) -> Result<StageResult, BuildError> {
    let (name, id) = (run.stage.name.clone(), run.stage.id.to_string());
    let failed = |output: String, error: Value| {
        let (name, id) = (name.clone(), id.clone());
        Ok(StageResult { name, id, success: false, output, error, metadata: Value::Null })
    };
    match try_run(shared, run, monitor) {
        Err(BuildError::Host(error)) if !matches!(error, HostError::Cancelled) => {
            let text = format!("{error}\n");
            monitor.event(Event::Output { origin: None, text: &text });
            failed(text, error.describe())
        }
        Err(error @ (BuildError::Reply { .. } | BuildError::Metadata { .. })) => {
            let text = format!("{error}\n");
            monitor.event(Event::Output { origin: None, text: &text });
            failed(text, Value::Null)
        }
        result => result,
    }
}

fn try_run(shared: &Shared<'_>, run: StageRun<'_>, monitor: &mut dyn Monitor) -> Result<StageResult, BuildError> {
    let stage = run.stage;
    let places = Places::create(&shared.scratch, run.meta)?;
    let info = shared.index.module(stage.class, &stage.name)?;
    let capabilities = sandbox::for_module(info.as_ref().map_or(&[], |info| &info.capabilities));
    let scratch = places.root.join("store-server");
    fs::create_dir(&scratch).context("create", &scratch)?;
    let _store_server = StoreServer::start(&places.store_socket, run.trees, shared.sources.clone(), scratch)
        .context("serve", &places.store_socket)?;

    let mut services = Services { shared, cancel: run.cancel, places: &places, tree: run.tree, running: Vec::new() };
    let arguments = services.prepare(stage, monitor)?;
    let text = arguments.to_json(stage).to_line();
    fs::write(&places.arguments, text).context("write", &places.arguments)?;
    let api = ApiServer::start(&places.api_socket).context("serve", &places.api_socket)?;
    let loops = LoopServer::start(&places.loop_socket, places.dev.path()).context("serve", &places.loop_socket)?;
    let sandbox = Sandbox {
        root: run.root,
        libdir: &shared.views.directory(shared.index.libdir()),
        python: shared.python.as_deref(),
        runner: (&shared.views.file(&run.runner.path), &run.runner.name),
        module: (&shared.views.file(&shared.index.module_path(stage.class, &stage.name)), &stage.name),
        capabilities: &capabilities,
        dev: places.dev.path(),
        var: &places.var,
        cmdline: &places.cmdline,
        tree: run.tree,
        meta: &places.meta,
        inputs: &places.inputs,
        mounts: &places.mounts,
        arguments: &places.arguments,
        sockets: &[(&places.api_socket, "osbuild"), (&places.loop_socket, "remoteloop")],
    };
    let epoch = stage.source_epoch.as_ref().and_then(crate::json::Int::as_i64);
    if run.shell {
        open_shell(&sandbox)?;
    }
    let (mut output, mut success) = execute(&sandbox, epoch, shared.timeout, run.cancel, monitor)?;
    let error = api.finish();
    drop(loops);
    // Mounts, devices and inputs go in reverse, before the tree is anybody else's.
    let kept = services.stop(monitor);
    if success && !kept.is_empty() {
        let text = format!(
            "\nThe stage went well, but what it wrote may be incomplete: {} failed at the end, see above.\n",
            kept.join(", ")
        );
        monitor.event(Event::Output { origin: None, text: &text });
        output.push_str(&text);
        success = false;
    }
    let metadata = keep_metadata(&places.meta, run.meta, stage)?;
    Ok(StageResult { name: stage.name.clone(), id: stage.id.to_string(), success, output, error, metadata })
}

/// The services of one stage, in the order they were started.
struct Services<'a> {
    shared: &'a Shared<'a>,
    cancel: &'a Cancel,
    places: &'a Places,
    tree: &'a Path,
    running: Vec<Service>,
}

impl Services<'_> {
    fn prepare(&mut self, stage: &Stage, monitor: &mut dyn Monitor) -> Result<Arguments, BuildError> {
        let mut arguments = Arguments::default();
        for input in &stage.inputs {
            let reply = self.map_input(input, monitor)?;
            arguments.add_input(&input.name, reply, &self.places.inputs)?;
        }
        for device in &stage.devices {
            let reply = self.open_device(device, &arguments.devices, monitor)?;
            arguments.add_device(&device.name, reply)?;
        }
        for mount in &stage.mounts {
            let reply = self.mount(mount, &arguments.devices, monitor)?;
            arguments.add_mount(&mount.name, &reply, &self.places.mounts)?;
        }
        Ok(arguments)
    }

    fn map_input(&mut self, input: &Input, monitor: &mut dyn Monitor) -> Result<Value, BuildError> {
        let target = self.places.inputs.join(&input.name);
        fs::create_dir(&target).context("create", &target)?;
        let store = JsonObject::new().with("store", self.places.store_address().as_str());
        let args = JsonObject::new()
            .with("origin", input.origin.as_str())
            .with("refs", Value::Object(input.refs.clone()))
            .with("target", target.to_string_lossy().as_ref())
            .with("options", Value::Object(input.options.clone()))
            .with("api", Value::Object(store));
        self.call(ModuleClass::Input, &input.module, &format!("input/{}", input.name), "map", args, monitor)
    }

    fn open_device(
        &mut self,
        device: &Device,
        opened: &HashMap<String, Value>,
        monitor: &mut dyn Monitor,
    ) -> Result<Value, BuildError> {
        let parent = device.parent.as_ref().and_then(|name| opened.get(name)).and_then(|reply| reply.get("path"));
        let args = JsonObject::new()
            .with("dev", self.places.dev.path().to_string_lossy().as_ref())
            .with("tree", self.tree.to_string_lossy().as_ref())
            .with("parent", parent.cloned().unwrap_or_default())
            .with("options", Value::Object(device.options.clone()));
        self.call(ModuleClass::Device, &device.module, &format!("device/{}", device.name), "open", args, monitor)
    }

    fn mount(
        &mut self,
        mount: &Mount,
        opened: &HashMap<String, Value>,
        monitor: &mut dyn Monitor,
    ) -> Result<Value, BuildError> {
        let device = mount.device.as_ref().and_then(|name| opened.get(name));
        let source = device.and_then(|reply| reply.get("path")).and_then(Value::as_str).map(|path| {
            let partition = mount.partition.as_ref().map_or(String::new(), |number| format!("p{}", number.to_line()));
            let node = format!("{path}{partition}");
            // Tools that ask what is mounted want a name that the host knows; a host without udev may have no node of a
            // partition.
            let host = Path::new("/dev").join(&node);
            let source = if host.exists() { host } else { self.places.dev.path().join(&node) };
            source.to_string_lossy().into_owned()
        });
        let text = |value: Option<&str>| value.map_or(Value::Null, Value::from);
        let args = JsonObject::new()
            .with("source", text(source.as_deref()))
            .with("target", text(mount.target.as_deref()))
            .with("root", self.places.mounts.to_string_lossy().as_ref())
            .with("tree", self.tree.to_string_lossy().as_ref())
            .with("options", Value::Object(mount.options.clone()));
        self.call(ModuleClass::Mount, &mount.module, &format!("mount/{}", mount.name), "mount", args, monitor)
    }

    fn call(
        &mut self,
        class: ModuleClass,
        module: &str,
        id: &str,
        method: &str,
        args: JsonObject,
        monitor: &mut dyn Monitor,
    ) -> Result<Value, BuildError> {
        let path = self.shared.index.module_path(class, module);
        let mut service = Service::start(&path, id, &python_path(self.shared), self.shared.environment)?;
        let timeout = self.shared.timeout;
        let reply =
            service.call(method, Value::Object(args), timeout, self.cancel, &mut |notice| report(&notice, monitor))?;
        self.running.push(service);
        Ok(reply)
    }

    /// Ends them in reverse. Returns the devices and mounts that could not release what they held, such as a mount that
    /// could not write everything out to a full disk; why is in the log.
    fn stop(&mut self, monitor: &mut dyn Monitor) -> Vec<String> {
        let mut kept = Vec::new();
        while let Some(service) = self.running.pop() {
            kept.extend(service.stop(&mut |notice| report(&notice, monitor)));
        }
        kept.retain(|id| id.starts_with("device/") || id.starts_with("mount/"));
        kept
    }
}

impl Drop for Services<'_> {
    /// For the ways out that did not stop them: a service or the sandbox that failed.
    fn drop(&mut self) {
        while let Some(service) = self.running.pop() {
            drop(service);
        }
    }
}

/// Passes on what a service prints.
fn report(notice: &Notice<'_>, monitor: &mut dyn Monitor) {
    if let Notice::Line(text) = notice {
        monitor.event(Event::Output { origin: Some("org.osbuild"), text });
    }
}

/// The directory that holds the `osbuild` Python package.
pub(crate) fn python_path(shared: &Shared<'_>) -> PathBuf {
    match &shared.python {
        Some(package) => package.parent().unwrap_or(Path::new("/")).to_owned(),
        None => shared.index.libdir().to_owned(),
    }
}

fn bwrap() -> Result<PathBuf, BuildError> {
    let found = PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join("bwrap")).find(|path| path.exists());
    found.ok_or(BuildError::MissingProgram { program: "bwrap", package: "bubblewrap" })
}

fn execute(
    sandbox: &Sandbox<'_>,
    epoch: Option<i64>,
    timeout: Option<Duration>,
    cancel: &Cancel,
    monitor: &mut dyn Monitor,
) -> Result<(String, bool), BuildError> {
    let program = bwrap()?;
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (read, write) = rustix::pipe::pipe_with(flags).map_err(io::Error::from).context("start", &program)?;
    let child = Command::new(&program)
        .args(sandbox.arguments())
        .env_clear()
        .envs(sandbox::environment(epoch))
        .stdin(Stdio::null())
        .stdout(write.try_clone().context("start", &program)?)
        .stderr(write)
        .spawn()
        .context("start", &program)?;
    let mut child = Running(child);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut output = Output::new(read);
    loop {
        let more = output
            .read(&mut |text| monitor.event(Event::Output { origin: None, text }))
            .context("read from", &program)?;
        if !more {
            break;
        }
        if cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            child.kill();
            let seconds = timeout.unwrap_or_default().as_secs();
            let text = format!("\nThe stage was stopped after its time limit of {seconds} s.\n");
            monitor.event(Event::Output { origin: None, text: &text });
            return Ok((output.finish() + &text, false));
        }
    }
    let status = child.0.wait().context("wait for", &program)?;
    Ok((output.finish(), status.success()))
}

fn open_shell(sandbox: &Sandbox<'_>) -> Result<(), BuildError> {
    let program = bwrap()?;
    let mut arguments = sandbox.arguments();
    // Runner and module are the last two words.
    arguments.truncate(arguments.len().saturating_sub(2));
    arguments.push("/bin/bash".into());
    // Without a session of its own the shell has the caller's terminal.
    arguments.retain(|word| word != "--new-session");
    let status = Command::new(&program).args(arguments).status().context("start", &program)?;
    if status.success() { Ok(()) } else { Err(BuildError::Shell { status }) }
}

/// A child that does not outlive us.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.kill();
        }
    }
}

/// Keeps what the stage wrote about itself under its identifier; nothing written is no metadata.
fn keep_metadata(written: &Path, meta: &Path, stage: &Stage) -> Result<Value, BuildError> {
    if fs::metadata(written).context("read", written)?.len() > MAX_METADATA {
        let what = format!("metadata of more than {} MiB", MAX_METADATA >> 20);
        return Err(BuildError::Reply { service: stage.name.clone(), what });
    }
    let text = fs::read(written).context("read", written)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let target = meta.join(format!("{}.json", stage.id));
    fs::rename(written, &target).context("rename", &target)?;
    crate::json::parse(&text).map_err(|error| BuildError::Metadata { stage: stage.name.clone(), error })
}
