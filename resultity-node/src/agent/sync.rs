//! The configuration snapshot on a node: fetched, checked, kept, and turned into what the node offers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use resultity_core::environment::Environment;
use resultity_core::model::ModelState;
use resultity_core::signing::{BrokenChain, KeyChain};
use resultity_core::snapshot::{SignedSnapshot, Snapshot, SnapshotRefused, accept};
use resultity_core::wire::NodeModel;
use resultity_core::{Address, B256};
use url::Url;

use super::AgentError;
use crate::identity::{Durable, NetworkPin, replace_private};
use crate::runtime::{EngineModel, Runtime};

const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_BYTES: usize = 16 * 1024 * 1024;
const FILE: &str = "snapshot.json";

/// A snapshot that passed all checks.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub(super) digest: B256,
    pub(super) snapshot: Snapshot,
}

/// Why a node stays with the snapshot that it has.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("cannot fetch it: {0}")]
    Fetch(#[from] reqwest::Error),
    #[error("the network answers with HTTP status {0}")]
    Status(u16),
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("{0}")]
    Refused(#[from] SnapshotRefused),
    #[error("the network's keys: {0}")]
    Keys(#[from] BrokenChain),
}

impl SyncError {
    /// Whether what the network says of its keys is wrong, rather than not to be had.
    pub(super) fn is_stray(&self) -> bool {
        matches!(self, Self::Keys(_) | Self::Unreadable(_))
    }
}

/// What a fetch has brought.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) applied: Applied,
    /// The network has changed its key: from now on this is trusted.
    pub(super) pin: Option<NetworkPin>,
}

/// What lies beside the node link: `…/io/v1/ws` has its snapshot at `…/io/v1/config`.
pub(super) fn beside(io_url: &Url, name: &str, environment: Environment) -> Result<Url, AgentError> {
    let beside = || {
        let mut url = io_url.clone();
        let scheme = if url.scheme() == "wss" { "https" } else { "http" };
        url.set_scheme(scheme)?;
        url.path_segments_mut()?.pop_if_empty().pop().push(name);
        // One server has both environments.
        if url.query_pairs().all(|(key, _)| key != "environment") {
            url.query_pairs_mut().append_pair("environment", environment.as_str());
        }
        Ok(url)
    };
    beside().map_err(|()| AgentError::Url {
        url: io_url.to_string(),
        reason: "it has no path",
    })
}

/// Fetches snapshots and keeps the last good one.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    http: reqwest::Client,
    url: Url,
    keys_url: Url,
    path: PathBuf,
    environment: Environment,
}

impl Sync {
    /// For the network whose node link is at `io_url`: `…/io/v1/ws` has its snapshot at `…/io/v1/config`.
    pub(super) fn new(io_url: &Url, environment_dir: PathBuf, environment: Environment) -> Result<Self, AgentError> {
        let (url, keys_url) = (
            beside(io_url, "config", environment)?,
            beside(io_url, "keys", environment)?,
        );
        let http = crate::http_client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| AgentError::Start {
                what: "the HTTP client",
                reason: error.to_string(),
            })?;
        Ok(Self {
            http,
            url,
            keys_url,
            path: environment_dir.join(FILE),
            environment,
        })
    }

    /// The last good snapshot of an earlier run. A damaged file counts as none: the network has another copy.
    pub(super) fn load(&self, pin: &NetworkPin) -> Option<Applied> {
        let bytes = std::fs::read(&self.path).ok()?;
        match check_stored(&bytes, pin, self.environment) {
            Ok(applied) => Some(applied),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the stored snapshot is not used");
                None
            }
        }
    }

    /// Fetches the snapshot in force, checks it against the current one and keeps it. If another key signed it than the one
    /// that is trusted, the network's keys are followed.
    pub(super) async fn fetch(&self, pin: NetworkPin, current: Option<Snapshot>) -> Result<Fetched, SyncError> {
        let bytes = self.get(&self.url).await?;
        let fetched = match self.check(&bytes, &pin, current.as_ref()) {
            Err(SyncError::Refused(SnapshotRefused::Signature(_))) => {
                let pin = self.follow(pin.network_key, pin.genesis).await?;
                Fetched {
                    applied: self.check(&bytes, &pin, current.as_ref())?,
                    pin: Some(pin),
                }
            }
            checked => Fetched {
                applied: checked?,
                pin: None,
            },
        };
        if let (Some(pin), Some(dir)) = (&fetched.pin, self.path.parent())
            && let Err(error) = pin.store(dir)
        {
            // Before the snapshot: a key that was replaced is still known afterwards, one that is to come is not yet.
            tracing::warn!(%error, "the network's new key cannot be stored");
        }
        // Once in a long while, so it may cost an fsync: after a power cut there is the old one or the new one.
        if let Err(error) = replace_private(&self.path, &bytes, Durable::Yes) {
            tracing::warn!(%error, path = %self.path.display(), "the snapshot cannot be stored");
        }
        Ok(fetched)
    }

    /// Fetches the chain of the network's keys and follows it from the key that is trusted to the current one.
    pub(super) async fn follow(&self, trusted: Address, genesis: Address) -> Result<NetworkPin, SyncError> {
        let chain: KeyChain = serde_json::from_slice(&self.get(&self.keys_url).await?)?;
        Ok(NetworkPin::follow(&chain, trusted, genesis, self.environment)?)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, SyncError> {
        let response = self.http.get(url.clone()).send().await?;
        if !response.status().is_success() {
            return Err(SyncError::Status(response.status().as_u16()));
        }
        let mut body = response.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part?);
            if bytes.len() > MAX_BYTES {
                return Err(SyncError::TooLarge);
            }
        }
        Ok(bytes)
    }

    fn check(&self, bytes: &[u8], pin: &NetworkPin, current: Option<&Snapshot>) -> Result<Applied, SyncError> {
        check(bytes, pin, current, self.environment)
    }
}

