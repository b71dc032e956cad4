//! Who looks at a page, and at what: the session behind the cookie, the environment that is shown, light or dark.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use resultity_core::api::gate::{AccountApi, InEnvironment, Role};
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::error::ApiError;

use super::form::Way;
use super::notice::Notice;
use super::page::{Theme, failure};
use crate::http::{App, auth, cookie, query};
use crate::session::{GateSession, StatusBoard, csrf_token};

/// Who looks at a page.
pub(in crate::web) struct Visitor {
    pub(in crate::web) app: Arc<App>,
    /// Who is signed in, if somebody is.
    pub(in crate::web) member: Option<Member>,
    /// The environment that is shown.
    pub(in crate::web) environment: Environment,
    /// The path and query of the page: the way back.
    pub(in crate::web) place: Way,
    pub(in crate::web) theme: Theme,
    /// What the page before has to say.
    pub(in crate::web) notice: Option<Notice>,
    pub(in crate::web) now: Timestamp,
    /// The address of this server, as the browser has it.
    pub(in crate::web) origin: String,
}

/// Somebody who is signed in.
pub(in crate::web) struct Member {
    pub(in crate::web) session: GateSession,
    /// What every form of theirs shows.
    pub(in crate::web) csrf: String,
    /// What the account is called: its name, or its e-mail address.
    pub(in crate::web) name: String,
    pub(in crate::web) role: Role,
}

impl Visitor {
    /// All environments that are served.
    pub(in crate::web) fn environments(&self) -> Vec<Environment> {
        self.app.flows.iter().map(|flow| flow.environment).collect()
    }

    /// The environment that is shown, as the APIs want it.
    pub(in crate::web) fn within(&self) -> InEnvironment {
        self.environment.into()
    }

    /// What the public may see.
    pub(in crate::web) fn status(&self) -> &StatusBoard {
        &self.app.status
    }

    /// Whether an administrator looks.
    pub(in crate::web) fn is_administrator(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.role == Role::Admin)
    }
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        look(parts, app).await.map_err(|error| bare(parts, app, error))
    }
}

async fn look(parts: &Parts, app: &Arc<App>) -> Result<Visitor, ApiError> {
    let caller = auth::visitor(app, parts).await?;
    let asked: InEnvironment = query::read(&parts.uri)?;
    let is_served = |environment: &Environment| app.flows.get(*environment).is_some();
    let of_session = caller.as_ref().map(|caller| caller.environment);
    let environment = asked.environment.filter(is_served).or(of_session);
    let member = match (caller, cookie::token(&parts.headers)) {
        (Some(caller), Some(token)) => {
            let (role, csrf) = (caller.role, csrf_token(token));
            let session = GateSession::new(Arc::clone(&app.gate), caller);
            let account = session.own_account().await?;
            let name = [Some(account.name), account.email].into_iter().flatten();
            let name = name.into_iter().find(|name| !name.is_empty());
            Some(Member {
                session,
                csrf,
                name: name.unwrap_or_else(|| "your account".to_owned()),
                role,
            })
        }
        _ => None,
    };
    Ok(Visitor {
        member,
        environment: environment.unwrap_or(app.flow().environment),
        place: Way::of(&parts.uri),
        theme: Theme::of(&parts.headers),
        notice: Notice::of(&parts.headers),
        now: app.flow().clock.now(),
        origin: cookie::origin(&parts.headers),
        app: Arc::clone(app),
    })
}

/// An error before it is known who looks: a page for nobody.
fn bare(parts: &Parts, app: &Arc<App>, error: ApiError) -> Response {
    let visitor = Visitor {
        member: None,
        environment: app.flow().environment,
        place: Way::of(&parts.uri),
        theme: Theme::of(&parts.headers),
        notice: None,
        now: app.flow().clock.now(),
        origin: cookie::origin(&parts.headers),
        app: Arc::clone(app),
    };
    failure(&visitor, &error, html! {})
}

/// A visitor who is signed in: whoever is not is asked to.
pub(in crate::web) struct Inside {
    pub(in crate::web) visitor: Visitor,
}

impl Inside {
    /// Who is signed in.
    pub(in crate::web) fn session(&self) -> Result<&GateSession, ApiError> {
        let member = self.visitor.member.as_ref();
        member.map(|member| &member.session).ok_or_else(nobody)
    }
}

impl FromRequestParts<Arc<App>> for Inside {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, app).await?;
        if visitor.member.is_some() {
            return Ok(Self { visitor });
        }
        Err(to_sign_in(&visitor.place))
    }
}

/// Where somebody signs in who wants to be here.
pub(in crate::web) fn to_sign_in(place: &Way) -> Response {
    Redirect::to(&format!("/account/sign-in?next={}", place.encoded())).into_response()
}

fn nobody() -> ApiError {
    ApiError::new(resultity_core::error::ErrorCode::NotSignedIn, "sign in first")
}
