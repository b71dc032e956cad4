//! Who may ask what: every route of the OpenAPI document, which is held to the table of routes, is asked without a
//! credential, in the wrong role, for somebody else's object and in the wrong environment. A route that this test knows
//! nothing of fails it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "the modules of this test are for it alone")]

#[path = "../harness/mod.rs"]
mod harness;

mod fixture;
mod table;

use std::collections::BTreeSet;

use harness::{TestServer, model, soon};
use resultity_core::environment::Environment;
use resultity_server::assemble::Offer;
use secrecy::ExposeSecret;
use serde_json::Value;

use fixture::Fixture;
use table::Route;

/// Both environments, so that there is a wrong one.
async fn server() -> TestServer {
    let offer = Offer::new(vec![model("m")]);
    TestServer::with_options(offer.clone(), |options| {
        options.networks.push((Environment::Mainnet, offer));
    })
    .await
}

/// Asks, and gives the status with what was said.
struct Asker {
    http: reqwest::Client,
    base: String,
}

impl Asker {
    fn new(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: server.base_url(),
        }
    }

    async fn ask(&self, route: &Route, path: &str, bearer: Option<&str>) -> (u16, String) {
        let mut request = self.http.request(route.method(), format!("{}{path}", self.base));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(body) = route.body() {
            request = request.json(&body);
        }
        let answer = soon("an answer", request.send()).await.unwrap();
        let status = answer.status().as_u16();
        // An event stream has no end.
        let text = if status < 300 {
            String::new()
        } else {
            answer.text().await.unwrap()
        };
        (status, text)
    }
}

async fn routes(server: &TestServer) -> Vec<Route> {
    let text = reqwest::get(format!("{}/openapi.json", server.base_url()))
        .await
        .unwrap();
    let document: Value = text.json().await.unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            routes.push(Route::new(method, path, !security.is_empty()));
        }
    }
    assert!(routes.len() > 120, "{}", routes.len());
    routes
}

/// What did not go as it should, all at once.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, what: &str, route: &Route, path: &str, answer: (u16, String), wanted: u16) {
        if answer.0 != wanted {
            let said: String = answer.1.chars().take(160).collect();
            self.0.push(format!(
                "{what}: {} {path} gives {}, not {wanted}: {said}",
                route.name(),
                answer.0
            ));
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} findings:\n{}", self.0.len(), self.0.join("\n"));
    }
}

#[tokio::test]
async fn nothing_is_public_but_what_is_listed() {
    let server = server().await;
    let asker = Asker::new(&server);
    let mut findings = Findings::default();
    for route in routes(&server).await {
        if route.is_public() == route.needs_credential {
            findings.0.push(format!(
                "{} is public in the document or here, but not in both",
                route.name()
            ));
        }
        if route.is_public() {
            continue;
        }
        let path = route.any_path();
        let wrong: [Option<&str>; 4] = [None, Some(""), Some("rs_nobody"), Some("rt_nobody")];
        for bearer in wrong {
            let answer = asker.ask(&route, &path, bearer).await;
            findings.expect("without a credential", &route, &path, answer, 401);
        }
        // A key of one surface is none of another.
        let other = if route.is_gate() {
            server.api_key.expose_secret()
        } else {
            "admin"
        };
        let answer = asker.ask(&route, &path, Some(other)).await;
        findings.expect("with the other surface's credential", &route, &path, answer, 401);
    }
    findings.none();
}

#[tokio::test]
async fn administration_is_for_administrators() {
    let server = server().await;
    let asker = Asker::new(&server);
    let fixture = Fixture::new(&server).await;
    let mut findings = Findings::default();
    for route in routes(&server).await.into_iter().filter(Route::is_administration) {
        let path = fixture.path(&route);
        let answer = asker.ask(&route, &path, Some(&fixture.owner)).await;
        findings.expect("as a user", &route, &path, answer, 403);
        let answer = asker
            .ask(&route, &path, Some(&fixture.administrator_without_scope))
            .await;
        findings.expect(
            "as an administrator's token without the scope",
            &route,
            &path,
            answer,
            403,
        );
        let answer = asker.ask(&route, &path, Some(&fixture.demoted)).await;
        findings.expect(
            "with a token of somebody who was an administrator",
            &route,
            &path,
            answer,
            403,
        );
    }
    findings.none();
}

