//! Whether a file is the one that was pinned, and remembering that it is.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use resultity_core::model::ModelFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was found when the file was last hashed, kept beside it, so that a start need not read it all again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_ns: u128,
    sha256: String,
}

/// `NAME.suffix` beside `NAME`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether `path` is there and is the file that `file` pins. Hashes it only where it changed since it was last found right.
pub(super) fn is_present(path: &Path, file: &ModelFile) -> io::Result<bool> {
    let Some(stamp) = stamp_of(path, &file.sha256)? else {
        return Ok(false);
    };
    if stamp.size != file.size {
        return Ok(false);
    }
    if remembered(path).is_some_and(|known| known == stamp) {
        return Ok(true);
    }
    let right = matches(path, file)?;
    if right {
        remember(path, file)?;
    }
    Ok(right)
}

/// The checksum that was found when it was last hashed, if it has not changed since.
pub(super) fn known(path: &Path) -> Option<String> {
    let known = remembered(path)?;
    let is_unchanged = stamp_of(path, &known.sha256).is_ok_and(|stamp| stamp.as_ref() == Some(&known));
    is_unchanged.then_some(known.sha256)
}

fn remembered(path: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(beside(path, "verified")).ok()?).ok()
}

/// Whether size and checksum are as pinned.
pub(super) fn matches(path: &Path, file: &ModelFile) -> io::Result<bool> {
    Ok(fs::metadata(path)?.len() == file.size && sha256(path)? == file.sha256)
}

/// Writes down that `path` was found right.
pub(super) fn remember(path: &Path, file: &ModelFile) -> io::Result<()> {
    let Some(stamp) = stamp_of(path, &file.sha256)? else {
        return Ok(());
    };
    let text = serde_json::to_vec(&stamp).map_err(io::Error::other)?;
    // Half a stamp does not parse, and then the file is hashed again: no need for a rename here.
    fs::write(beside(path, "verified"), text)
}

/// Forgets that it was found right: it is hashed before it is used again.
pub(super) fn forget(path: &Path) {
    // Mostly there is one; without it nothing is known.
    let _ = fs::remove_file(beside(path, "verified"));
}

fn stamp_of(path: &Path, sha256: &str) -> io::Result<Option<Stamp>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let modified_ns = metadata
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    Ok(Some(Stamp {
        size: metadata.len(),
        modified_ns,
        sha256: sha256.to_owned(),
    }))
}

pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hex::encode(hasher.finalize()))
}
