//! From finished trees to what a job leaves: artifacts and the local OSTree repository.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use forge_config::Config;
use forge_sysroot::Repository;
use sha2::{Digest, Sha256};

use crate::record::{Artifact, Commit, Failure};

/// The directory a job's artifacts go to, made if it is not there.
pub(crate) fn directory(config: &Config, id: u64) -> Result<PathBuf, Failure> {
    let path = config.artifact_dir(id);
    fs::create_dir_all(&path).map_err(|e| Failure::io(format!("cannot create {}", path.display()), &e))?;
    Ok(path)
}

/// Copies a file, whole or not at all, and says what it is.
pub(crate) fn file(from: &Path, dir: &Path, name: &str, media_type: &str) -> Result<Artifact, Failure> {
    let fail = |e: &io::Error| Failure::io(format!("cannot write the artifact {name}"), e);
    let temporary = dir.join(format!(".{name}.tmp"));
    // Shares the data where the file system can, and keeps holes.
    fs::copy(from, &temporary).map_err(|e| fail(&e))?;
    finish(&temporary, dir, name, media_type).map_err(|e| fail(&e))
}

/// Writes a text as an artifact.
pub(crate) fn text(content: &str, dir: &Path, name: &str, media_type: &str) -> Result<Artifact, Failure> {
    let fail = |e: &io::Error| Failure::io(format!("cannot write the artifact {name}"), e);
    let temporary = dir.join(format!(".{name}.tmp"));
    let write = || File::create(&temporary)?.write_all(content.as_bytes());
    write().map_err(|e| fail(&e))?;
    finish(&temporary, dir, name, media_type).map_err(|e| fail(&e))
}

fn finish(temporary: &Path, dir: &Path, name: &str, media_type: &str) -> io::Result<Artifact> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = File::open(temporary)?;
    // forged reads it for those who may have it.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        size += length as u64;
    }
    file.sync_all()?;
    fs::rename(temporary, dir.join(name))?;
    File::open(dir)?.sync_all()?;
    let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Artifact { name: name.to_owned(), path: name.to_owned(), media_type: media_type.to_owned(), size, sha256 })
}

/// Takes the commit of a built repository into the local one and sets its ref.
pub(crate) fn commit(config: &Config, built: &Path, reference: &str, version: &str) -> Result<Commit, Failure> {
    let repository = Repository::open_or_create(&config.repository()).map_err(|e| sysroot(&e))?;
    let imported = repository.import(built, reference).map_err(|e| sysroot(&e))?;
    Ok(Commit { reference: reference.to_owned(), checksum: imported.checksum, version: version.to_owned() })
}

pub(crate) fn sysroot(error: &forge_sysroot::Error) -> Failure {
    use forge_sysroot::Error;
    let name = match error {
        Error::InvalidName { .. } | Error::NoSuchRef { .. } | Error::NoSuchCommit { .. } => "NotFound",
        Error::NoSpace { .. } => "NoSpace",
        Error::NotARepository { .. } | Error::Metadata { .. } => "Corrupt",
        _ => "Internal",
    };
    Failure::new(name, error.to_string())
}
