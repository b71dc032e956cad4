//! The Account Portal: who somebody is here, and how they come in.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::kit::page::Section;
use crate::http::App;

mod activity;
mod door;
mod identity;
mod notifications;
mod recovery;
mod second_factor;
mod sessions;
mod tokens;

/// Its sections.
pub(super) const SECTIONS: &[Section] = &[
    ("/account", "Identity"),
    ("/account/security", "Second factor"),
    ("/account/sessions", "Sessions"),
    ("/account/tokens", "Access tokens"),
    ("/account/notifications", "Notifications"),
    ("/account/activity", "Activity and rewards"),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/account/sign-in", get(door::show).post(door::sign_in))
        .route("/account/sign-out", post(door::sign_out))
        .route("/account/sign-up", get(door::show_sign_up).post(door::sign_up))
        .route("/account/sign-up/confirm", post(door::confirm))
        .route("/account/reset", get(recovery::show).post(recovery::ask))
        .route("/account/reset/confirm", post(recovery::confirm))
        .route("/account/environment", post(door::switch))
        .route("/account", get(identity::show))
        .route("/account/name", post(identity::rename))
        .route("/account/password", post(identity::change_password))
        .route("/account/email", post(identity::change_email))
        .route("/account/email/confirm", post(identity::confirm_email))
        .route("/account/email/remove", post(identity::remove_email))
        .route("/account/wallets/unlink", post(identity::unlink_wallet))
        .route("/account/security", get(second_factor::show))
        .route("/account/security/begin", post(second_factor::begin))
        .route("/account/security/confirm", post(second_factor::confirm))
        .route("/account/security/remove", post(second_factor::remove))
        .route("/account/security/codes", post(second_factor::renew))
        .route("/account/sessions", get(sessions::show))
        .route("/account/sessions/end", post(sessions::end))
        .route("/account/sessions/end-others", post(sessions::end_others))
        .route("/account/tokens", get(tokens::show).post(tokens::create))
        .route("/account/tokens/delete", post(tokens::delete))
        .route("/account/notifications", get(notifications::show))
        .route("/account/notifications/read", post(notifications::read))
        .route("/account/activity", get(activity::show))
        .route("/account/activity.csv", get(activity::export))
}
