//! The network's configuration. What changes it goes through the [`Publisher`](crate::publish::Publisher), and is in force
//! when the call returns.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::api::gate::{
    ApproveModel, ConfigurationApi, DeprecateModel, DiffSnapshots, InEnvironment, NetworkKeyRotated, PriceModel,
    Publication, PublishSnapshot, PublishedSnapshot, RollBackSnapshot, RotateNetworkKey, Scope, SnapshotDiff,
    SnapshotQuery, SnapshotSummary,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};

use super::{GateSession, failed, not_found, reason};
use crate::flow::Flow;
use crate::publish::{By, Outcome, PublishError, Published};
use crate::store::webhooks::PageOf;

/// Seconds since the Unix epoch up to which a time makes sense: the year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;

#[async_trait]
impl ConfigurationApi for GateSession {
    async fn config(&self, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError> {
        self.may(Scope::Read)?;
        let flow = self.flow(scope.environment)?;
        let current = flow.current();
        let snapshot = &current.snapshot;
        Ok(PublishedSnapshot {
            summary: SnapshotSummary {
                environment: flow.environment,
                version: snapshot.version,
                digest: current.digest,
                created_at: snapshot.issued_at.as_seconds(),
                rolls_back: snapshot.rolls_back,
                next_network_key: snapshot.next_network_key,
                published_by: None,
                reason: None,
            },
            offer: snapshot.offer(),
        })
    }

    async fn snapshots(&self, query: SnapshotQuery) -> Result<Page<SnapshotSummary>, ApiError> {
        self.administrator()?;
        let flow = self.flow(query.environment)?;
        let size = query.size();
        let page = PageOf {
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let records = flow.store.snapshots(flow.environment, page).await.map_err(failed)?;
        let summaries = records
            .into_iter()
            .map(|record| Published::read(record).map(|published| SnapshotSummary::from(&published)))
            .collect::<Result<Vec<_>, _>>();
        let summaries = summaries.map_err(|error| refused(error.into(), "version"))?;
        Ok(Page::of(summaries, size, |summary| summary.version.to_string()))
    }

    async fn snapshot(&self, version: u64, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError> {
        self.administrator()?;
        let flow = self.flow(scope.environment)?;
        let published = self.gate.publisher.version(flow.environment, version).await;
        let published = published.map_err(|error| refused(error, "version"))?;
        Ok(PublishedSnapshot {
            summary: SnapshotSummary::from(&published),
            offer: published.snapshot.offer(),
        })
    }

    async fn publish_snapshot(&self, request: PublishSnapshot) -> Result<Publication, ApiError> {
        let (flow, by) = self.publishes(request.environment, &request.reason)?;
        let publisher = &self.gate.publisher;
        let outcome = publisher
            .publish(flow.environment, request.base_version, request.offer, by)
            .await;
        self.took_effect(flow, outcome, "offer").await
    }

    async fn diff_snapshots(&self, request: DiffSnapshots) -> Result<SnapshotDiff, ApiError> {
        self.administrator()?;
        let flow = self.flow(request.environment)?;
        let (environment, publisher) = (flow.environment, &self.gate.publisher);
        let (offer, param) = match (request.offer, request.to) {
            (Some(offer), None) => (offer, "offer"),
            (None, Some(version)) => {
                let other = publisher.version(environment, version).await;
                let other = other.map_err(|error| refused(error, "to"))?;
                (other.snapshot.offer(), "to")
            }
            _ => return Err(invalid("offer", "name either offer or to")),
        };
        let compared = publisher.compare(environment, request.from, &offer).await;
        let (from, changes) = compared.map_err(|error| match error {
            PublishError::UnknownVersion(_) => refused(error, "from"),
            error => refused(error, param),
        })?;
        Ok(SnapshotDiff {
            environment,
            from,
            changes,
        })
    }

    async fn roll_back_snapshot(&self, request: RollBackSnapshot) -> Result<Publication, ApiError> {
        let (flow, by) = self.publishes(request.environment, &request.reason)?;
        let publisher = &self.gate.publisher;
        let outcome = publisher.roll_back(flow.environment, request.version, by).await;
        self.took_effect(flow, outcome, "version").await
    }

    async fn approve_model(&self, request: ApproveModel) -> Result<Publication, ApiError> {
        let (flow, by) = self.publishes(request.environment, &request.reason)?;
        let publisher = &self.gate.publisher;
        let outcome = publisher.approve(flow.environment, request.model, by).await;
        self.took_effect(flow, outcome, "model").await
    }

    async fn deprecate_model(&self, name: &str, request: DeprecateModel) -> Result<Publication, ApiError> {
        let (flow, by) = self.publishes(request.environment, &request.reason)?;
        if request.until.is_some_and(|until| !(0..=MAX_SECONDS).contains(&until)) {
            return Err(invalid("until", "until must be seconds since the Unix epoch"));
        }
        let until = request.until.map(|seconds| Timestamp::from_millis(seconds * 1000));
        let publisher = &self.gate.publisher;
        let outcome = publisher.deprecate(flow.environment, name, until, by).await;
        self.took_effect(flow, outcome, "until").await
    }

    async fn price_model(&self, name: &str, request: PriceModel) -> Result<Publication, ApiError> {
        let (flow, by) = self.publishes(request.environment, &request.reason)?;
        let publisher = &self.gate.publisher;
        let outcome = publisher.price(flow.environment, name, request.price, by).await;
        self.took_effect(flow, outcome, "price").await
    }

    async fn rotate_network_key(&self, request: RotateNetworkKey) -> Result<NetworkKeyRotated, ApiError> {
        let by = self.by(&request.reason)?;
        // The key is that of all environments: whoever may see but one can't change it.
        if !Environment::ALL.into_iter().all(|environment| self.sees(environment)) {
            let message = "the network's key is that of all environments: use a token for all of them";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
        let rotated = self.gate.publisher.rotate(request.current, by).await;
        let rotated = rotated.map_err(|error| refused(error, "current"))?;
        for flow in self.gate.flows.iter() {
            let caught_up = flow.catch_up(&self.gate.publisher).await;
            caught_up.map_err(|error| refused(error, "current"))?;
        }
        Ok(NetworkKeyRotated {
            genesis: rotated.genesis,
            previous: rotated.previous,
            network_key: rotated.current,
            sequence: rotated.sequence,
        })
    }
}

impl GateSession {
    /// The caller as somebody who may publish, and why it does.
    fn by(&self, reason: &str) -> Result<By, ApiError> {
        let actor = self.administrator()?;
        let reason = reason::required(reason)?;
        Ok(By { actor, reason })
    }

    fn publishes(&self, environment: Option<Environment>, reason: &str) -> Result<(&Arc<Flow>, By), ApiError> {
        let by = self.by(reason)?;
        Ok((self.flow(environment)?, by))
    }

    /// Puts what was published in force here, before anybody is told that it is.
    async fn took_effect(
        &self,
        flow: &Flow,
        outcome: Result<Outcome, PublishError>,
        param: &str,
    ) -> Result<Publication, ApiError> {
        let outcome = outcome.map_err(|error| refused(error, param))?;
        let caught_up = flow.catch_up(&self.gate.publisher).await;
        caught_up.map_err(|error| refused(error, param))?;
        Ok(Publication {
            snapshot: SnapshotSummary::from(&outcome.published),
            changes: outcome.changes,
        })
    }
}

fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

/// Why nothing was published, for the caller. `param` is the field that the configuration came in.
fn refused(error: PublishError, param: &str) -> ApiError {
    use crate::network_key::NetworkKeyError;
    match &error {
        PublishError::Invalid(problem) => {
            let message = format!("the configuration makes no sense: {problem}");
            invalid(&format!("{param}.{}", problem.path), message)
        }
        PublishError::Canonical(_) => invalid(param, error.to_string()),
        PublishError::Stale { .. } | PublishError::OtherKey { .. } | PublishError::Key(NetworkKeyError::Busy) => {
            ApiError::new(ErrorCode::Conflict, error.to_string()).with_param(param)
        }
        PublishError::UnknownVersion(_) => not_found("version").with_param(param),
        PublishError::UnknownModel(_) => not_found("model"),
        PublishError::Nothing(_) => ApiError::new(ErrorCode::NotFound, error.to_string()),
        _ => {
            tracing::error!(%error, "the configuration could not be published");
            ApiError::new(ErrorCode::Internal, "the server could not do it; see its log").with_source(error)
        }
    }
}
