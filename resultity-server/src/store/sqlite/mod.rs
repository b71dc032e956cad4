//! The store in one SQLite file: one thread that writes, a few connections that read.

mod accounts;
mod admin_accounts;
mod admin_verbs;
mod administration;
mod alerts;
mod api_keys;
mod audit;
mod audit_funds;
mod audit_log;
mod batches;
mod bindings;
mod deliveries;
mod detached;
mod ends;
mod enqueued;
mod epochs;
mod file_verbs;
mod files;
mod fleet;
mod fleet_verbs;
mod funds;
mod funds_verbs;
mod history;
mod identity_verbs;
mod job_events;
mod jobs;
mod ledger;
mod letters;
mod logins;
mod movements;
mod namespaces;
mod node_logs;
mod node_work;
mod nodes;
mod penalties;
mod plans;
mod publication_verbs;
mod publications;
mod readers;
mod retention;
mod rows;
mod schema;
mod second_factors;
mod statements;
mod subcloud_verbs;
mod subclouds;
mod tenancy_verbs;
mod tenants;
#[cfg(test)]
mod tests;
mod trust;
mod usage;
mod vouchers;
mod wallets;
mod wallets_verbs;
mod webhook_verbs;
mod webhooks;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId, NodeId};
use tokio::sync::watch;

use self::enqueued::Enqueued;
use self::readers::Readers;
use self::writer::Writer;
use super::{
    Admission, AuditReport, Balance, Ended, Grant, Granted, JobRecord, KeyHash, KeyRecord, LeaseRef, Leased, NewJob,
    NewLease, NewTenant, NodeRecord, Recovered, Release, Settle, Store, StoreError,
};

/// How many jobs are put right in one operation at start.
const RECOVERED_AT_ONCE: u32 = 500;

/// A [`Store`] in one SQLite file (and two beside it while it is open).
///
/// A verb that was called is done even if its future is dropped. Dropping the store finishes what is queued and waits
/// for it; [`close`](Self::close) does the same without blocking the thread.
pub struct SqliteStore {
    path: PathBuf,
    readers: Readers,
    writer: Writer,
    enqueued: Enqueued,
    batch_changes: watch::Sender<u64>,
}

impl SqliteStore {
    /// Opens the file; makes it, readable by its owner only, if it is not there. Blocks while it brings an older file
    /// up to date.
    ///
    /// # Errors
    /// The file can't be made or opened, is not a database, or was made by a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let connection = schema::open_writer(&path)?;
        let enqueued = Enqueued::install(&connection)?;
        let writer = Writer::start(connection, enqueued.clone())?;
        Ok(Self {
            readers: Readers::new(path.clone()),
            writer,
            enqueued,
            batch_changes: watch::Sender::new(0),
            path,
        })
    }

    /// Finishes what is queued and closes the file. Verbs called later fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ensure_tenant(&self, tenant: NewTenant) -> Result<KeyRecord, StoreError> {
        self.writer
            .call(move |connection| tenants::ensure(connection, &tenant))
            .await
    }

    async fn account(&self, name: &str) -> Result<Option<AccountId>, StoreError> {
        let name = name.to_owned();
        self.readers
            .call(move |connection| tenants::account(connection, &name))
            .await
    }

    async fn key(&self, hash: KeyHash) -> Result<Option<KeyRecord>, StoreError> {
        self.readers
            .call(move |connection| tenants::key(connection, hash))
            .await
    }

    async fn revoke_key(&self, key: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| tenants::revoke(connection, key, now))
            .await
    }

    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError> {
        self.writer
            .call(move |connection| tenants::grant(connection, &grant))
            .await
    }

    async fn balance(&self, namespace: NamespaceId) -> Result<Option<Balance>, StoreError> {
        self.readers
            .call(move |connection| tenants::balance(connection, namespace))
            .await
    }

    async fn reserve_and_enqueue(&self, job: NewJob, lease: Option<NewLease>) -> Result<Admission, StoreError> {
        self.writer
            .call(move |connection| jobs::admit(connection, &job, lease.as_ref()))
            .await
    }

    async fn lease(&self, job: JobId, lease: NewLease, _now: Timestamp) -> Result<Leased, StoreError> {
        self.writer
            .call(move |connection| jobs::lease(connection, job, &lease))
            .await
    }

    async fn mark_running(&self, lease: LeaseRef, _now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| jobs::mark_running(connection, &lease))
            .await
    }

    async fn renew(&self, leases: Vec<(LeaseRef, Timestamp)>) -> Result<Vec<LeaseRef>, StoreError> {
        self.writer
            .call(move |connection| jobs::renew(connection, &leases))
            .await
    }

    async fn requeue(&self, lease: LeaseRef, reason: &'static str, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| jobs::requeue(connection, &lease, reason, now))
            .await
    }

    async fn settle(&self, settle: Settle) -> Result<Ended, StoreError> {
        self.writer
            .call(move |connection| ends::settle(connection, &settle))
            .await
    }

    async fn release(&self, release: Release) -> Result<Ended, StoreError> {
        self.writer
            .call(move |connection| ends::release(connection, &release))
            .await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.readers.call(move |connection| jobs::read(connection, id)).await
    }

    async fn recover(&self, now: Timestamp) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        loop {
            let cancelled = self
                .writer
                .call(move |connection| ends::recover(connection, RECOVERED_AT_ONCE, now))
                .await?;
            recovered.cancelled += cancelled;
            if cancelled < u64::from(RECOVERED_AT_ONCE) {
                break;
            }
        }
        recovered.requeued = self
            .writer
            .call(move |connection| ends::requeue_detached(connection, now))
            .await?;
        Ok(recovered)
    }

    async fn register_node(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<NodeRecord, StoreError> {
        self.writer
            .call(move |connection| nodes::register(connection, node, environment, now))
            .await
    }

    async fn bind_node(
        &self,
        node: NodeId,
        environment: Environment,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<NodeRecord>, StoreError> {
        self.writer
            .call(move |connection| nodes::bind(connection, node, environment, account, now))
            .await
    }

    async fn audit(&self) -> Result<AuditReport, StoreError> {
        self.readers.call_long(audit::run).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.call(jobs::ping).await
    }
}
