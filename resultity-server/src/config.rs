//! The configuration of `resultity-server serve`: a TOML file, every key of which is in `server.example.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_core::model::ModelSpec;
use resultity_core::networks::Networks;
use resultity_core::snapshot::JobParameters;
use serde::Deserialize;

use crate::assemble::Offer;
use crate::flow::KeptLimits;
use crate::http::Role;
use crate::link::ConnectionLimits;
use crate::session::LimitParameters;
use crate::telemetry::LogFormat;

mod gate;

pub use gate::{GateConfig, GateConfigError, MailConfig, PAYMENT_SECRET_VARIABLE, SMTP_PASSWORD_VARIABLE};

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
    /// It does not say which environments are served, or says it twice.
    #[error("{}: {problem}", .path.display())]
    Environments {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
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
    /// The one environment that is served; or else `environments`.
    pub environment: Option<Environment>,
    /// The environments that are served. The first is meant where nothing is said.
    #[serde(default)]
    pub environments: Vec<Environment>,
    /// Which surfaces.
    #[serde(default = "default_roles")]
    pub roles: Vec<Role>,
    /// SHA-256 of the administrator's token, in hexadecimal with `0x`.
    pub admin_token_sha256: Option<B256>,
    /// The proxies that are believed about where a request comes from.
    #[serde(default)]
    pub trusted_proxies: Networks,
    /// Whether the network asks nodes by itself, to see whether they are honest.
    #[serde(default = "default_own_jobs")]
    pub own_jobs: bool,
    /// How many connections there may be.
    #[serde(default)]
    pub connections: ConnectionLimits,
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
    /// The oldest Runtimes that get work: by name, the version.
    #[serde(default)]
    pub min_runtime_versions: BTreeMap<String, String>,
    /// Limits and timeouts of jobs.
    #[serde(default)]
    pub jobs: JobParameters,
    /// How much may be asked.
    #[serde(default)]
    pub limits: LimitParameters,
    /// How much may be kept for a namespace.
    #[serde(default)]
    pub kept: KeptLimits,
    /// Accounts.
    #[serde(default)]
    pub gate: GateConfig,
    /// Letters.
    #[serde(default)]
    pub mail: MailConfig,
    /// What is served.
    #[serde(default)]
    pub models: Vec<OfferedModel>,
}

/// A block of `[[models]]`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct OfferedModel {
    /// The model.
    #[serde(flatten)]
    pub model: ModelSpec,
    /// Where it is served: everywhere if nothing is said.
    pub environments: Option<Vec<Environment>>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_metrics_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

