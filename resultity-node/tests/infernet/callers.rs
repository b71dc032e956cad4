//! Whose jobs are whose. The caller is an address, and nothing that a request says makes it another one, unless a configured
//! proxy says it.

use std::net::IpAddr;

use reqwest::{Method, RequestBuilder};
use resultity_core::testing::node::{CLOSED, ECHO, SLOW};
use resultity_node::infernet::node::Parts;
use serde_json::{Value, json};

use crate::harness::{Asker, CALLER, Containers, OTHER, Served};

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What the node says to somebody who is not allowed: which address it sees.
fn refused(address: IpAddr) -> (u16, Value) {
    let params = json!({"container": CLOSED, "address": address.to_string()});
    (
        405,
        json!({"error": "Container not allowed for address", "params": params}),
    )
}

#[tokio::test]
async fn nobody_sees_the_jobs_of_another() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let served = Served::start(&containers).await;
    let one = Asker::new(served.address(), CALLER);
    let two = Asker::new(served.address(), OTHER);
    let done = one.begin(&[ECHO], json!({"secret": 1})).await;
    one.output(&done).await;
    let running = one.begin(&[SLOW], json!({"gate": "mine"})).await;
    let (streamed, mut response) = one.begin_stream(&[ECHO], json!({"secret": 2})).await;
    while let Ok(Some(_)) = response.chunk().await {}
    one.ended(&streamed).await;
    let registered = json!({"id": "mine too", "status": "success", "containers": [ECHO]});
    assert_eq!(
        answer(one.request(Method::PUT, "/api/status").json(&registered)).await,
        (200, json!(null))
    );

    for id in [&done, &running, &streamed, "mine too"] {
        for path in [
            format!("/api/jobs?id={id}"),
            format!("/api/jobs?id={id}&intermediate=true"),
            format!("/api/jobs?id=127.0.0.1:{id}"),
            format!("/api/jobs?id={id}&ip=127.0.0.1"),
        ] {
            assert_eq!(two.get(&path).await, json!([]), "{path}");
        }
    }
    for path in ["/api/jobs", "/api/jobs?pending=true", "/api/jobs?pending=false"] {
        assert_eq!(two.get(path).await, json!([]), "{path}");
    }
    // Nor can another end them, or take their ids: what the node ran is final for everybody.
    for id in [&done, &running, &streamed] {
        let update = json!({"id": id, "status": "failed", "containers": []});
        let (status, _) = answer(two.request(Method::PUT, "/api/status").json(&update)).await;
        assert_eq!(status, 400);
    }
    // A registered job is only the caller's own.
    let update = json!({"id": "mine too", "status": "failed", "containers": []});
    assert_eq!(
        answer(two.request(Method::PUT, "/api/status").json(&update)).await.0,
        200
    );
    assert_eq!(one.job("mine too").await["status"], "success");
    assert_eq!(two.job("mine too").await["status"], "failed");
    assert_eq!(one.job(&running).await["status"], "running");
    containers.open("mine").await;
    one.output(&running).await;
}

#[tokio::test]
async fn what_a_body_says_of_id_and_address_is_ignored() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let served = Served::start(&containers).await;
    let asker = Asker::new(served.address(), CALLER);
    let job = |containers: &[&str]| json!({"id": "spoofed", "ip": "10.0.0.1", "type": "job", "containers": containers, "data": {}});
    let (status, body) = answer(asker.request(Method::POST, "/api/jobs").json(&job(&[ECHO]))).await;
    assert_eq!(status, 200);
    let id = body["id"].as_str().unwrap();
    assert_ne!(id, "spoofed");
    assert_eq!(asker.output(id).await["data"], json!({}));
    assert_eq!(asker.get("/api/jobs").await, json!([id]));

    let posted = asker.request(Method::POST, "/api/jobs").json(&job(&[CLOSED]));
    assert_eq!(answer(posted).await, refused(CALLER));
    let batch = asker
        .request(Method::POST, "/api/jobs/batch")
        .json(&json!([job(&[CLOSED])]));
    assert_eq!(answer(batch).await, (200, json!([refused(CALLER).1])));
    let stream = asker.request(Method::POST, "/api/jobs/stream").json(&job(&[CLOSED]));
    assert_eq!(answer(stream).await, refused(CALLER));
}

#[tokio::test]
async fn only_a_configured_proxy_says_who_asks() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let proxies = |config: &mut Value| config["resultity"]["trusted_proxies"] = json!(["127.0.0.2"]);
    let served = Served::with(&containers, proxies, Parts::default()).await;
    let direct = Asker::new(served.address(), CALLER);
    let proxy = Asker::new(served.address(), OTHER);
    let ask = |asker: &Asker, forwarded: &str| {
        let body = json!({"containers": [CLOSED], "data": {"n": 1}});
        let request = asker.request(Method::POST, "/api/jobs").json(&body);
        request.header("x-forwarded-for", forwarded)
    };
    for headers in ["10.1.2.3", "10.1.2.3, 127.0.0.2", "nonsense"] {
        assert_eq!(answer(ask(&direct, headers)).await, refused(CALLER), "{headers}");
    }
    let far: IpAddr = "203.0.113.9".parse().unwrap();
    assert_eq!(answer(ask(&proxy, "203.0.113.9")).await, refused(far));
    assert_eq!(
        answer(ask(&proxy, "10.1.2.3, 203.0.113.9")).await,
        refused(far),
        "what is claimed before it"
    );
    assert_eq!(answer(ask(&proxy, "nonsense")).await.0, 400);
    let (status, body) = answer(ask(&proxy, "10.1.2.3")).await;
    assert_eq!(status, 200);
    let list = |forwarded: &str| {
        let request = proxy.request(Method::GET, "/api/jobs");
        request.header("x-forwarded-for", forwarded)
    };
    assert_eq!(answer(list("10.1.2.3")).await, (200, json!([body["id"]])));
    assert_eq!(answer(list("10.1.2.4")).await, (200, json!([])));
    assert_eq!(direct.get("/api/jobs").await, json!([]));
}

#[tokio::test]
async fn only_this_machine_registers_jobs() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let networks = |config: &mut Value| {
        config["resultity"]["trusted_proxies"] = json!(["127.0.0.2"]);
        config["resultity"]["status_networks"] = json!(["10.0.0.0/8"]);
    };
    let served = Served::with(&containers, networks, Parts::default()).await;
    let direct = Asker::new(served.address(), CALLER);
    let proxy = Asker::new(served.address(), OTHER);
    let update = |asker: &Asker, forwarded: Option<&str>| {
        let body = json!({"id": "x", "status": "running", "containers": []});
        let request = asker.request(Method::PUT, "/api/status").json(&body);
        match forwarded {
            Some(address) => request.header("x-forwarded-for", address),
            None => request,
        }
    };
    assert_eq!(answer(update(&direct, None)).await, (200, json!(null)));
    assert_eq!(answer(update(&proxy, None)).await, (200, json!(null)));
    assert_eq!(answer(update(&proxy, Some("10.9.9.9"))).await, (200, json!(null)));
    let unauthorized = (403, json!({"error": "Unauthorized"}));
    assert_eq!(answer(update(&proxy, Some("203.0.113.9"))).await, unauthorized);
    // A proxy that nobody configured: whom it speaks for is not known.
    assert_eq!(answer(update(&direct, Some("10.9.9.9"))).await, unauthorized);
    // Who may not ask learns nothing of what is wrong with the body.
    let request = proxy
        .request(Method::PUT, "/api/status")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answer(request.body("{")).await, unauthorized);
}
