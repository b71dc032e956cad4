//! `/gate/v1/wallet` and `/gate/v1/account/wallets`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::gate::{WalletSignInApi, WalletsApi};

use super::{Door, Gated, encode, signed_in};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table
        .post("/gate/v1/wallet/challenge", challenge)
        .post("/gate/v1/wallet/sign-in", sign_in)
        .get("/gate/v1/account/wallets", list)
        .post("/gate/v1/account/wallets", link)
        .post("/gate/v1/account/wallets/challenge", link_challenge)
        .delete("/gate/v1/account/wallets/{address}", unlink)
}

async fn challenge(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&door.wallet_challenge(request).await?))
}

async fn sign_in(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(signed_in(&headers, door.wallet_sign_in(request).await?))
}

async fn list(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.wallets().await?))
}

async fn link_challenge(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.wallet_link_challenge(request).await?))
}

async fn link(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.link_wallet(request).await?))
}

async fn unlink(Gated(session): Gated, Path(address): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.unlink_wallet(&address).await?))
}
