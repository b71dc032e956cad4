//! The verbs of [`AdminStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::AccountId;

use super::{SqliteStore, administration, audit_log};
use crate::store::StoreError;
use crate::store::admin::{
    AdminStore, AuditEntry, AuditFilter, IntakeStop, NotificationFilter, NotificationRecord, OpenJobs, Read, Totals,
};

#[async_trait]
impl AdminStore for SqliteStore {
    async fn keep_audit_line(&self, line: AuditEntry) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| audit_log::append(connection, &line))
            .await
    }

    async fn audit_lines(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        self.readers
            .call_long(move |connection| administration::audit_lines(connection, &filter))
            .await
    }

    async fn notifications(&self, filter: NotificationFilter) -> Result<Vec<NotificationRecord>, StoreError> {
        self.readers
            .call(move |connection| administration::notifications(connection, &filter))
            .await
    }

    async fn unread_notifications(
        &self,
        account: AccountId,
        environment: Option<Environment>,
    ) -> Result<u64, StoreError> {
        self.readers
            .call(move |connection| administration::unread(connection, account, environment))
            .await
    }

    async fn read_notifications(
        &self,
        account: AccountId,
        environment: Option<Environment>,
        read: Read,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| administration::mark_read(connection, account, environment, &read, now))
            .await
    }

    async fn intake_stop(&self, environment: Environment) -> Result<Option<IntakeStop>, StoreError> {
        self.readers
            .call(move |connection| administration::intake_stop(connection, environment))
            .await
    }

    async fn set_intake(
        &self,
        environment: Environment,
        stop: Option<IntakeStop>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| administration::set_intake(connection, environment, stop.as_ref(), &audit))
            .await
    }

    async fn open_jobs(&self, environment: Environment) -> Result<Vec<OpenJobs>, StoreError> {
        self.readers
            .call_long(move |connection| administration::open_jobs(connection, environment))
            .await
    }

    async fn credits_issued(&self, environment: Environment) -> Result<Credits, StoreError> {
        self.readers
            .call(move |connection| administration::issued(connection, environment))
            .await
    }

    async fn totals(&self, environment: Environment, accounts_since: Timestamp) -> Result<Totals, StoreError> {
        self.readers
            .call_long(move |connection| administration::totals(connection, environment, accounts_since))
            .await
    }
}