#[tokio::test]
async fn a_token_may_do_what_its_scopes_say() {
    let server = server().await;
    let asker = Asker::new(&server);
    let fixture = Fixture::new(&server).await;
    let mut findings = Findings::default();
    let gate = |route: &Route| route.is_gate() && !route.is_public() && !route.is_administration();
    for route in routes(&server).await.into_iter().filter(gate) {
        if route.is_for_any_token() {
            continue;
        }
        let path = fixture.path(&route);
        // Of two tokens that have no scope in common, one has not the right one.
        let (keys, nodes) = (&fixture.only_keys, &fixture.only_nodes);
        let with_keys = asker.ask(&route, &path, Some(keys)).await;
        if with_keys.0 != 403 {
            let answer = asker.ask(&route, &path, Some(nodes)).await;
            findings.expect("with a token of another scope", &route, &path, answer, 403);
        }
        if route.method() != reqwest::Method::GET {
            let answer = asker.ask(&route, &path, Some(&fixture.reader)).await;
            findings.expect("with a token that may only read", &route, &path, answer, 403);
        }
    }
    findings.none();
}

#[tokio::test]
async fn objects_of_others_are_not_found() {
    let server = server().await;
    let asker = Asker::new(&server);
    let fixture = Fixture::new(&server).await;
    let mut findings = Findings::default();
    let owned = |route: &Route| route.has_parameters() && !route.is_public() && !route.is_administration();
    for route in routes(&server).await.into_iter().filter(owned) {
        let path = fixture.path(&route);
        if route.is_of_everybody() {
            continue;
        }
        let other = if route.is_gate() {
            &fixture.stranger
        } else {
            &fixture.strange_key
        };
        let answer = asker.ask(&route, &path, Some(other)).await;
        findings.expect("as somebody else", &route, &path, answer, 404);
    }
    // Objects that stand in bodies.
    for (route, body) in fixture.foreign_bodies() {
        let request = asker
            .http
            .post(format!("{}{route}", asker.base))
            .bearer_auth(&fixture.stranger);
        let answer = soon("an answer", request.json(&body).send()).await.unwrap();
        if answer.status().as_u16() != 404 {
            let (status, said) = (answer.status(), answer.text().await.unwrap());
            findings.0.push(format!("{route} with {body} gives {status}: {said}"));
        }
    }
    findings.none();
}

#[tokio::test]
async fn objects_of_the_other_environment_are_not_found() {
    let server = server().await;
    let asker = Asker::new(&server);
    let fixture = Fixture::new(&server).await;
    let mut findings = Findings::default();
    let bound = |route: &Route| !route.is_public() && route.is_of_one_environment();
    for route in routes(&server).await.into_iter().filter(bound) {
        let path = fixture.path(&route);
        if !route.is_gate() {
            if route.has_parameters() && !route.is_of_everybody() {
                let answer = asker.ask(&route, &path, Some(&fixture.mainnet_key)).await;
                findings.expect("with a key of mainnet", &route, &path, answer, 404);
            }
            continue;
        }
        let (whole, only_mainnet) = if route.is_administration() {
            (&fixture.administrator, &fixture.administrator_in_mainnet)
        } else {
            (&fixture.owner, &fixture.owner_in_mainnet)
        };
        if route.has_parameters() && !route.is_in_every_environment() {
            let without = format!("{path}?{}", route.query());
            let answer = asker.ask(&route, &without, Some(only_mainnet)).await;
            findings.expect("with a token for mainnet", &route, &without, answer, 404);
            if route.takes_query() {
                let path = format!("{path}?environment=mainnet&{}", route.query());
                let answer = asker.ask(&route, &path, Some(whole)).await;
                findings.expect("in mainnet", &route, &path, answer, 404);
            }
        }
        if route.takes_environment() {
            let (path, route) = route.in_testnet(&path);
            let answer = asker.ask(&route, &path, Some(only_mainnet)).await;
            findings.expect("testnet with a token for mainnet", &route, &path, answer, 404);
        }
    }
    findings.none();
}

/// The bodies and exceptions are for routes that there are.
#[tokio::test]
async fn the_table_names_no_route_that_is_gone() {
    let server = server().await;
    let there: BTreeSet<String> = routes(&server).await.iter().map(Route::name).collect();
    let gone: Vec<_> = table::named()
        .into_iter()
        .filter(|name| !there.contains(*name))
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}
