//! The sandbox a stage runs in: the bubblewrap command line, `/dev`, capabilities.
//!
//! What the stage is and what its arguments are is [`crate::stage`]'s business. The layout inside is upstream's
//! contract with modules; see `docs/osbuild-compat.md` for the few places where we differ.

mod capabilities;
mod dev;
pub(crate) mod read_only;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::capabilities::for_module;
pub(crate) use self::dev::DeviceDir;
pub(crate) use self::read_only::Views;

/// Gives this process a mount namespace of its own, so that every mount of a run dies with it.
///
/// Call it once, before any thread is started.
///
/// # Errors
/// The kernel's refusal, usually because the caller is not root.
pub fn isolate_mounts() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let flags = rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", flags)?)
}

/// Where the programs of a stage come from.
#[derive(Debug)]
pub(crate) enum Root {
    /// The host, its `/usr` seen here.
    Host(PathBuf),
    /// A built tree, seen here.
    Tree(PathBuf),
}

/// Everything one sandbox shows.
#[derive(Debug)]
pub(crate) struct Sandbox<'a> {
    pub(crate) root: &'a Root,
    pub(crate) libdir: &'a Path,
    /// The `osbuild` Python package, if the libdir has none of its own.
    pub(crate) python: Option<&'a Path>,
    /// Where the runner is, and its name in the sandbox.
    pub(crate) runner: (&'a Path, &'a str),
    /// The same of the module.
    pub(crate) module: (&'a Path, &'a str),
    pub(crate) capabilities: &'a [&'a str],
    pub(crate) dev: &'a Path,
    pub(crate) var: &'a Path,
    pub(crate) cmdline: &'a Path,
    pub(crate) tree: &'a Path,
    pub(crate) meta: &'a Path,
    pub(crate) inputs: &'a Path,
    pub(crate) mounts: &'a Path,
    pub(crate) arguments: &'a Path,
    /// Host path and name below `/run/osbuild/api` of each API socket.
    pub(crate) sockets: &'a [(&'a Path, &'a str)],
}

impl Sandbox<'_> {
    /// The arguments of `bwrap`, up to and including the program to run.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut args = Arguments::default();
        for word in
            ["--chdir", "/", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
        {
            args.push(word);
        }
        args.option("--cap-drop", ["ALL"]);
        for capability in self.capabilities {
            args.option("--cap-add", [format!("CAP_{capability}")]);
        }
        self.system(&mut args);
        args.option("--ro-bind", [self.libdir.as_os_str(), "/run/osbuild/lib".as_ref()]);
        if let Some(python) = self.python {
            args.option("--ro-bind", [python.as_os_str(), "/run/osbuild/lib/osbuild".as_ref()]);
        }
        args.option("--ro-bind", [self.cmdline.as_os_str(), "/proc/cmdline".as_ref()]);
        args.option("--bind", [self.tree.as_os_str(), "/run/osbuild/tree".as_ref()]);
        args.option("--bind", [self.meta.as_os_str(), "/run/osbuild/meta".as_ref()]);
        args.option("--bind", [self.mounts.as_os_str(), "/run/osbuild/mounts".as_ref()]);
        let module = Path::new("/run/osbuild/bin").join(self.module.1);
        args.option("--ro-bind", [self.module.0.as_os_str(), module.as_os_str()]);
        args.option("--ro-bind", [self.inputs.as_os_str(), "/run/osbuild/inputs".as_ref()]);
        args.option("--ro-bind", [self.arguments.as_os_str(), "/run/osbuild/api/arguments".as_ref()]);
        args.option("--dir", ["/run/osbuild/api"]);
        for (path, name) in self.sockets {
            args.option("--bind", [path.as_os_str(), Path::new("/run/osbuild/api").join(name).as_os_str()]);
        }
        let runner = Path::new("/run/osbuild/runner").join(self.runner.1);
        args.option("--ro-bind", [self.runner.0.as_os_str(), runner.as_os_str()]);
        args.option("--", [runner.as_os_str(), module.as_os_str()]);
        args.0
    }

    /// The operating system: programs, libraries, devices, kernel interfaces.
    fn system(&self, args: &mut Arguments) {
        let (root, usr, built) = match self.root {
            Root::Host(usr) => (Path::new("/"), usr.clone(), false),
            Root::Tree(tree) => (tree.as_path(), tree.join("usr"), true),
        };
        let real_dir = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.is_dir());
        if built && real_dir(&root.join("boot")) {
            args.option("--ro-bind", [root.join("boot").as_os_str(), "/boot".as_ref()]);
        }
        if real_dir(&usr) {
            args.option("--ro-bind", [usr.as_os_str(), "/usr".as_ref()]);
        }
        for name in ["lib", "lib64", "bin", "sbin"] {
            args.option("--symlink", [format!("usr/{name}"), format!("/{name}")]);
        }
        args.option("--dev-bind", [self.dev.as_os_str(), "/dev".as_ref()]);
        args.option("--tmpfs", ["/dev/shm"]);
        args.option("--dir", ["/etc"]);
        args.option("--tmpfs", ["/run"]);
        args.option("--tmpfs", ["/tmp"]);
        args.option("--bind", [self.var.as_os_str(), "/var".as_ref()]);
        args.option("--proc", ["/proc"]);
        args.option("--ro-bind", ["/sys", "/sys"]);
        args.option("--ro-bind-try", ["/sys/fs/selinux", "/sys/fs/selinux"]);
        let optional: &[&str] =
            if built { &["etc/mke2fs.conf", "etc/containers", "ostree", "etc/selinux"] } else { &["etc/containers"] };
        for path in optional {
            args.option("--ro-bind-try", [root.join(path).as_os_str(), Path::new("/").join(path).as_os_str()]);
        }
    }
}

/// The environment of a stage; nothing else of ours gets in.
pub(crate) fn environment(source_epoch: Option<i64>) -> Vec<(&'static str, OsString)> {
    let mut environment: Vec<(&str, OsString)> = vec![
        ("container", "bwrap-osbuild".into()),
        ("LC_CTYPE", "C.UTF-8".into()),
        ("PATH", "/usr/sbin:/usr/bin".into()),
        ("PYTHONPATH", "/run/osbuild/lib".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("TERM", std::env::var_os("TERM").unwrap_or_else(|| "dumb".into())),
    ];
    if let Some(epoch) = source_epoch {
        environment.push(("SOURCE_DATE_EPOCH", epoch.to_string().into()));
    }
    environment
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn push(&mut self, word: &str) {
        self.0.push(word.into());
    }

    fn option<S: AsRef<std::ffi::OsStr>>(&mut self, option: &str, values: impl IntoIterator<Item = S>) {
        self.push(option);
        self.0.extend(values.into_iter().map(|v| v.as_ref().to_owned()));
    }
}
