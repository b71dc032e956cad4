//! How much is done at once, how much may wait, how often one may ask.

use std::collections::BTreeSet;

use reqwest::{Method, Response};
use resultity_core::testing::node::{ECHO, NOBODY, SLOW, UPPER};
use resultity_node::infernet::node::Parts;
use serde_json::{Value, json};

use crate::harness::{Asker, CALLER, Containers, OTHER, Served, until};

async fn served(containers: &Containers, change: impl FnOnce(&mut Value)) -> (Served, Asker) {
    let served = Served::with(containers, change, Parts::default()).await;
    let asker = Asker::new(served.address(), CALLER);
    (served, asker)
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value
        .unwrap_or_else(|| panic!("no {name}: {response:?}"))
        .to_str()
        .unwrap()
}

#[tokio::test]
async fn a_container_gets_as_many_calls_at_once_as_it_takes() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        config["resultity"]["max_running"] = json!(4);
        config["resultity"]["containers"] = json!({SLOW: {"max_concurrency": 2}});
    })
    .await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(asker.begin(&[SLOW], json!({"gate": format!("gate {number}")})).await);
    }
    containers.until_count(SLOW, "running", 2).await;
    // Whoever wants another container does not wait behind them.
    let quick = asker.begin(&[ECHO], json!({})).await;
    asker.output(&quick).await;
    assert_eq!(containers.count(SLOW, "running").await, 2);
    assert_eq!(asker.get("/info").await["pending"]["offchain"], 5);
    for (number, id) in ids.iter().enumerate() {
        // In the order in which they came.
        containers.until_count(SLOW, "running", (5 - number).min(2)).await;
        containers.open(&format!("gate {number}")).await;
        assert_eq!(asker.output(id).await, json!({"gate": format!("gate {number}")}));
    }
}

#[tokio::test]
async fn the_node_makes_as_many_calls_at_once_as_it_is_told() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| config["resultity"]["max_running"] = json!(2)).await;
    let slow = json!({"gate": "all"});
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(asker.begin(&[SLOW], slow.clone()).await);
    }
    containers.until_count(SLOW, "running", 2).await;
    let waiting = asker.begin(&[ECHO], json!({})).await;
    assert_eq!(asker.job(&waiting).await["status"], "running");
    assert_eq!(containers.calls().await.len(), 2);
    containers.open("all").await;
    for id in ids {
        asker.output(&id).await;
    }
    asker.output(&waiting).await;
}

#[tokio::test]
async fn a_full_queue_says_so_until_there_is_room() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| config["resultity"]["max_pending"] = json!(3)).await;
    let slow = || json!({"gate": "room"});
    let mut ids = vec![asker.begin(&[SLOW], slow()).await, asker.begin(&[SLOW], slow()).await];
    // Of a batch, what fits gets in; the rest is refused in its place.
    let entry = json!({"containers": [SLOW], "data": slow()});
    let refused = json!({"containers": [NOBODY], "data": {}});
    let batch = json!([refused, entry, entry, refused]);
    let answers: Vec<Value> = asker
        .request(Method::POST, "/api/jobs/batch")
        .json(&batch)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answers[0]["error"], "Container not supported");
    ids.push(answers[1]["id"].as_str().unwrap().to_owned());
    assert_eq!(
        answers[2],
        json!({"error": "Queue is full", "params": {"max_pending": 3}})
    );
    assert_eq!(answers[3]["error"], "Container not supported");

    let one = json!({"containers": [ECHO], "data": {}});
    for path in ["/api/jobs", "/api/jobs/stream"] {
        let response = asker.request(Method::POST, path).json(&one).send().await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(header(&response, "retry-after"), "1");
        assert_eq!(header(&response, "content-type"), "application/json");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body, json!({"error": "Queue is full", "params": {"max_pending": 3}}));
    }
    // A rule is a rule, with room or without.
    let response = asker
        .request(Method::POST, "/api/jobs")
        .json(&refused)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(asker.get("/info").await["pending"]["offchain"], 3);

    containers.open("room").await;
    for id in &ids {
        asker.output(id).await;
    }
    let next = until("room", async || {
        let response = asker
            .request(Method::POST, "/api/jobs")
            .json(&one)
            .send()
            .await
            .unwrap();
        match response.status().as_u16() {
            200 => Some(response.json::<Value>().await.unwrap()),
            503 => None,
            other => panic!("{other}"),
        }
    })
    .await;
    asker.output(next["id"].as_str().unwrap()).await;
    let all: BTreeSet<String> = serde_json::from_value(asker.get("/api/jobs").await).unwrap();
    assert_eq!(all.len(), 4, "what is refused leaves no job");
}

#[tokio::test]
async fn input_counts_as_well_as_jobs() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        config["resultity"]["max_pending_bytes"] = json!(100_000);
    })
    .await;
    let with = |bytes: usize| json!({"gate": "bytes", "text": "x".repeat(bytes)});
    let first = asker.begin(&[SLOW], with(80_000)).await;
    let body = json!({"containers": [SLOW], "data": with(80_000)});
    let response = asker
        .request(Method::POST, "/api/jobs")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    let small = asker.begin(&[UPPER], json!({"text": "small"})).await;
    asker.output(&small).await;
    containers.open("bytes").await;
    asker.output(&first).await;
}

#[tokio::test]
async fn one_address_may_ask_one_route_so_often() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (served, asker) = served(&containers, |config| {
        config["server"]["rate_limit"] = json!({"num_requests": 3, "period": 3600});
    })
    .await;
    for path in ["/health", "/info", "/resources", "/api/jobs"] {
        for remaining in ["2", "1", "0"] {
            let response = asker.request(Method::GET, path).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(header(&response, "ratelimit-limit"), "3");
            assert_eq!(header(&response, "ratelimit-remaining"), remaining, "{path}");
            let reset: u64 = header(&response, "ratelimit-reset").parse().unwrap();
            assert!((1..=3600).contains(&reset), "{reset}");
        }
        let response = asker.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 429, "{path}");
        assert_eq!(header(&response, "ratelimit-remaining"), "0");
        assert_eq!(header(&response, "content-type"), "application/json");
        let after: u64 = header(&response, "retry-after").parse().unwrap();
        assert!((1..=3600).contains(&after), "{after}");
        let body: Value = response.json().await.unwrap();
        assert!(body["error"].is_string(), "{body}");
        // Somebody else has a count of its own.
        let other = Asker::new(served.address(), OTHER);
        let response = other.request(Method::GET, path).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), header(&response, "ratelimit-remaining")),
            (200, "2")
        );
    }
    // Each route has its own count: methods too.
    let id = asker.begin(&[ECHO], json!({})).await;
    let other = Asker::new(served.address(), OTHER);
    assert_eq!(other.get(&format!("/api/jobs?id={id}")).await, json!([]));
    // What is refused by a rule counts as well.
    let refused = json!({"containers": [NOBODY], "data": {}});
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = asker.request(Method::POST, "/api/jobs").json(&refused);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [405, 405, 429]);
}
