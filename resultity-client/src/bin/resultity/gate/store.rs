//! Where the tokens of signing in are kept: a file of the owner alone, one token for each server.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use resultity_client::core::PROJECT;

use crate::output::Failure;

/// Another folder for it.
const FOLDER_VARIABLE: &str = "RESULTITY_CONFIG_DIR";

const FILE: &str = "logins.json";

fn folder() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let (qualifier, organisation, application) = PROJECT;
    let folders = ProjectDirs::from(qualifier, organisation, application);
    folders.map(|folders| folders.config_dir().to_owned()).ok_or_else(|| {
        Failure::new("there is no home folder to keep the login in")
            .hint(format!("Name a folder with {FOLDER_VARIABLE}, or give --token."))
    })
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    match std::fs::read(path) {
        // The cause is left out: it could quote a token.
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|_| Failure::new(format!("{} is damaged", path.display())).hint("Delete it, and sign in again.")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Failure::new(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Written beside and moved into place, so that a cut leaves the old one.
fn write(path: &Path, logins: &BTreeMap<String, String>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let beside = path.with_extension("json.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(serde_json::to_string_pretty(logins)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// The token for the server whose Gate API is at this address.
pub(crate) fn token(url: &str) -> Result<Option<String>, Failure> {
    Ok(read(&folder()?.join(FILE))?.remove(url))
}

/// Keeps a token, or forgets the one there is.
pub(crate) fn keep(url: &str, token: Option<&str>) -> Result<(), Failure> {
    let path = folder()?.join(FILE);
    let mut logins = read(&path)?;
    let changed = match token {
        Some(token) => logins.insert(url.to_owned(), token.to_owned()).as_deref() != Some(token),
        None => logins.remove(url).is_some(),
    };
    if !changed {
        return Ok(());
    }
    write(&path, &logins).map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))
}
