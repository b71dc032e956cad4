//! What stands after the question mark. What is not known is left alone, as OpenAI's API does.

use axum::extract::Query;
use axum::http::Uri;
use resultity_core::error::{ApiError, ErrorCode};
use serde::de::DeserializeOwned;

/// Reads the query; what is wrong is named.
pub(super) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;
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
