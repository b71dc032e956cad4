//! The configuration of `resultity-server serve`: a TOML file, every key of which is in `server.example.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_core::model::ModelSpec;
use resultity_core::snapshot::JobParameters;
use serde::Deserialize;

use crate::assemble::Offer;
use crate::http::Role;
use crate::session::LimitParameters;
use crate::telemetry::LogFormat;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{} is not a valid configuration: {}", .path.display(), .source.to_string().trim_end())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
}

/// The file. Unknown keys are refused, so that a misspelt one is noticed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where `/metrics` is.
    #[serde(default = "default_metrics_listen")]
    pub metrics_listen: SocketAddr,
    /// Where the files are.
    pub data_dir: PathBuf,
    /// The database file; by default `resultity.db` in the data directory.
    pub database: Option<PathBuf>,
    /// Which network.
    pub environment: Environment,
    /// Which surfaces.
    #[serde(default = "default_roles")]
    pub roles: Vec<Role>,
    /// SHA-256 of the administrator's token, in hexadecimal with `0x`.
    pub admin_token_sha256: Option<B256>,
    /// How long running jobs may take to finish at a stop: seconds.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// Whether webhooks may go to addresses that are not public, and without TLS.
    #[serde(default)]
    pub allow_private_webhooks: bool,
    /// How log lines look.
    #[serde(default)]
    pub log_format: LogFormat,
    /// How often nodes report: milliseconds.
    #[serde(default = "default_heartbeat_interval_ms")]
    pub heartbeat_interval_ms: u64,
    /// The oldest Agent that may connect.
    #[serde(default = "default_min_agent_version")]
    pub min_agent_version: String,
    /// Limits and timeouts of jobs.
    #[serde(default)]
    pub jobs: JobParameters,
    /// How much may be asked.
    #[serde(default)]
    pub limits: LimitParameters,
    /// What is served.
    #[serde(default)]
    pub models: Vec<ModelSpec>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_metrics_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

fn default_roles() -> Vec<Role> {
    Role::ALL.to_vec()
}

const fn default_drain_seconds() -> u64 {
    30
}

const fn default_heartbeat_interval_ms() -> u64 {
    10_000
}

fn default_min_agent_version() -> String {
    "0.1.0".into()
}

impl ServerConfig {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// What the network offers.
    pub fn offer(&self) -> Offer {
        Offer {
            jobs: self.jobs,
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            min_agent_version: self.min_agent_version.clone(),
            ..Offer::new(self.models.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::Timestamp;
    use resultity_core::snapshot::Snapshot;

    #[test]
    fn the_sample_file_is_valid_and_names_every_key() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("server.example.toml");
        let config = ServerConfig::read(&path).unwrap();
        assert_eq!(config.jobs, JobParameters::default());
        assert_eq!(config.roles, default_roles());
        let snapshot = Snapshot::of(config.offer(), config.environment, 1, Timestamp::from_millis(0));
        assert_eq!(snapshot.validate(), Ok(()));
        let text = std::fs::read_to_string(path).unwrap();
        let keys = [
            "listen",
            "metrics_listen",
            "data_dir",
            "database",
            "environment",
            "roles",
            "admin_token_sha256",
            "drain_seconds",
            "allow_private_webhooks",
            "log_format",
            "heartbeat_interval_ms",
            "min_agent_version",
            "[jobs]",
            "[limits]",
            "reads_per_minute",
            "[limits.key]",
            "[limits.namespace]",
            "[limits.network]",
            "burst_seconds",
            "[limits.endpoints.",
            "[[models]]",
        ];
        for key in keys {
            assert!(text.contains(key), "{key} is missing in the sample file");
        }
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(
            &path,
            "data_dir = \"x\"\nenvironment = \"testnet\"\nlisten_on = \"x\"\n",
        )
        .unwrap();
        let error = ServerConfig::read(&path).unwrap_err();
        assert!(error.to_string().contains("listen_on"), "{error}");
    }
}
