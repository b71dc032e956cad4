//! What everybody sees.

use resultity_core::environment::Environment;
use resultity_server::assemble::Offer;

use crate::browser::Browser;
use crate::harness::{TestServer, model};

const PAGES: [&str; 9] = [
    "/status",
    "/status/models",
    "/status/regions",
    "/status/prices",
    "/status/config",
    "/space",
    "/account/sign-in",
    "/account/sign-up",
    "/account/reset",
];

#[tokio::test]
async fn pages_are_small_and_let_nothing_in_from_elsewhere() {
    let server = TestServer::start().await;
    let mut browser = Browser::new(server.base_url());
    assert_eq!(browser.get("/").await.to.as_deref(), Some("/status"));
    for path in PAGES {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.len() < 100_000 && !page.heading().is_empty(), "{path}");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert!(
            !page.text.contains(" style=") && !page.text.contains("<style"),
            "{path}"
        );
        assert!(
            !page.text.contains(" onclick") && !page.text.contains("<script>"),
            "{path}"
        );
        for outside in ["http://", "https://"] {
            assert!(
                !page.text.contains(outside),
                "{path} names another host:\n{}",
                page.text
            );
        }
    }
}

#[tokio::test]
async fn what_pages_ask_for_is_there_and_stays() {
    let server = TestServer::start().await;
    let mut browser = Browser::new(server.base_url());
    let page = browser.get("/status").await;
    let files: Vec<&str> = page
        .text
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = browser.get(file).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(
            answer.headers["cache-control"].to_str().unwrap().contains("immutable"),
            "{file}"
        );
    }
    assert_eq!(browser.get("/assets/x-style.css").await.status, 404);
}

#[tokio::test]
async fn each_page_says_which_environment_it_shows() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options
            .networks
            .push((Environment::Mainnet, Offer::new(vec![model("other")])));
    })
    .await;
    let mut browser = Browser::new(server.base_url());
    let testnet = browser.get("/status/models").await;
    testnet.assert_says("data-environment=\"testnet\"");
    testnet.assert_says("credits here are worth nothing");
    testnet.assert_says("<code>m</code>");
    let mainnet = browser.get("/status/models?environment=mainnet").await;
    mainnet.assert_says("data-environment=\"mainnet\"");
    mainnet.assert_says("<code>other</code>");
    assert!(!mainnet.text.contains("worth nothing"));
    // The way on stays in the environment.
    mainnet.assert_says("/status/prices?environment=mainnet");
}

#[tokio::test]
async fn light_and_dark_are_remembered_without_a_script() {
    let server = TestServer::start().await;
    let mut browser = Browser::new(server.base_url());
    let page = browser.get("/status/prices").await;
    page.assert_says("data-theme=\"auto\"");
    let sent = browser
        .submit(&page, "/theme", &[("theme", "dark"), ("back", "/status/prices")])
        .await;
    assert_eq!((sent.status, sent.to.as_deref()), (303, Some("/status/prices")));
    browser.get("/status/prices").await.assert_says("data-theme=\"dark\"");
    // Nobody is sent to another host.
    let sent = browser
        .submit(&page, "/theme", &[("theme", "dark"), ("back", "//evil.example")])
        .await;
    assert_eq!(sent.to.as_deref(), Some("/"));
}
