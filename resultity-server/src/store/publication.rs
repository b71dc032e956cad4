//! The history of the network's configuration and keys.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::signing::KeyRotation;

use crate::store::webhooks::PageOf;
use crate::store::{Actor, AuditEntry, StoreError};

/// A snapshot that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its number.
    pub version: u64,
    /// The JSON of a [`SignedSnapshot`](resultity_core::snapshot::SignedSnapshot).
    pub signed: String,
    /// Who published it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub published_at: Timestamp,
}

/// A snapshot to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSnapshot {
    /// Where it counts.
    pub environment: Environment,
    /// Its number: one more than the newest.
    pub version: u64,
    /// The JSON of a [`SignedSnapshot`](resultity_core::snapshot::SignedSnapshot).
    pub signed: String,
    /// How often the network's key had changed when it was signed.
    pub key_sequence: u64,
    /// The offer of the configuration file that it comes from, if it does.
    pub offer_digest: Option<B256>,
    /// The line of the audit log: who, why, when.
    pub audit: AuditEntry,
}

/// A change of the network's key, with the snapshots that announce it and those that the new key signs.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRotation {
    /// In every environment: the same number, the same keys.
    pub rotations: Vec<(Environment, KeyRotation)>,
    /// In the order in which they are published. Each `key_sequence` is that before the change.
    pub snapshots: Vec<NewSnapshot>,
    /// The line of the audit log.
    pub audit: AuditEntry,
}

/// What became of something that was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is there.
    Kept,
    /// Another version is the newest by now; nothing was changed.
    Stale {
        /// The newest version; 0 if there is none.
        newest: u64,
    },
    /// The network's key has changed by now; nothing was changed.
    OtherKey,
}

/// How far the publications are: whoever has seen the same sees nothing new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The newest version; 0 if there is none.
    pub version: u64,
    /// How often the network's key has changed.
    pub key_sequence: u64,
}

/// The history of the network's configuration and keys.
#[async_trait]
pub trait PublicationStore: Send + Sync {
    /// Keeps a snapshot if it is the next one and signed by the key in force.
    async fn publish_snapshot(&self, snapshot: NewSnapshot) -> Result<Kept, StoreError>;

    /// The newest snapshot.
    async fn latest_snapshot(&self, environment: Environment) -> Result<Option<SnapshotRecord>, StoreError>;

    /// A snapshot.
    async fn snapshot(&self, environment: Environment, version: u64) -> Result<Option<SnapshotRecord>, StoreError>;

    /// All snapshots, by number.
    async fn snapshots(&self, environment: Environment, page: PageOf<u64>) -> Result<Vec<SnapshotRecord>, StoreError>;

    /// How far the publications are. Cheap: it is asked every second.
    async fn publication_mark(&self, environment: Environment) -> Result<Mark, StoreError>;

    /// The offer of the configuration file at the last start.
    async fn offer_digest(&self, environment: Environment) -> Result<Option<B256>, StoreError>;

    /// Remembers the offer of the configuration file, which needed no publication.
    async fn keep_offer_digest(&self, environment: Environment, digest: B256) -> Result<(), StoreError>;

    /// How the network's key has changed, from the first change on.
    async fn key_rotations(&self, environment: Environment) -> Result<Vec<KeyRotation>, StoreError>;

    /// Changes the network's key and publishes what has to be published with it, in one step.
    async fn change_network_key(&self, rotation: NewRotation) -> Result<Kept, StoreError>;
}