const fn default_own_jobs() -> bool {
    true
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
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        match config.problem() {
            Some(problem) => Err(ConfigError::Environments {
                path: path.to_owned(),
                problem,
            }),
            None => Ok(config),
        }
    }

    /// What is wrong with the environments that it names.
    fn problem(&self) -> Option<&'static str> {
        let is_served = |environment: &Environment| self.served().contains(environment);
        let mut named = self.environments.clone();
        named.sort_unstable();
        named.dedup();
        let elsewhere = |offered: &OfferedModel| {
            let environments = offered.environments.as_ref();
            environments.is_some_and(|named| !named.iter().all(is_served) || named.is_empty())
        };
        if self.environment.is_some() && !self.environments.is_empty() {
            Some("say either environment or environments")
        } else if self.served().is_empty() {
            Some("say which environments are served, such as environments = [\"testnet\", \"mainnet\"]")
        } else if named.len() < self.environments.len() {
            Some("environments names one of them twice")
        } else if self.models.iter().any(elsewhere) {
            Some("a model names environments that are not served here, or none")
        } else {
            None
        }
    }

    /// The environments that are served. The first is meant where nothing is said.
    pub fn served(&self) -> Vec<Environment> {
        self.environment
            .into_iter()
            .chain(self.environments.iter().copied())
            .collect()
    }

    /// What the network offers in each of the environments that are served.
    pub fn networks(&self) -> Vec<(Environment, Offer)> {
        let served = self.served().into_iter();
        served
            .map(|environment| (environment, self.offer(environment)))
            .collect()
    }

    fn offer(&self, environment: Environment) -> Offer {
        let is_here = |offered: &&OfferedModel| {
            let environments = offered.environments.as_ref();
            environments.is_none_or(|named| named.contains(&environment))
        };
        let models = self.models.iter().filter(is_here);
        Offer {
            jobs: self.jobs,
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            min_agent_version: self.min_agent_version.clone(),
            min_runtime_versions: self.min_runtime_versions.clone(),
            ..Offer::new(models.map(|offered| offered.model.clone()).collect())
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
        assert_eq!(config.connections, ConnectionLimits::default());
        assert_eq!(config.kept, KeptLimits::default());
        for (environment, offer) in config.networks() {
            let snapshot = Snapshot::of(offer, environment, 1, Timestamp::from_millis(0));
            assert_eq!(snapshot.validate(), Ok(()));
        }
        let text = std::fs::read_to_string(path).unwrap();
        let keys = [
            "listen",
            "metrics_listen",
            "data_dir",
            "database",
            "environments",
            "roles",
            "admin_token_sha256",
            "trusted_proxies",
            "drain_seconds",
            "allow_private_webhooks",
            "own_jobs",
            "log_format",
            "heartbeat_interval_ms",
            "min_agent_version",
            "min_runtime_versions",
            "[jobs]",
            "[limits]",
            "reads_per_minute",
            "[limits.key]",
            "[limits.namespace]",
            "[limits.network]",
            "burst_seconds",
            "[limits.endpoints.",
            "[kept]",
            "answer_bytes",
            "file_bytes",
            "all_file_bytes",
            "files",
            "[connections]",
            "total",
            "per_address",
            "handshakes",
            "handshakes_per_address",
            "failed_handshakes_per_minute",
            "exempt",
            "[gate]",
            "no_sign_up",
            "domains",
            "chain_ids",
            "faucet_credits",
            "[gate.accounts]",
            "session_idle_days",
            "session_days",
            "calls_per_minute",
            "[mail]",
            "directory",
            "smtp",
            "from",
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

    fn read(text: &str) -> Result<ServerConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, format!("data_dir = \"x\"\n{text}")).unwrap();
        ServerConfig::read(&path)
    }

    const MODEL: &str = "version = \"1\"\nkind = \"external\"\ncontext_length = 8\ndefault_max_tokens = 8\n\
        test_prompt = \"x\"\nprice = { input_per_million = 1, output_per_million = 2, per_request = 3 }\n";

    #[test]
    fn every_environment_has_its_models() {
        let text = format!(
            "environments = [\"mainnet\", \"testnet\"]\n\
             [[models]]\nname = \"everywhere\"\n{MODEL}\
             [[models]]\nname = \"new\"\nenvironments = [\"testnet\"]\n{MODEL}"
        );
        let networks = read(&text).unwrap().networks();
        let names =
            |at: usize| -> Vec<&str> { networks[at].1.models.iter().map(|model| model.name.as_str()).collect() };
        assert_eq!((networks[0].0, names(0)), (Environment::Mainnet, vec!["everywhere"]));
        assert_eq!(
            (networks[1].0, names(1)),
            (Environment::Testnet, vec!["everywhere", "new"])
        );
        let old = read("environment = \"mainnet\"\n").unwrap();
        assert_eq!(old.served(), [Environment::Mainnet]);
    }

    #[test]
    fn it_says_clearly_which_environments_are_served() {
        let elsewhere =
            format!("environment = \"testnet\"\n[[models]]\nname = \"m\"\nenvironments = [\"mainnet\"]\n{MODEL}");
        for (text, problem) in [
            ("", "which environments"),
            ("environment = \"testnet\"\nenvironments = [\"mainnet\"]\n", "either"),
            ("environments = [\"testnet\", \"testnet\"]\n", "twice"),
            ("environments = []\n", "which environments"),
            ("environments = [\"devnet\"]\n", "devnet"),
            (elsewhere.as_str(), "not served here"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
