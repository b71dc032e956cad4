//! What is to be known of each route: its body, and where a rule does not hold for it.

use reqwest::Method;
use serde_json::{Value, json};

/// Asked by whoever has not signed in, or nothing of anybody.
const PUBLIC: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /io/v1/ws",
    "GET /io/v1/config",
    "GET /io/v1/keys",
    "GET /io/v1/ping",
    "POST /io/v1/join",
    // Signed by the node itself.
    "POST /io/v1/nodes",
    "POST /io/v1/heartbeat",
    "POST /io/v1/results",
    "GET /io/v1/nodes/{id}",
    "GET /status/v1/network",
    "GET /status/v1/models",
    "GET /status/v1/regions",
    "GET /status/v1/versions",
    "GET /status/v1/pricing",
    "GET /status/v1/config",
    "GET /status/v1/epochs",
    "GET /status/v1/events",
    "POST /gate/v1/sign-up",
    "POST /gate/v1/sign-up/confirm",
    "POST /gate/v1/sign-in",
    "POST /gate/v1/password/reset",
    "POST /gate/v1/password/reset/confirm",
    "POST /gate/v1/wallet/challenge",
    "POST /gate/v1/wallet/sign-in",
    // Signed by the provider of payments instead.
    "POST /gate/v1/payments",
    // Not built: 501 to everybody.
    "POST /v1/images/{rest}",
    "POST /v1/audio/{rest}",
    "POST /v1/moderations",
];

/// Whatever its scopes, a token may see what it is, and end itself.
const FOR_ANY_TOKEN: &[&str] = &["GET /gate/v1/session", "DELETE /gate/v1/session"];

/// What their paths name is everybody's.
const OF_EVERYBODY: &[&str] = &[
    "GET /v1/models/{id}",
    // Whoever wants to join it sees it.
    "GET /gate/v1/subclouds/{subcloud}",
];

/// What their paths name counts in every environment.
const IN_EVERY_ENVIRONMENT: &[&str] = &[
    "DELETE /gate/v1/sessions/{session}",
    "DELETE /gate/v1/tokens/{token}",
    "DELETE /gate/v1/account/wallets/{address}",
    "GET /gate/v1/admin/accounts/{account}",
    "POST /gate/v1/admin/accounts/{account}",
    // Models and versions have the same names in both; which one is meant is in the body or the query.
    "GET /gate/v1/admin/snapshots/{version}",
    "POST /gate/v1/admin/models/{model}/deprecate",
    "POST /gate/v1/admin/models/{model}/price",
];

/// The id says which environment it is, and nothing else does.
const WITHOUT_QUERY: &[&str] = &["POST /gate/v1/admin/appeals/{penalty}"];

/// Paths that take `environment` in their query, and name nothing that has one.
const TAKE_ENVIRONMENT: &[&str] = &[
    "GET /gate/v1/namespaces",
    "GET /gate/v1/keys",
    "GET /gate/v1/credits",
    "GET /gate/v1/usage",
    "GET /gate/v1/activity",
    "GET /gate/v1/rewards",
    "GET /gate/v1/nodes",
    "GET /gate/v1/subclouds",
    "GET /gate/v1/config",
    "GET /gate/v1/admin/snapshots",
    "GET /gate/v1/admin/nodes",
    "GET /gate/v1/admin/jobs/{job}/why",
    "GET /gate/v1/admin/queue",
];

/// Bodies that name their environment, for testnet.
const WITH_ENVIRONMENT: &[&str] = &[
    "POST /gate/v1/namespaces",
    "POST /gate/v1/keys",
    "POST /gate/v1/nodes/codes",
    "POST /gate/v1/subclouds",
];

