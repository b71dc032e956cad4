//! What an account manages: `login`, `logout`, `whoami`, `namespaces`, `keys`, `credits`, `nodes`, `snapshots`, `subclouds`,
//! `tokens`, `why`.

use clap::Args;
use resultity_client::GateClient;
use resultity_client::core::api::gate::{
    InEnvironment, LoginsApi, Namespace, NamespaceQuery, NamespacesApi, SignIn, SignInApi,
};
use resultity_client::core::environment::Environment;
use resultity_client::core::error::{ApiError, ErrorCode};

use crate::connection::ConnectionArguments;
use crate::output::Failure;

pub(crate) mod credits;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod namespaces;
mod node_logs;
mod node_trust;
pub(crate) mod nodes;
pub(crate) mod snapshots;
pub(crate) mod store;
pub(crate) mod subclouds;
pub(crate) mod tokens;
pub(crate) mod why;

/// What all of these commands take.
#[derive(Args, Clone)]
pub(crate) struct GateArguments {
    /// testnet or mainnet [default: what the session looks at]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) environment: Option<Environment>,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl GateArguments {
    pub(crate) fn within(&self) -> InEnvironment {
        InEnvironment {
            environment: self.environment,
        }
    }
}

/// Whether what came of asking says that the token does not count any more.
fn is_over<T>(answer: &Result<T, ApiError>) -> bool {
    matches!(answer, Err(error) if error.code == ErrorCode::NotSignedIn)
}

/// Where somebody is signed in.
pub(crate) struct Gate {
    pub(crate) client: GateClient,
    pub(crate) url: String,
    has_token: bool,
}

impl Gate {
    /// With the token that was given, or kept from signing in. At a `dev` that runs here it signs in by itself.
    pub(crate) async fn open(connection: &ConnectionArguments) -> Result<Self, Failure> {
        let place = connection.gate()?;
        let token = match place.token {
            Some(token) => Some(token),
            None => store::token(&place.url)?,
        };
        let gate = Self::with(connection, place.url.clone(), token.clone())?;
        let Some((email, password)) = place.dev else {
            return Ok(gate);
        };
        let counts = match &token {
            Some(_) => !is_over(&gate.client.session().await),
            None => false,
        };
        if counts {
            return Ok(gate);
        }
        let signed_in = gate.client.sign_in(SignIn::new(email, password)).await;
        let signed_in = signed_in.map_err(|error| gate.explain(error))?;
        store::keep(&place.url, signed_in.token.as_deref())?;
        Self::with(connection, place.url, signed_in.token)
    }

    /// For whoever has not signed in yet.
    pub(crate) fn door(connection: &ConnectionArguments) -> Result<Self, Failure> {
        Self::with(connection, connection.gate()?.url, None)
    }

    pub(crate) fn with(connection: &ConnectionArguments, url: String, token: Option<String>) -> Result<Self, Failure> {
        let mut builder = GateClient::builder()
            .base_url(url.as_str())
            .timeout(connection.timeout())
            .user_agent(concat!("resultity/", env!("CARGO_PKG_VERSION")));
        let has_token = token.is_some();
        if let Some(token) = token {
            builder = builder.api_key(token);
        }
        let client = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { client, url, has_token })
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn explain(&self, error: ApiError) -> Failure {
        let hint = match error.code {
            ErrorCode::NotSignedIn if self.has_token => "Sign in again with `resultity login`.".to_owned(),
            ErrorCode::NotSignedIn => "Sign in with `resultity login`, or give --token (RESULTITY_TOKEN).".to_owned(),
            ErrorCode::Connection => "Check --base-url, and that the server runs.".to_owned(),
            ErrorCode::SecondFactorRequired => {
                "Give the six digits of your authenticator, or a recovery code.".to_owned()
            }
            ErrorCode::RateLimitExceeded => match error.retry_after {
                Some(wait) => format!("Try again in {} s.", wait.as_secs().max(1)),
                None => return Failure::api(error, None),
            },
            ErrorCode::InvalidResponse => format!("Check --base-url: no Gate API answers at {}.", self.url),
            ErrorCode::Internal => match &error.request_id {
                Some(id) => format!("Try again in a moment; if it stays, tell the operator the request id {id}."),
                None => return Failure::api(error, None),
            },
            _ => return Failure::api(error, None),
        };
        Failure::api(error, Some(hint))
    }

    /// The namespace with this name or id; the one named `default`, or the only one, if nothing is said.
    pub(crate) async fn namespace(
        &self,
        named: Option<&str>,
        environment: Option<Environment>,
    ) -> Result<Namespace, Failure> {
        let query = NamespaceQuery {
            environment,
            limit: Some(100),
            ..NamespaceQuery::default()
        };
        let page = self
            .client
            .namespaces(query)
            .await
            .map_err(|error| self.explain(error))?;
        let mut all = page.data;
        let wanted = named.unwrap_or("default");
        let found = all
            .iter()
            .position(|one| one.name == wanted || one.id.to_string() == wanted);
        match found {
            Some(place) => Ok(all.swap_remove(place)),
            None if named.is_none() && all.len() == 1 => Ok(all.swap_remove(0)),
            None if all.is_empty() => {
                Err(Failure::new("there is no namespace yet").hint("Make one: resultity namespaces create default"))
            }
            None => {
                let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
                Err(Failure::new(format!(
                    "there is no namespace {wanted:?}: there are {}",
                    names.join(", ")
                ))
                .hint("Name one with --namespace; `resultity namespaces` lists them."))
            }
        }
    }
}
