//! The contract of [`UsageApi`]: against a model that answers in text, of any quality.

use crate::api::cloud::ChatApi;
use crate::api::usage::{UsageApi, UsageCounts, UsageQuery, UsageReport, UsageScope};
use crate::credits::Credits;
use crate::error::ErrorCode;
use crate::openai::chat::{ChatRequest, Message};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: UsageApi + ChatApi + ?Sized>(api: &A, model: &str) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: usage: {}", stringify!($scenario));
            $scenario(api, model).await;
        )*};
    }
    run! {
        what_was_paid_is_counted
        rows_are_told_apart_as_asked
        bad_queries_name_the_field
    }
}

async fn report<A: UsageApi + ?Sized>(api: &A, query: UsageQuery) -> UsageReport {
    api.usage(query).await.expect("usage can be asked for").body
}

fn grouped(by: &str) -> UsageQuery {
    UsageQuery {
        group_by: Some(by.into()),
        ..UsageQuery::default()
    }
}

fn sum(report: &UsageReport) -> UsageCounts {
    let mut sum = UsageCounts::default();
    for row in &report.data {
        sum.add(&row.counts);
    }
    sum
}

/// An answer adds one request, its tokens and its price, and takes as much from the credits. Panics if not.
pub async fn what_was_paid_is_counted<A: UsageApi + ChatApi + ?Sized>(api: &A, model: &str) {
    let before = report(api, UsageQuery::default()).await.total;
    let credits = api.credits().await.expect("credits can be asked for").body;
    assert_eq!(credits.object, "credits");
    let request = ChatRequest::new(model, [Message::user("Name a river.")]).max_tokens(4);
    let answer = api.chat(request).await.expect("a plain question is answered");
    let cost = answer.meta.cost.expect("an answer has its price");
    assert!(cost > Credits::ZERO);

    let after = report(api, UsageQuery::default()).await;
    assert_eq!(after.object, "usage");
    let usage = answer.usage.expect("an answer has its token counts");
    assert_eq!(after.total.requests, before.requests + 1);
    assert_eq!(after.total.failed, before.failed);
    assert_eq!(after.total.prompt_tokens, before.prompt_tokens + usage.prompt_tokens);
    assert_eq!(
        after.total.completion_tokens,
        before.completion_tokens + usage.completion_tokens
    );
    assert_eq!(Some(after.total.cost), before.cost.checked_add(cost));
    let left = api.credits().await.expect("credits can be asked for").body;
    assert_eq!(Some(left.available), credits.available.checked_sub(cost));
    assert_eq!(left.held, credits.held);
}

/// Rows say what they were told apart by, and nothing else, and add up to the total. Panics if not.
pub async fn rows_are_told_apart_as_asked<A: UsageApi + ChatApi + ?Sized>(api: &A, model: &str) {
    for by in ["day", "model", "endpoint", "key", "day,model", "model, endpoint, key"] {
        let report = report(api, grouped(by)).await;
        assert!(!report.data.is_empty(), "{by}: something was asked before");
        assert_eq!(sum(&report), report.total, "{by}");
        for row in &report.data {
            let told = [
                ("day", row.day.is_some()),
                ("model", row.model.is_some()),
                ("endpoint", row.endpoint.is_some()),
                ("key", row.key.is_some()),
            ];
            for (name, is_there) in told {
                assert_eq!(is_there, by.contains(name), "{by}: {row:?}");
            }
        }
    }
    let one = UsageQuery {
        model: Some(model.into()),
        scope: Some(UsageScope::Namespace),
        ..grouped("model")
    };
    let one = report(api, one).await;
    assert_eq!(one.data.len(), 1, "one model: {one:?}");
    let none = UsageQuery {
        end: Some("2020-01-31".into()),
        start: Some("2020-01-01".into()),
        ..UsageQuery::default()
    };
    let none = report(api, none).await;
    assert_eq!((none.start.as_str(), none.end.as_str()), ("2020-01-01", "2020-01-31"));
    assert_eq!((none.data, none.total), (Vec::new(), UsageCounts::default()));
}

/// Bad values are refused with their place. Panics if not.
pub async fn bad_queries_name_the_field<A: UsageApi + ChatApi + ?Sized>(api: &A, _model: &str) {
    let from_to = |start: &str, end: &str| UsageQuery {
        start: Some(start.into()),
        end: Some(end.into()),
        ..UsageQuery::default()
    };
    let cases = [
        (from_to("yesterday", "2026-01-01"), "start"),
        (from_to("2026-01-01", "2026-02-30"), "end"),
        (from_to("2026-02-01", "2026-01-01"), "start"),
        (from_to("1999-01-01", "2026-01-01"), "start"),
        (grouped("month"), "group_by"),
    ];
    for (query, param) in cases {
        let error = api.usage(query).await.expect_err(param);
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param)),
            "{error}"
        );
    }
}
