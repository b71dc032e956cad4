//! The snapshot in force and the network's keys: both can change while jobs are under way. A job ends by what it was
//! admitted under.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::signing::Keypair;
use resultity_core::snapshot::Snapshot;
use tokio::sync::watch;

use crate::bus::JobMessage;
use crate::flow::Flow;
use crate::publish::{NetworkKeys, PublishError, Published, Publisher};

/// How often to look whether another process has published.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The snapshot in force, with what is served of it.
#[derive(Debug)]
pub struct CurrentSnapshot {
    /// What it says.
    pub snapshot: Snapshot,
    /// As it is served to nodes: the JSON of a [`SignedSnapshot`](resultity_core::snapshot::SignedSnapshot).
    pub signed: String,
    /// Its digest.
    pub digest: B256,
    /// The keys of the network.
    pub keys: Arc<NetworkKeys>,
}

impl CurrentSnapshot {
    /// A snapshot as it was published.
    pub fn new(published: Published, keys: Arc<NetworkKeys>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            digest: published.signed.digest,
            signed: serde_json::to_string(&published.signed)?,
            snapshot: published.snapshot,
            keys,
        })
    }
}

/// What the snapshot in force says; reads like it.
#[derive(Debug, Clone)]
pub struct Snapshotted(Arc<CurrentSnapshot>);

impl std::ops::Deref for Snapshotted {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.0.snapshot
    }
}

impl Flow {
    /// The snapshot in force, as served.
    pub fn current(&self) -> Arc<CurrentSnapshot> {
        self.current.load_full()
    }

    /// What the snapshot in force says.
    pub fn snapshot(&self) -> Snapshotted {
        Snapshotted(self.current.load_full())
    }

    /// The network's key: what signs now.
    pub fn network_key(&self) -> Keypair {
        self.current.load().keys.current().clone()
    }

    /// Tells of every snapshot that comes into force: its digest.
    pub fn configurations(&self) -> watch::Receiver<B256> {
        self.configured.subscribe()
    }

    /// Puts a snapshot in force, unless that or a later one is already. What waits for a model that is gone ends.
    pub fn apply(&self, next: CurrentSnapshot) {
        let next = Arc::new(next);
        let before = self.current.rcu(|current| {
            if is_newer(current, &next) {
                Arc::clone(&next)
            } else {
                Arc::clone(current)
            }
        });
        if !is_newer(&before, &next) {
            return;
        }
        tracing::info!(environment = %self.environment, config.version = next.snapshot.version, "a new snapshot is in force");
        let names: HashSet<&str> = next.snapshot.models.iter().map(|model| model.name.as_str()).collect();
        for gone in before
            .snapshot
            .models
            .iter()
            .filter(|model| !names.contains(model.name.as_str()))
        {
            let waiting = self.scheduler().withdraw_model(&gone.name);
            for job in waiting {
                self.bus.tell_job(job, JobMessage::Stranded);
            }
        }
        self.configured.send_replace(next.digest);
    }

    /// Puts in force what is the newest by now, be it published here or by another process.
    pub async fn catch_up(&self, publisher: &Publisher) -> Result<(), PublishError> {
        let newest = publisher.newest(self.environment).await?;
        // Afterwards, so that the keys are never older than the snapshot.
        publisher.refresh().await?;
        self.apply(CurrentSnapshot::new(newest, publisher.keys())?);
        Ok(())
    }

    /// Looks again and again whether another process has published, and takes out models whose time is over, until no more
    /// jobs are taken.
    pub async fn follow_publications(&self, publisher: &Publisher) {
        let mut told = None;
        loop {
            tokio::select! {
                () = self.intake_ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            let error = self.look(publisher).await.err().map(|error| error.to_string());
            if error != told {
                if let Some(error) = &error {
                    tracing::warn!(environment = %self.environment, error, "the newest configuration can't be taken up");
                }
                told = error;
            }
        }
    }

    async fn look(&self, publisher: &Publisher) -> Result<(), PublishError> {
        let is_over = |until: &Timestamp| *until <= self.clock.now();
        if self.snapshot().retiring.values().any(is_over) {
            publisher.retire(self.environment).await?;
        }
        let mark = self.store.publication_mark(self.environment).await?;
        let current = self.current();
        if mark.version != current.snapshot.version || mark.key_sequence != current.keys.sequence() {
            self.catch_up(publisher).await?;
        }
        Ok(())
    }

    /// Why a job for a model that is not served any more ends; nothing if it is.
    pub(super) fn withdrawn(&self, model: &str) -> Option<ApiError> {
        let is_listed = self
            .current
            .load()
            .snapshot
            .models
            .iter()
            .any(|listed| listed.name == model);
        let gone = || {
            let message = "the model was withdrawn before a node could answer; nothing was charged";
            ApiError::new(ErrorCode::ModelNotFound, message).with_param("model")
        };
        (!is_listed).then(gone)
    }
}

fn is_newer(current: &CurrentSnapshot, next: &CurrentSnapshot) -> bool {
    let place = |snapshot: &CurrentSnapshot| (snapshot.snapshot.version, snapshot.keys.sequence());
    place(next) > place(current)
}
