//! The audit log.

use async_trait::async_trait;
use resultity_core::api::gate::{AuditApi, AuditLine, AuditQuery};
use resultity_core::api::page::{Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};

use super::{GateSession, failed};
use crate::store::admin::AuditFilter;
use crate::store::{Actor, AuditEntry};

fn line(entry: AuditEntry) -> AuditLine {
    AuditLine {
        id: entry.id,
        actor: entry.actor.to_string(),
        action: entry.action,
        subject: entry.subject,
        environment: entry.environment,
        before: entry.before,
        after: entry.after,
        reason: entry.reason,
        created_at: entry.now.as_seconds(),
    }
}

/// A time of a query.
fn time(param: &str, seconds: i64) -> Result<Timestamp, ApiError> {
    let millis = seconds.checked_mul(1000);
    millis.map(Timestamp::from_millis).ok_or_else(|| {
        let message = format!("{param} must be a time in seconds since the Unix epoch");
        ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
    })
}

#[async_trait]
impl AuditApi for GateSession {
    async fn audit_log(&self, query: AuditQuery) -> Result<Page<AuditLine>, ApiError> {
        self.administrator()?;
        let size = query.size();
        let actor = query.actor.as_deref().map(|actor| {
            actor
                .parse::<Actor>()
                .map_err(|error| ApiError::new(ErrorCode::InvalidValue, format!("actor: {error}")).with_param("actor"))
        });
        let filter = AuditFilter {
            actor: actor.transpose()?,
            action: query.action,
            subject: query.subject,
            environment: query.environment,
            seen_from: self.only_environment(),
            from: query.from.map(|from| time("from", from)).transpose()?,
            until: query.until.map(|until| time("until", until)).transpose()?,
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let lines = self.gate.store.audit_lines(filter).await.map_err(failed)?;
        let lines = lines.into_iter().map(line).collect();
        Ok(Page::of(lines, size, |line: &AuditLine| line.id.to_string()))
    }
}
