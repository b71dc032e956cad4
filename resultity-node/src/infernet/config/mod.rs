//! What the node is told: the original node's `config.json`, and what is ours beside it, in its object `resultity`.
//!
//! Every key of the original is honoured, or a [`Note`] says why it is not. What is wrong is told all at once, each with
//! the path to it.

mod check;
mod containers;
mod fields;
mod plan;
mod report;
mod sections;
pub mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use check::{Check, CheckedContainer, Plan};
pub use report::{ConfigErrors, Note, NoteLevel, Problem};

use self::fields::Item;
use self::report::Report;
use self::settings::Settings;

/// What the caller decides, whatever the file says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Overrides {
    /// Where to listen.
    pub listen: Option<Listen>,
    /// Where the results are kept.
    pub data_dir: Option<PathBuf>,
    /// Where the results are kept unless the file says. None: where a node keeps its files.
    pub default_data_dir: Option<PathBuf>,
    /// The host at which containers are found by their port, instead of this machine. A node that runs in a container
    /// itself finds them at `host.docker.internal`.
    pub containers_host: Option<String>,
    /// Where the Docker engine is, such as `unix:///run/podman/podman.sock`. None: the usual socket.
    pub docker_host: Option<String>,
}

impl Overrides {
    /// Nothing is decided.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the environment decides: `DOCKER_HOST`, and `RUNTIME=docker` where the node itself runs in a container.
    pub fn from_environment() -> Self {
        let mut overrides = Self::new();
        overrides.docker_host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        if std::env::var("RUNTIME").is_ok_and(|runtime| runtime == "docker") {
            overrides.containers_host = Some("host.docker.internal".to_owned());
        }
        overrides
    }
}

/// An address to listen on, with a port or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: IpAddr,
    /// The port; none: the one that the file says.
    pub port: Option<u16>,
}

/// A text that is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as 0.0.0.0:4000, 127.0.0.1 or [::]:4000")]
pub struct InvalidListen;

impl std::str::FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                address: address.ip(),
                port: Some(address.port()),
            });
        }
        let address = text.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse().map_err(|_| InvalidListen)?;
        Ok(Self { address, port: None })
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}", InFile(.path, .errors))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        errors: ConfigErrors,
    },
}

/// Problems, each with the file that they are in: one a line.
struct InFile<'a>(&'a Path, &'a ConfigErrors);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.1.problems.iter().enumerate() {
            let end = if index > 0 { "\n" } else { "" };
            write!(f, "{end}{}: {problem}", self.0.display())?;
        }
        Ok(())
    }
}

/// Reads a file. Blocks while it does.
pub fn load(path: &Path, overrides: &Overrides) -> Result<(Settings, Vec<Note>), ConfigFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    read(&text, overrides).map_err(|errors| ConfigFileError::Invalid {
        path: path.to_owned(),
        errors,
    })
}

/// Reads the text of a file.
pub fn read(text: &str, overrides: &Overrides) -> Result<(Settings, Vec<Note>), ConfigErrors> {
    // Editors of one system put this mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let report = Report::default();
    let read = match Item::root(text, &report) {
        Ok(root) => Some(plan::settings(root.object(), overrides, &report)),
        Err(error) => {
            // Reading for real says more than skipping does.
            let error = serde_json::from_str::<serde_json::Value>(text).err().unwrap_or(error);
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            if text.trim().is_empty() {
                report.problem("the file", "is empty");
            } else {
                report.problem(place, format!("this is not JSON: {message}"));
            }
            None
        }
    };
    report.end(read)
}
