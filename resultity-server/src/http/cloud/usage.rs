//! `/v1/usage` and `/v1/credits`.

use axum::http::Uri;
use axum::response::Response;
use resultity_core::api::usage::{UsageApi, UsageQuery};

use super::{Keyed, describe, encode};
use crate::http::problem::Problem;
use crate::http::{query, usage_table};

pub(in crate::http) async fn usage(Keyed(session): Keyed, uri: Uri) -> Result<Response, Problem> {
    let is_table = usage_table::is_asked(&uri)?;
    let query: UsageQuery = query::read(&uri)?;
    let reply = session.usage(query).await?;
    if !is_table {
        return Ok(encode(&reply));
    }
    let mut response = usage_table::written(&reply.body)?;
    describe(&mut response, &reply.meta);
    Ok(response)
}

pub(in crate::http) async fn credits(Keyed(session): Keyed) -> Result<Response, Problem> {
    Ok(encode(&session.credits().await?))
}
