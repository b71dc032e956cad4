//! The OpenAPI document, held against the server by schemathesis: no answer is a fault of ours, and none is one that the
//! document doesn't declare. It needs Python and a package index; where one is missing it says so and passes, unless
//! `RESULTITY_REQUIRE_SDKS` is set.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;
mod sdk;

use std::path::Path;
use std::time::Duration;

use harness::{TestServer, model};
use resultity_core::api::gate::Role;
use resultity_core::clock::SystemEntropy;
use resultity_core::environment::Environment;
use resultity_core::webhook::SigningSecret;
use resultity_server::assemble::Offer;
use resultity_server::mail::MailOptions;
use secrecy::ExposeSecret;

/// How long one run may take.
const LIMIT: Duration = Duration::from_mins(8);

/// How many requests are made up for each operation; more in the long run of CI.
const EXAMPLES_VARIABLE: &str = "RESULTITY_SCHEMATHESIS_EXAMPLES";
const EXAMPLES: &str = "8";

/// What would end the session that asks, and what has no end.
const LEFT_OUT: &[&str] = &[
    "/gate/v1/session",
    "/gate/v1/sessions",
    "/gate/v1/sessions/{session}",
    "/gate/v1/account/password",
    "/status/v1/events",
    "/io/v1/ws",
    // Not built: 501 by every method, on purpose.
    "/v1/audio/{rest}",
    "/v1/images/{rest}",
    "/v1/moderations",
];

/// With everything that a server can be told to have: without it, it rightly says that it has not.
async fn server(outbox: &Path) -> TestServer {
    let offer = Offer::new(vec![model("m")]);
    TestServer::with_options(offer.clone(), |options| {
        options.networks.push((Environment::Mainnet, offer));
        options.gate.mail = MailOptions::Directory(outbox.to_owned());
        options.gate.payment_secret = Some(SigningSecret::generate(&SystemEntropy));
    })
    .await
}

/// Runs it over the operations whose paths begin with this, as the holder of this token.
async fn run(server: &TestServer, tools: &sdk::packages::Tools, paths: &str, bearer: &str) {
    let examples = std::env::var(EXAMPLES_VARIABLE).unwrap_or_else(|_| EXAMPLES.into());
    let mut command = tools.schemathesis();
    command
        .arg("run")
        .arg(format!("{}/openapi.json", server.base_url()))
        .args(["--include-path-regex", paths])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance",
        ])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", &examples, "--seed", "1", "--workers", "1"])
        .args(["--request-timeout", "30", "--warnings", "off", "--no-color"])
        .args(["--suppress-health-check", "all"])
        .arg("--header")
        .arg(format!("Authorization: Bearer {bearer}"));
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    sdk::run(&mut command, LIMIT)
        .await
        .unwrap_or_else(|said| panic!("{}", said.replace(bearer, "[token]")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_the_document_declares() {
    let Some(tools) = sdk::or_leave_out(sdk::packages::tools().await) else {
        return;
    };
    let outbox = tempfile::tempdir().unwrap();
    let server = server(outbox.path()).await;
    let administrator = harness::gate::new_account(&server, "admin", Role::Admin).await;
    let administrator = harness::gate::sign_in(&server, administrator).await;
    run(&server, &tools, "^/status/", "nobody").await;
    run(&server, &tools, "^/gate/", &administrator).await;
    run(&server, &tools, "^/v1/", server.api_key.expose_secret()).await;
    let report = server.store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}
