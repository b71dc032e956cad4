//! What the holder of a key used, and what they may spend.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use jiff::Timestamp as Instant;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use resultity_core::api::cloud::Reply;
use resultity_core::api::usage::{CreditBalance, UsageApi, UsageCounts, UsageQuery, UsageReport, UsageRow, UsageScope};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{KeyId, NamespaceId};

use crate::flow::{Flow, internal};
use crate::session::CloudSession;
use crate::store::{UsageFilter, UsageRecord};

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How many days are counted if nothing is said.
const DEFAULT_DAYS: i64 = 30;

/// The most days of a report.
const MAX_DAYS: i64 = 366;

/// By what rows are told apart.
#[derive(Debug, Clone, Copy, Default)]
struct Grouping {
    day: bool,
    model: bool,
    endpoint: bool,
    key: bool,
}

#[async_trait]
impl UsageApi for CloudSession {
    async fn usage(&self, query: UsageQuery) -> Result<Reply<UsageReport>, ApiError> {
        self.touch()?;
        let key = (query.scope != Some(UsageScope::Namespace)).then_some(self.principal.key);
        let report = report(&self.flow, query, self.principal.namespace, key).await?;
        Ok(Reply::of(report))
    }

    async fn credits(&self) -> Result<Reply<CreditBalance>, ApiError> {
        self.touch()?;
        let balance = self
            .flow
            .store
            .balance(self.principal.namespace)
            .await
            .map_err(internal)?;
        let balance = balance.unwrap_or_default();
        let spent = self.flow.store.key_spent(self.principal.key).await.map_err(internal)?;
        Ok(Reply::of(CreditBalance {
            object: "credits".into(),
            available: balance.available,
            held: balance.held,
            spend_limit: self.principal.limits.spend_limit,
            spent,
        }))
    }
}

fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(field)
}

/// What was used of a namespace, or with one of its keys.
pub(super) async fn report(
    flow: &Flow,
    query: UsageQuery,
    namespace: NamespaceId,
    key: Option<KeyId>,
) -> Result<UsageReport, ApiError> {
    let (start, end) = days(flow.clock.now(), query.start.as_deref(), query.end.as_deref())?;
    let grouping = grouping(query.group_by.as_deref().unwrap_or("day,model"))?;
    let filter = UsageFilter {
        namespace,
        key,
        model: query
            .model
            .map(|name| flow.model(&name).map_or(name, |model| model.name)),
        from: Timestamp::from_millis(start * DAY_MS),
        until: Timestamp::from_millis((end + 1) * DAY_MS),
        // No job lives for a day.
        accepted_from: Timestamp::from_millis((start - 1) * DAY_MS),
    };
    let records = flow.store.usage(filter).await.map_err(internal)?;
    let mut rows: BTreeMap<_, UsageCounts> = BTreeMap::new();
    let mut total = UsageCounts::default();
    for record in records {
        let counts = counts(&record);
        total.add(&counts);
        let group = (
            grouping.day.then_some(record.day),
            grouping.model.then_some(record.model),
            grouping.endpoint.then_some(record.endpoint),
            grouping.key.then_some(record.key),
        );
        rows.entry(group).or_default().add(&counts);
    }
    let keys: BTreeSet<KeyId> = rows.keys().filter_map(|(.., key)| *key).collect();
    let labels = if keys.is_empty() {
        HashMap::new()
    } else {
        let labels = flow.store.key_labels(keys.into_iter().collect()).await;
        labels.map_err(internal)?.into_iter().collect()
    };
    let data = rows
        .into_iter()
        .map(|((day, model, endpoint, key), counts)| UsageRow {
            day: day.map(date),
            model,
            endpoint,
            key,
            key_label: key.and_then(|key| labels.get(&key).cloned()),
            counts,
        })
        .collect();
    Ok(UsageReport {
        object: "usage".into(),
        start: date(start),
        end: date(end),
        data,
        total,
    })
}

fn counts(record: &UsageRecord) -> UsageCounts {
    UsageCounts {
        requests: record.requests,
        failed: record.failed,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        duration_ms: record.duration_ms,
        cost: record.cost,
    }
}

fn grouping(text: &str) -> Result<Grouping, ApiError> {
    let mut grouping = Grouping::default();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let chosen = match name {
            "day" => &mut grouping.day,
            "model" => &mut grouping.model,
            "endpoint" => &mut grouping.endpoint,
            "key" => &mut grouping.key,
            _ => {
                let message = "group_by may name day, model, endpoint and key, separated by commas";
                return Err(invalid("group_by", message));
            }
        };
        *chosen = true;
    }
    Ok(grouping)
}

/// The first and the last day that are asked for, counted from the Unix epoch.
pub(super) fn days(now: Timestamp, start: Option<&str>, end: Option<&str>) -> Result<(i64, i64), ApiError> {
    let today = now.as_millis().div_euclid(DAY_MS);
    let end = end.map_or(Ok(today), |text| day("end", text))?;
    let start = match start {
        Some(text) => day("start", text)?,
        None => end - DEFAULT_DAYS + 1,
    };
    if start > end || end - start >= MAX_DAYS {
        let message = format!("start must be before end, and at most {MAX_DAYS} days may be counted at once");
        return Err(invalid("start", message));
    }
    Ok((start, end))
}

/// A day, counted from the Unix epoch.
fn day(field: &str, text: &str) -> Result<i64, ApiError> {
    let expected = || invalid(field, format!("{field} must be a day such as 2026-11-22"));
    // A day and no more: a time of day would be taken for nothing.
    let date: Date = text.parse().ok().filter(|_| text.len() == 10).ok_or_else(expected)?;
    let midnight = date.to_zoned(TimeZone::UTC).map_err(|_| expected())?;
    Ok(midnight.timestamp().as_millisecond().div_euclid(DAY_MS))
}

/// A day counted from the Unix epoch, as people write it.
pub(super) fn date(day: i64) -> String {
    Instant::from_millisecond(day.saturating_mul(DAY_MS))
        .map(|instant| instant.to_zoned(TimeZone::UTC).date().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written() {
        for text in ["1970-01-01", "2026-11-22", "2028-02-29"] {
            assert_eq!(date(day("start", text).unwrap()), text);
        }
        for bad in ["2026-02-30", "22.11.2026", "", "2026-11-22T00:00"] {
            assert_eq!(day("end", bad).unwrap_err().param.as_deref(), Some("end"), "{bad}");
        }
    }

    #[test]
    fn an_unknown_group_is_named() {
        assert!(grouping("day, key").is_ok_and(|grouping| grouping.day && grouping.key && !grouping.model));
        assert_eq!(grouping("day,month").unwrap_err().param.as_deref(), Some("group_by"));
    }
}