/// What is sent where a body is needed for the rest to be looked at.
fn bodies() -> Vec<(&'static str, Value)> {
    let nobody = "00000000-0000-7000-8000-000000000000";
    let price = json!({"input_per_million": 1, "output_per_million": 1, "per_request": 1});
    vec![
        (
            "POST /gate/v1/namespaces",
            json!({"name": "another", "environment": "testnet"}),
        ),
        ("POST /gate/v1/namespaces/{namespace}", json!({"name": "renamed"})),
        ("POST /gate/v1/namespaces/{namespace}/alert", json!({"below": "1"})),
        (
            "POST /gate/v1/keys",
            json!({"label": "another", "environment": "testnet"}),
        ),
        ("POST /gate/v1/keys/{key}", json!({"label": "renamed"})),
        ("POST /gate/v1/keys/{key}/rotate", json!({})),
        (
            "POST /gate/v1/transfers",
            json!({"from": nobody, "to": nobody, "amount": "1"}),
        ),
        ("POST /gate/v1/faucet", json!({"namespace": nobody})),
        (
            "POST /gate/v1/vouchers/redeem",
            json!({"code": "none", "namespace": nobody}),
        ),
        ("POST /gate/v1/nodes/codes", json!({"environment": "testnet"})),
        (
            "POST /gate/v1/nodes/bind/challenge",
            json!({"node": format!("0x{}", "11".repeat(20))}),
        ),
        ("POST /gate/v1/nodes/bind", json!({"message": "m", "signature": "s"})),
        ("POST /gate/v1/nodes/{node}", json!({"name": "renamed"})),
        ("POST /gate/v1/nodes/{node}/control", json!({"action": "pause"})),
        ("POST /gate/v1/nodes/{node}/payout", json!({"namespace": nobody})),
        (
            "POST /gate/v1/nodes/{node}/penalties/{penalty}/appeal",
            json!({"text": "It is not so."}),
        ),
        (
            "POST /gate/v1/subclouds",
            json!({"name": "another", "environment": "testnet"}),
        ),
        (
            "POST /gate/v1/subclouds/{subcloud}",
            json!({"description": "another one"}),
        ),
        ("POST /gate/v1/nodes/{node}/subclouds", json!({"subcloud": "own"})),
        ("POST /gate/v1/session", json!({"environment": "testnet"})),
        ("POST /gate/v1/account", json!({"name": "renamed"})),
        (
            "POST /gate/v1/account/password",
            json!({"current_password": "a b c d e f", "password": "g h i j k l"}),
        ),
        (
            "POST /gate/v1/account/email",
            json!({"email": "other@example.org", "password": "a b c d e f"}),
        ),
        (
            "POST /gate/v1/account/email/confirm",
            json!({"ticket": "t", "code": "1"}),
        ),
        (
            "POST /gate/v1/account/wallets/challenge",
            json!({"address": format!("0x{}", "11".repeat(20))}),
        ),
        (
            "POST /gate/v1/account/wallets",
            json!({"message": "m", "signature": "s"}),
        ),
        ("POST /gate/v1/account/totp/confirm", json!({"code": "123456"})),
        ("DELETE /gate/v1/account/totp", json!({"totp": "123456"})),
        ("POST /gate/v1/account/recovery-codes", json!({"totp": "123456"})),
        ("POST /gate/v1/account/plan", json!({"plan": "none"})),
        ("POST /gate/v1/tokens", json!({"name": "t", "scopes": ["read"]})),
        ("POST /gate/v1/notifications/read", json!({})),
        (
            "POST /gate/v1/admin/credits",
            json!({"namespace": nobody, "credits": "1", "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/corrections",
            json!({"namespace": nobody, "amount": "1", "reason": "r"}),
        ),
        ("POST /gate/v1/admin/vouchers", json!({"credits": "1", "reason": "r"})),
        (
            "POST /gate/v1/admin/accounts/{account}",
            json!({"suspended": true, "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/accounts/{account}/plan",
            json!({"plan": "none", "reason": "r"}),
        ),
        ("POST /gate/v1/admin/plans", json!({"name": "p", "reason": "r"})),
        (
            "POST /gate/v1/admin/intake",
            json!({"environment": "testnet", "stopped": true, "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/nodes/{node}/flags",
            json!({"flag": "pause", "reason": "r"}),
        ),
        ("POST /gate/v1/admin/nodes/{node}/penalties", json!({"reason": "r"})),
        (
            "POST /gate/v1/admin/pseudonyms",
            json!({"pseudonym": format!("0x{}", "11".repeat(32)), "environment": "testnet", "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/appeals/{penalty}",
            json!({"decision": "lift", "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/snapshots/rollback",
            json!({"version": 1, "reason": "r"}),
        ),
        ("POST /gate/v1/admin/snapshots/diff", json!({"from": 1, "to": 1})),
        ("POST /gate/v1/admin/models/{model}/deprecate", json!({"reason": "r"})),
        (
            "POST /gate/v1/admin/models/{model}/price",
            json!({"price": price, "reason": "r"}),
        ),
        (
            "POST /gate/v1/admin/network-key/rotate",
            json!({"current": format!("0x{}", "11".repeat(20)), "reason": "r"}),
        ),
        ("POST /v1/jobs/{job}/feedback", json!({"rating": "up"})),
        ("POST /v1/webhooks/{webhook}", json!({"description": "renamed"})),
    ]
}

/// A route of the document.
#[derive(Debug, Clone)]
pub struct Route {
    method: Method,
    pub path: String,
    pub needs_credential: bool,
    body: Option<Value>,
}

impl Route {
    pub fn new(method: &str, path: &str, needs_credential: bool) -> Self {
        let method: Method = method.to_uppercase().parse().unwrap();
        let name = format!("{method} {path}");
        let body = bodies()
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, body)| body);
        Self {
            method,
            path: path.to_owned(),
            needs_credential,
            body,
        }
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn method(&self) -> Method {
        self.method.clone()
    }

    pub fn body(&self) -> Option<Value> {
        self.body.clone()
    }

    fn is_in(&self, list: &[&str]) -> bool {
        list.contains(&self.name().as_str())
    }

    pub fn is_public(&self) -> bool {
        self.is_in(PUBLIC)
    }

    pub fn is_gate(&self) -> bool {
        self.path.starts_with("/gate/")
    }

    pub fn is_administration(&self) -> bool {
        self.path.starts_with("/gate/v1/admin/")
    }

    pub fn is_for_any_token(&self) -> bool {
        self.is_in(FOR_ANY_TOKEN)
    }

    pub fn is_of_everybody(&self) -> bool {
        self.is_in(OF_EVERYBODY)
    }

    pub fn is_in_every_environment(&self) -> bool {
        self.is_in(IN_EVERY_ENVIRONMENT) || self.path.contains("/plan")
    }

    pub fn takes_environment(&self) -> bool {
        self.is_in(TAKE_ENVIRONMENT) || self.is_in(WITH_ENVIRONMENT)
    }

    pub fn is_of_one_environment(&self) -> bool {
        self.has_parameters() || self.takes_environment()
    }

    pub fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }

    pub fn takes_query(&self) -> bool {
        !self.is_in(WITHOUT_QUERY)
    }

    /// What has to stand in its query beside the environment.
    pub fn query(&self) -> &'static str {
        if self.name() == "DELETE /gate/v1/admin/nodes/{node}/flags/{flag}" {
            "reason=r"
        } else {
            ""
        }
    }

    /// With something in the place of its parameters that nobody has.
    pub fn any_path(&self) -> String {
        self.path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "none" } else { segment })
            .collect::<Vec<_>>()
            .join("/")
    }

    /// The same route asked of testnet by name.
    pub fn in_testnet(&self, path: &str) -> (String, Self) {
        if self.is_in(WITH_ENVIRONMENT) {
            return (path.to_owned(), self.clone());
        }
        (format!("{path}?environment=testnet"), self.clone())
    }
}

/// All routes that this table names.
pub fn named() -> Vec<&'static str> {
    let lists = [
        PUBLIC,
        FOR_ANY_TOKEN,
        OF_EVERYBODY,
        IN_EVERY_ENVIRONMENT,
        WITHOUT_QUERY,
        TAKE_ENVIRONMENT,
        WITH_ENVIRONMENT,
    ];
    let bodies = bodies().into_iter().map(|(name, _)| name);
    lists.into_iter().flatten().copied().chain(bodies).collect()
}
