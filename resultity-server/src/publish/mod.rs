//! The one way to publish: the start of the server, the Gate and the shell all come through here.
//!
//! What is in force is what the store has as the newest. A server looks every second whether somebody else, such as the
//! shell, has published.

use std::sync::Arc;

use arc_swap::ArcSwap;
use resultity_core::api::gate::SnapshotSummary;
use resultity_core::canonical::CanonicalError;
use resultity_core::clock::{Clock, Entropy};
use resultity_core::environment::Environment;
use resultity_core::id::AuditId;
use resultity_core::signing::BrokenChain;
use resultity_core::snapshot::{Change, InvalidSnapshot, Offer, SignedSnapshot, Snapshot, diff};
use resultity_core::{Address, B256};
use serde_json::{Value, json};

use crate::network_key::{KeyFiles, NetworkKeyError};
use crate::store::{Actor, AuditEntry, Kept, NewSnapshot, SnapshotRecord, Store, StoreError};

mod change;
mod keys;
mod rotate;
mod start;

pub use keys::NetworkKeys;
pub use rotate::Rotated;

/// How often a change is made anew because somebody else published in between.
const TRIES: u32 = 5;

/// The most differences that a line of the audit log names.
const MOST_NOTED: usize = 50;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network's key.
    #[error(transparent)]
    Key(#[from] NetworkKeyError),
    /// It makes no sense.
    #[error("the configuration cannot be published: {0}")]
    Invalid(#[from] InvalidSnapshot),
    /// It has numbers that can't be signed.
    #[error("the configuration cannot be published: {0}")]
    Canonical(#[from] CanonicalError),
    /// What was published last.
    #[error("the snapshot in the database is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The chain of keys.
    #[error("the chain of the network's keys in the database is damaged: {0}")]
    Chain(#[from] BrokenChain),
    /// The chain of keys.
    #[error("the chains of the network's keys lead to different keys: bring the database back from a backup")]
    KeysDiffer,
    /// Somebody else was faster.
    #[error("version {newest} is in force by now: look at it and try again")]
    Stale {
        /// The version in force; 0 if there is none.
        newest: u64,
    },
    /// The key to be replaced is not the one in force.
    #[error("the network's key is {current}, not the one that was named")]
    OtherKey {
        /// The key in force.
        current: Address,
    },
    /// Nothing was published in this environment so far.
    #[error("nothing was published in {0} so far: start the server with a configuration for it first")]
    Nothing(Environment),
    /// No such version.
    #[error("there is no version {0}")]
    UnknownVersion(u64),
    /// No such model.
    #[error("there is no model of this name in the snapshot in force: {0}")]
    UnknownModel(String),
    /// The process is about to end.
    #[error("the server is about to stop")]
    Stopping,
}

/// Who publishes, and why.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

impl By {
    /// Whoever has the server's shell or its configuration file.
    pub fn operator(reason: impl Into<String>) -> Self {
        Self {
            actor: Actor::Operator,
            reason: reason.into(),
        }
    }

    /// The network by itself.
    pub fn network(reason: impl Into<String>) -> Self {
        Self {
            actor: Actor::Network,
            reason: reason.into(),
        }
    }
}

/// A snapshot that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// What it says.
    pub snapshot: Snapshot,
    /// As it is served.
    pub signed: SignedSnapshot,
    /// Who published it, and why.
    pub by: By,
}

impl Published {
    /// Reads one out of the store. That it is signed is seen where it matters.
    pub fn read(record: SnapshotRecord) -> Result<Self, serde_json::Error> {
        let signed: SignedSnapshot = serde_json::from_str(&record.signed)?;
        Ok(Self {
            snapshot: serde_json::from_str(signed.snapshot.get())?,
            signed,
            by: By {
                actor: record.actor,
                reason: record.reason,
            },
        })
    }
}

impl From<&Published> for SnapshotSummary {
    fn from(published: &Published) -> Self {
        let snapshot = &published.snapshot;
        Self {
            environment: snapshot.environment,
            version: snapshot.version,
            digest: published.signed.digest,
            created_at: snapshot.issued_at.as_seconds(),
            rolls_back: snapshot.rolls_back,
            next_network_key: snapshot.next_network_key,
            published_by: Some(published.by.actor.to_string()),
            reason: Some(published.by.reason.clone()),
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What is in force.
    pub published: Published,
    /// What is different from before; nothing if it was in force already.
    pub changes: Vec<Change>,
}

/// Publishes snapshots and changes the network's key.
#[derive(Debug)]
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    files: KeyFiles,
    keys: ArcSwap<NetworkKeys>,
}

impl Publisher {
    /// Reads the keys; makes the first one if nothing was published yet and there is none.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        files: KeyFiles,
    ) -> Result<Self, PublishError> {
        let keys = NetworkKeys::load(&*store, files.clone(), Arc::clone(&entropy)).await?;
        Ok(Self {
            store,
            clock,
            entropy,
            files,
            keys: ArcSwap::from_pointee(keys),
        })
    }

    /// The network's keys, as far as this process knows.
    pub fn keys(&self) -> Arc<NetworkKeys> {
        self.keys.load_full()
    }

    /// Takes up a change of the network's key that another process has made.
    pub async fn refresh(&self) -> Result<(), PublishError> {
        let mark = self.store.publication_mark(Environment::Testnet).await?;
        if mark.key_sequence != self.keys.load().sequence() {
            let keys = NetworkKeys::load(&*self.store, self.files.clone(), Arc::clone(&self.entropy)).await?;
            tracing::info!(network.key = %keys.current().address(), "the network has a new key");
            self.keys.store(Arc::new(keys));
        }
        Ok(())
    }

    /// What is in force.
    pub async fn newest(&self, environment: Environment) -> Result<Published, PublishError> {
        let record = self.store.latest_snapshot(environment).await?;
        Ok(Published::read(record.ok_or(PublishError::Nothing(environment))?)?)
    }

    /// An earlier version.
    pub async fn version(&self, environment: Environment, version: u64) -> Result<Published, PublishError> {
        let record = self.store.snapshot(environment, version).await?;
        Ok(Published::read(record.ok_or(PublishError::UnknownVersion(version))?)?)
    }

    /// Signs and keeps what follows `base`. Fails with [`PublishError::Stale`] if it is not the newest any more.
    async fn put(&self, base: Option<&Published>, plan: Plan) -> Result<Outcome, PublishError> {
        let now = self.clock.now();
        let version = base.map_or(0, |base| base.snapshot.version) + 1;
        let issued_at = base.map_or(now, |base| now.max(base.snapshot.issued_at));
        let changes = match base {
            Some(base) => diff(&base.snapshot.offer(), &plan.offer),
            None => Vec::new(),
        };
        let mut snapshot = Snapshot::of(plan.offer, plan.environment, version, issued_at);
        snapshot.rolls_back = plan.rolls_back;
        snapshot.validate()?;
        for _ in 0..TRIES {
            let keys = self.keys();
            let signed = SignedSnapshot::publish(&snapshot, &keys.domain(plan.environment), keys.current())?;
            let before = base.map(|base| summary(&base.snapshot, base.signed.digest, &[]));
            let audit = AuditEntry {
                before,
                after: Some(summary(&snapshot, signed.digest, &changes)),
                ..self.audit(plan.action, plan.environment, &plan.by)
            };
            let new = NewSnapshot {
                environment: plan.environment,
                version,
                signed: serde_json::to_string(&signed)?,
                key_sequence: keys.sequence(),
                offer_digest: plan.offer_digest,
                audit,
            };
            match self.store.publish_snapshot(new).await? {
                Kept::Kept => {
                    tracing::info!(
                        environment = %plan.environment, config.version = version, config.digest = %signed.digest,
                        models = snapshot.models.len(), "snapshot published"
                    );
                    let published = Published {
                        snapshot,
                        signed,
                        by: plan.by,
                    };
                    return Ok(Outcome { published, changes });
                }
                Kept::Stale { newest } => return Err(PublishError::Stale { newest }),
                Kept::OtherKey => self.refresh().await?,
            }
        }
        Err(PublishError::Stale { newest: version })
    }

    fn audit(&self, action: &str, environment: Environment, by: &By) -> AuditEntry {
        AuditEntry {
            id: AuditId::new(&*self.clock, &*self.entropy),
            actor: by.actor,
            action: action.to_owned(),
            subject: format!("config:{environment}"),
            environment: Some(environment),
            before: None,
            after: None,
            reason: by.reason.clone(),
            now: self.clock.now(),
        }
    }
}

/// What is to be published.
struct Plan {
    environment: Environment,
    offer: Offer,
    rolls_back: Option<u64>,
    offer_digest: Option<B256>,
    /// For the audit log.
    action: &'static str,
    by: By,
}

/// A snapshot in a line of the audit log.
fn summary(snapshot: &Snapshot, digest: B256, changes: &[Change]) -> Value {
    let noted: Vec<_> = changes.iter().take(MOST_NOTED).map(|change| &change.summary).collect();
    let mut summary = json!({ "version": snapshot.version, "digest": digest });
    if !noted.is_empty() {
        summary["changes"] = json!(noted);
    }
    summary
}