fn check(
    bytes: &[u8],
    pin: &NetworkPin,
    current: Option<&Snapshot>,
    environment: Environment,
) -> Result<Applied, SyncError> {
    let signed: SignedSnapshot = serde_json::from_slice(bytes)?;
    let snapshot = signed.open(&pin.domain(environment), pin.network_key)?;
    accept(current, &snapshot, environment)?;
    Ok(Applied {
        digest: signed.digest,
        snapshot,
    })
}

/// Checks what was checked when it came. Since then the network may have replaced the key that signed it.
fn check_stored(bytes: &[u8], pin: &NetworkPin, environment: Environment) -> Result<Applied, SyncError> {
    let first = check(bytes, pin, None, environment);
    let is_signed_otherwise = |checked: &Result<Applied, SyncError>| {
        matches!(checked, Err(SyncError::Refused(SnapshotRefused::Signature(_))))
    };
    if !is_signed_otherwise(&first) {
        return first;
    }
    let by = |key: &Address| {
        let pin = NetworkPin {
            network_key: *key,
            ..pin.clone()
        };
        check(bytes, &pin, None, environment)
    };
    let former = pin.former.iter().rev().chain([&pin.genesis]);
    former
        .map(by)
        .find(|checked| !is_signed_otherwise(checked))
        .unwrap_or(first)
}

/// The last good configuration of the node with this data directory; nothing if it has met no network yet. What is there is
/// checked as if it had just come.
pub fn stored_snapshot(data_dir: &Path, environment: Environment) -> Option<Snapshot> {
    let dir = data_dir.join(environment.as_str());
    let pin = NetworkPin::load(&dir).ok()??;
    let bytes = std::fs::read(dir.join(FILE)).ok()?;
    let applied = check_stored(&bytes, &pin, environment).ok()?;
    Some(applied.snapshot)
}

/// The models of the snapshot that the Runtime has. `healthy`: whether it can work on them now.
pub(super) fn served(
    snapshot: Option<&Snapshot>,
    runtime: &dyn Runtime,
    models: &[EngineModel],
    healthy: bool,
) -> Vec<NodeModel> {
    let Some(snapshot) = snapshot else { return Vec::new() };
    let specs = snapshot.models.iter();
    let had = specs.filter_map(|spec| Some((spec, models.iter().find(|model| model.serves(spec))?)));
    had.map(|(spec, model)| NodeModel {
        id: spec.name.clone(),
        version: spec.version.clone(),
        digest: spec.files.first().map(|file| file.sha256.clone()),
        state: if healthy || model.state != ModelState::Active {
            model.state
        } else {
            ModelState::Inactive
        },
        engine: Some(model.engine_of(runtime)),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SeededEntropy, Timestamp};
    use resultity_core::signing::Keypair;
    use resultity_core::snapshot::JobParameters;

    const TESTNET: Environment = Environment::Testnet;

    #[test]
    fn what_a_former_key_has_signed_stays_good_when_it_was_stored() {
        let [first, second, stranger] = [1, 2, 3].map(|seed| Keypair::generate(&SeededEntropy::new(seed)));
        let mut pin = NetworkPin::new(first.address(), first.address());
        let snapshot = Snapshot {
            environment: TESTNET,
            version: 1,
            issued_at: Timestamp::from_millis(1_700_000_000_000),
            rolls_back: None,
            models: Vec::new(),
            jobs: JobParameters::default(),
            heartbeat_interval_ms: 500,
            min_agent_version: "0.1.0".into(),
            min_runtime_versions: std::collections::BTreeMap::new(),
            retiring: std::collections::BTreeMap::new(),
            next_network_key: None,
        };
        let dir = tempfile::tempdir().unwrap();
        let store = |pin: &NetworkPin, key: &Keypair| {
            let environment_dir = dir.path().join("testnet");
            std::fs::create_dir_all(&environment_dir).unwrap();
            pin.store(&environment_dir).unwrap();
            let signed = SignedSnapshot::publish(&snapshot, &pin.domain(TESTNET), key).unwrap();
            std::fs::write(environment_dir.join(FILE), serde_json::to_vec(&signed).unwrap()).unwrap();
            stored_snapshot(dir.path(), TESTNET).is_some()
        };
        assert!(store(&pin, &first) && !store(&pin, &second));
        (pin.network_key, pin.former) = (second.address(), vec![first.address()]);
        assert!(store(&pin, &first) && store(&pin, &second) && !store(&pin, &stranger));
    }

    #[test]
    fn the_snapshot_lies_beside_the_link() {
        let dir = PathBuf::new();
        for (io, config) in [
            (
                "ws://127.0.0.1:8080/io/v1/ws",
                "http://127.0.0.1:8080/io/v1/config?environment=testnet",
            ),
            (
                "ws://127.0.0.1:8080/io/v1/ws?environment=testnet",
                "http://127.0.0.1:8080/io/v1/config?environment=testnet",
            ),
            (
                "wss://io.network.example.org/v1/ws/",
                "https://io.network.example.org/v1/config?environment=testnet",
            ),
        ] {
            let sync = Sync::new(&io.parse().unwrap(), dir.clone(), Environment::Testnet).unwrap();
            assert_eq!(sync.url.as_str(), config);
            assert_eq!(sync.keys_url.as_str(), config.replace("config", "keys"));
        }
    }
}
