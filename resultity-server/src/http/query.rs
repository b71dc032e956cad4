//! What stands after the question mark. What is not known is left alone, as OpenAI's API does.

use axum::extract::Query;
use axum::http::Uri;
use resultity_core::api::gate::InEnvironment;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use serde::de::DeserializeOwned;

/// Reads the query; what is wrong is named.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    Query::try_from_uri(uri).map(|Query(query)| query).map_err(|rejection| {
        // axum keeps the path for itself, in front of the sentence.
        let text = rejection.body_text();
        let sentence = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest);
        let error = ApiError::new(ErrorCode::InvalidValue, sentence);
        match sentence.split_once(": ") {
            Some((field, _)) if !field.contains(' ') => error.with_param(field),
            _ => error,
        }
    })
}

/// The environment that a request is about, which may stand in its body, in its query, or in both if they agree.
pub(super) fn environment(uri: &Uri, in_body: Option<Environment>) -> Result<Option<Environment>, ApiError> {
    let asked: InEnvironment = read(uri)?;
    match (asked.environment, in_body) {
        (Some(query), Some(body)) if query != body => {
            let message = format!("environment is {query} in the query and {body} in the body: name one");
            Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("environment"))
        }
        (query, body) => Ok(body.or(query)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_body_name_one_environment() {
        use Environment::{Mainnet, Testnet};
        for (query, body, meant) in [
            ("", None, Some(None)),
            ("?environment=testnet", None, Some(Some(Testnet))),
            ("", Some(Mainnet), Some(Some(Mainnet))),
            ("?environment=mainnet", Some(Mainnet), Some(Some(Mainnet))),
            ("?environment=testnet", Some(Mainnet), None),
            ("?environment=x", Some(Mainnet), None),
        ] {
            let found = environment(&format!("/x{query}").parse().unwrap(), body);
            let param = found.as_ref().err().and_then(|error| error.param.as_deref());
            assert_eq!(param, meant.is_none().then_some("environment"), "{query} {body:?}");
            assert_eq!(found.ok(), meant, "{query} {body:?}");
        }
    }

    use resultity_core::api::page::{Order, PageQuery};

    #[test]
    fn what_is_wrong_is_named() {
        let read = |query: &str| read::<PageQuery>(&format!("/v1/things?{query}").parse().unwrap());
        let page = read("limit=5&after=x&order=asc&other=1").unwrap();
        assert_eq!(
            (page.size(), page.after.as_deref(), page.order),
            (5, Some("x"), Some(Order::Asc))
        );
        assert_eq!(read("").unwrap(), PageQuery::default());
        for (query, param) in [("limit=many", "limit"), ("limit=-1", "limit"), ("order=up", "order")] {
            let error = read(query).unwrap_err();
            assert_eq!(
                (error.code, error.param.as_deref()),
                (ErrorCode::InvalidValue, Some(param)),
                "{query}: {error}"
            );
        }
    }
}
