//! The Account Portal: coming in, and what only the own pages may send.

use reqwest::header::SET_COOKIE;
use resultity_core::environment::Environment;
use resultity_server::assemble::Offer;
use tempfile::TempDir;

use crate::browser::Browser;
use crate::harness::gate::Outbox;
use crate::harness::{TestServer, model};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

type Sent<'a> = &'a [(&'a str, &'a str)];
type Headers<'a> = &'a [(&'static str, &'a str)];

struct World {
    server: TestServer,
    outbox: Outbox,
    _letters: TempDir,
}

impl World {
    async fn new() -> Self {
        let letters = tempfile::tempdir().unwrap();
        let (outbox, mail) = Outbox::options(letters.path());
        let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
            options.gate.mail = mail;
            options
                .networks
                .push((Environment::Mainnet, Offer::new(vec![model("m")])));
        })
        .await;
        Self {
            server,
            outbox,
            _letters: letters,
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.server.base_url())
    }

    /// A browser in which somebody has just signed up.
    async fn signed_up(&self) -> Browser {
        let mut browser = self.browser();
        let page = browser.get("/account/sign-up").await;
        let fields = [("email", EMAIL), ("password", PASSWORD)];
        let asked = browser.submit(&page, "/account/sign-up", &fields).await;
        assert_eq!(
            (asked.status, asked.heading()),
            (200, "Look into your mail"),
            "{}",
            asked.text
        );
        let ticket = asked.hidden("ticket").unwrap();
        let code = self.outbox.code(EMAIL, 0).await;
        let confirmed = browser
            .submit(
                &asked,
                "/account/sign-up/confirm",
                &[("ticket", &ticket), ("code", &code)],
            )
            .await;
        assert_eq!(
            (confirmed.status, confirmed.to.as_deref()),
            (303, Some("/account")),
            "{}",
            confirmed.text
        );
        browser
    }
}

#[tokio::test]
async fn somebody_signs_up_out_and_in_again() {
    let world = World::new().await;
    let mut browser = world.signed_up().await;
    let page = browser.get("/account").await;
    page.assert_says(EMAIL);
    let out = browser.submit(&page, "/account/sign-out", &[]).await;
    assert_eq!(out.to.as_deref(), Some("/status"), "{}", out.text);
    browser.get("/status").await.assert_says("You are signed out.");
    // It is said once.
    assert!(!browser.get("/status").await.text.contains("You are signed out."));

    let away = browser.get("/account/sessions").await;
    let door = "/account/sign-in?next=%2Faccount%2Fsessions";
    assert_eq!((away.status, away.to.as_deref()), (303, Some(door)));
    let page = browser.get(door).await;
    let next = page.hidden("next").unwrap();
    let wrong = browser
        .submit(
            &page,
            "/account/sign-in",
            &[("next", &next), ("email", EMAIL), ("password", "not the password")],
        )
        .await;
    assert_eq!(wrong.status, 401);
    wrong.assert_says("role=\"alert\"");
    wrong.assert_says(EMAIL);
    assert!(!wrong.text.contains("not the password"), "a password is shown again");
    let right = browser
        .submit(
            &wrong,
            "/account/sign-in",
            &[("next", &next), ("email", EMAIL), ("password", PASSWORD)],
        )
        .await;
    assert_eq!((right.status, right.to.as_deref()), (303, Some("/account/sessions")));
    let cookie = right.headers[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    browser.get("/account/sessions").await.assert_says("this one");
}

#[tokio::test]
async fn only_an_own_page_sends_forms() {
    let world = World::new().await;
    let mut browser = world.signed_up().await;
    let page = browser.get("/account").await;
    let csrf = page.hidden("csrf").unwrap();
    let name = [("name", "Mallory")];
    let good = [("name", "Ada"), ("csrf", &*csrf)];
    let own = browser.host().to_owned();
    let (own_origin, other_port) = (format!("http://{own}"), format!("http://{own}1"));
    let cases: [(Sent<'_>, Headers<'_>, u16); 7] = [
        (&name, &[], 403),
        (&[("name", "Mallory"), ("csrf", "0")], &[], 403),
        (&good, &[("origin", "https://evil.example")], 403),
        (&good, &[("origin", &other_port)], 403),
        (&good, &[("origin", "null")], 403),
        (&good, &[("sec-fetch-site", "cross-site")], 403),
        (
            &good,
            &[("origin", &own_origin), ("sec-fetch-site", "same-origin")],
            303,
        ),
    ];
    for (fields, headers, status) in cases {
        let sent = browser.post_with("/account/name", fields, headers).await;
        assert_eq!(sent.status, status, "{fields:?} {headers:?}: {}", sent.text);
    }
    browser.get("/account").await.assert_says("value=\"Ada\"");
}

#[tokio::test]
async fn a_session_looks_at_the_other_environment_on_every_page() {
    let world = World::new().await;
    let mut browser = world.signed_up().await;
    let page = browser.get("/account/activity").await;
    page.assert_says("data-environment=\"testnet\"");
    let fields = [("environment", "mainnet"), ("back", "/account/activity?after=x")];
    let switched = browser.submit(&page, "/account/environment", &fields).await;
    assert_eq!(
        (switched.status, switched.to.as_deref()),
        (303, Some("/account/activity"))
    );
    for path in ["/account/activity", "/status", "/account"] {
        browser.get(path).await.assert_says("data-environment=\"mainnet\"");
    }
    let wrong = browser
        .submit(&page, "/account/environment", &[("environment", "moonnet")])
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
}

#[tokio::test]
async fn a_token_is_shown_once_and_deleted() {
    let world = World::new().await;
    let mut browser = world.signed_up().await;
    let page = browser.get("/account/tokens").await;
    let refused = browser
        .submit(&page, "/account/tokens", &[("name", ""), ("scope", "read")])
        .await;
    assert_eq!(refused.status, 400);
    refused.assert_says("aria-invalid=\"true\"");
    let fields = [
        ("name", "ci & <b>"),
        ("scope", "read"),
        ("scope", "keys"),
        ("days", "7"),
    ];
    let made = browser.submit(&page, "/account/tokens", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.assert_says("rt_");
    made.assert_says("ci &amp; &lt;b&gt;");
    let list = browser.get("/account/tokens").await;
    assert!(!list.text.contains("rt_"), "a secret is shown again");
    let token = list.hidden("token").unwrap();
    let deleted = browser
        .submit(&list, "/account/tokens/delete", &[("token", &token)])
        .await;
    assert_eq!(deleted.to.as_deref(), Some("/account/tokens"));
    browser.get("/account/tokens").await.assert_says("No access token yet");
    let gone = browser
        .submit(&list, "/account/tokens/delete", &[("token", &token)])
        .await;
    assert_eq!(gone.status, 404);
}
