//! The network's configuration while jobs are under way: prices, models, versions and the network's own key change, by the
//! Gate or from the shell, and no job and no node is harmed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::sync::Arc;

use harness::api::{Api, chat};
use harness::gate::{account, administrator};
use harness::node::TestNode;
use harness::{TestServer, model, soon};
use reqwest::Method;
use resultity_core::api::gate::{
    ApproveModel, ConfigurationApi, DeprecateModel, InEnvironment, OverviewApi, PriceModel, PublishSnapshot,
    RotateNetworkKey,
};
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::error::ErrorCode;
use resultity_core::receipt::SignedReceipt;
use resultity_core::signing::KeyChain;
use resultity_core::snapshot::SignedSnapshot;
use resultity_core::testing::gate::configuration;
use resultity_core::wire::ServerFrame;
use resultity_server::assemble::{Offer, open_store};
use resultity_server::network_key::{KeyFiles, NetworkKeyError};
use resultity_server::publish::{By, PublishError, Publisher};
use resultity_server::store::Store;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const TESTNET: Environment = Environment::Testnet;

/// What [`TestNode::answer`] costs by this price: three tokens of prompt, two made.
fn cost(price: Price) -> Credits {
    price.cost(3, 2)
}

fn dearer() -> Price {
    Price {
        per_request: Credits::from_whole(1),
        ..model("m").price
    }
}

/// As another process has it: a store of its own on the same file.
async fn shell(server: &TestServer) -> Publisher {
    let store: Arc<dyn Store> = Arc::new(open_store(server.data_dir.path(), None).unwrap());
    let files = KeyFiles::new(server.data_dir.path(), None);
    Publisher::open(store, Arc::new(SystemClock), Arc::new(SystemEntropy), files)
        .await
        .unwrap()
}

async fn until_version(server: &TestServer, version: u64) {
    let flow = server.running.app().flow();
    let mut configurations = flow.configurations();
    soon("the snapshot", async {
        while flow.snapshot().version < version {
            configurations.changed().await.unwrap();
        }
    })
    .await;
}

/// The next `config` frame of a node.
async fn config_frame(node: &mut TestNode) -> resultity_core::B256 {
    loop {
        match node.next().await {
            ServerFrame::Config(config) => return config.digest,
            ServerFrame::Ack(_) | ServerFrame::HeartbeatAck(_) => {}
            other => panic!("no config, but {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_contract_holds_in_process_and_over_http() {
    let server = TestServer::start().await;
    let (_, session, client) = administrator(&server, "admin").await;
    soon("the contract", configuration::all(&session)).await;
    soon("the contract", configuration::all(&client)).await;
}

#[tokio::test]
async fn a_job_is_settled_by_the_price_that_it_was_admitted_under() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let mut node = server.node_in_rotation("m", 1).await;
    let api = Api::new(&server);
    let before = tokio::spawn(async move { api.post("/v1/chat/completions", chat()).await });
    let job = node.next_job().await;
    admin
        .price_model("m", PriceModel::new(dearer(), "dearer"))
        .await
        .unwrap();
    let digest = config_frame(&mut node).await;
    assert_eq!(digest, server.running.app().flow().current().digest);
    node.answer(&job, "one").await;
    assert_eq!(before.await.unwrap().status, 200);

    // The node stays in rotation: only its price is another one.
    let api = Api::new(&server);
    let after = tokio::spawn(async move { api.post("/v1/chat/completions", chat()).await });
    let job = node.next_job().await;
    node.answer(&job, "two").await;
    let after = after.await.unwrap();
    assert_eq!(
        after.header("x-resultity-cost"),
        Some(cost(dearer()).to_string().as_str())
    );
    let charged = cost(model("m").price).checked_add(cost(dearer())).unwrap();
    server.assert_charged(charged).await;
}

#[tokio::test]
async fn jobs_of_a_model_that_is_withdrawn_end_well() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let mut node = server.node_in_rotation("m", 1).await;
    let ask = || {
        let api = Api::new(&server);
        tokio::spawn(async move { api.post("/v1/chat/completions", chat()).await })
    };
    let running = ask();
    let job = node.next_job().await;
    let waiting = ask();
    let api = Api::new(&server);
    let kept = api
        .post("/v1/jobs", json!({"endpoint": "/v1/chat/completions", "body": chat()}))
        .await;
    let kept = kept.json()["id"].as_str().unwrap().to_owned();
    let flow = server.running.app().flow();
    soon("two jobs that wait", async {
        while flow.waiting() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    admin
        .deprecate_model("m", DeprecateModel::now("withdrawn"))
        .await
        .unwrap();
    // Whoever waits is told at once, and pays nothing; what runs is answered and paid for.
    let refused = soon("an answer", waiting).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    api.until(&kept, "failed").await;
    node.answer(&job, "one").await;
    assert_eq!(soon("an answer", running).await.unwrap().status, 200);
    let unknown = api.post("/v1/chat/completions", chat()).await;
    assert_eq!(unknown.status, 404);
    server.assert_charged(cost(model("m").price)).await;

    // When it comes back it is tested anew.
    admin
        .approve_model(ApproveModel::new(model("m"), "back"))
        .await
        .unwrap();
    node.heartbeat(1).await;
    loop {
        match node.next().await {
            ServerFrame::Job(job) => break node.answer(&job, "yes").await,
            ServerFrame::Config(_) | ServerFrame::Ack(_) | ServerFrame::HeartbeatAck(_) => {}
            other => panic!("no job, but {other:?}"),
        }
    }
    server.until_served("m").await;
}

#[tokio::test]
async fn another_version_of_a_model_is_not_served_by_nodes_that_have_the_old_one() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let _node = server.node_in_rotation("m", 1).await;
    server.until_served("m").await;
    let mut second = model("m");
    second.version = "2".into();
    admin.approve_model(ApproveModel::new(second, "better")).await.unwrap();
    let flow = server.running.app().flow();
    soon("the node out of rotation", async {
        while !flow.served_models(None).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = Api::new(&server).post("/v1/chat/completions", chat()).await;
    assert_eq!(refused.status, 503);
    admin
        .approve_model(ApproveModel::new(model("m"), "worse"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_model_ends_at_its_time() {
    let server = TestServer::with(Offer::new(vec![model("m"), model("old")])).await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let now = resultity_core::clock::Clock::now(&SystemClock).as_seconds();
    let published = admin
        .deprecate_model("old", DeprecateModel::at(now + 5, "replaced by m"))
        .await
        .unwrap();
    until_version(&server, published.snapshot.version + 1).await;
    let flow = server.running.app().flow();
    assert_eq!(flow.model("old").unwrap_err().code, ErrorCode::ModelNotFound);
    assert!(flow.model("m").is_ok());
    let history = admin
        .snapshots(resultity_core::api::gate::SnapshotQuery::default())
        .await
        .unwrap();
    assert_eq!(history.data[0].published_by.as_deref(), Some("network"));
}

#[tokio::test]
async fn a_running_server_takes_up_what_the_shell_publishes() {
    let server = TestServer::start().await;
    let shell = shell(&server).await;
    let outcome = shell
        .price(TESTNET, "m", dearer(), By::operator("from the shell"))
        .await
        .unwrap();
    until_version(&server, outcome.published.snapshot.version).await;
    assert_eq!(server.running.app().flow().model("m").unwrap().price, dearer());
    let (_, _, admin) = administrator(&server, "admin").await;
    let back = admin
        .price_model("m", PriceModel::new(model("m").price, "from the Gate"))
        .await
        .unwrap();
    assert_eq!(back.snapshot.version, outcome.published.snapshot.version + 1);
    assert_eq!(
        shell.newest(TESTNET).await.unwrap().snapshot.version,
        back.snapshot.version
    );
}

#[tokio::test]
async fn a_restart_leaves_what_was_published_unless_the_file_says_something_new() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    admin
        .price_model("m", PriceModel::new(dearer(), "dearer"))
        .await
        .unwrap();
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    assert_eq!(server.running.app().flow().model("m").unwrap().price, dearer());
    let version = server.running.app().flow().snapshot().version;
    let server = server.restarted(Offer::new(vec![model("m"), model("n")])).await;
    let flow = server.running.app().flow();
    assert_eq!(flow.model("m").unwrap().price, model("m").price);
    assert_eq!(flow.snapshot().version, version + 1);
    let server = server.restarted(Offer::new(vec![model("m"), model("n")])).await;
    assert_eq!(server.running.app().flow().snapshot().version, version + 1);
}

#[tokio::test]
async fn changes_at_once_are_all_made() {
    let names: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
    let server = TestServer::with(Offer::new(names.iter().map(|name| model(name)).collect())).await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let base = server.running.app().flow().snapshot().version;
    let changes = names.iter().map(|name| {
        let admin = admin.clone();
        async move {
            // At most five tries each: somebody may be told to try again.
            while let Err(error) = admin.price_model(name, PriceModel::new(dearer(), "at once")).await {
                assert_eq!(error.code, ErrorCode::Conflict, "{error}");
            }
        }
    });
    soon("all changes", futures::future::join_all(changes)).await;
    let snapshot = server.running.app().flow().snapshot();
    assert_eq!(snapshot.version, base + 8);
    assert!(snapshot.models.iter().all(|model| model.price == dearer()));
    let offer = snapshot.offer();
    let publish = |attempts| {
        let mut offer = offer.clone();
        offer.jobs.max_attempts = attempts;
        admin.publish_snapshot(PublishSnapshot::new(base + 8, offer, "a race"))
    };
    let (one, other) = tokio::join!(publish(7), publish(8));
    let lost = [one.err(), other.err()].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(
        lost.len(),
        1,
        "one of two offers made from the same version is published"
    );
    assert_eq!(lost[0].code, ErrorCode::Conflict);
}

#[tokio::test]
async fn only_administrators_publish_and_all_who_signed_in_see_what_is_in_force() {
    let server = TestServer::start().await;
    let (_, _, user) = account(&server, "user").await;
    let seen = user.config(InEnvironment::default()).await.unwrap();
    assert_eq!((seen.summary.published_by, seen.summary.reason), (None, None));
    let elsewhere = user.config(Environment::Mainnet.into()).await.unwrap_err();
    assert_eq!(elsewhere.code, ErrorCode::NotFound);
    let key = server.running.app().flow().network_key().address();
    for error in [
        user.snapshots(resultity_core::api::gate::SnapshotQuery::default())
            .await
            .unwrap_err(),
        user.snapshot(1, InEnvironment::default()).await.unwrap_err(),
        user.publish_snapshot(PublishSnapshot::new(1, seen.offer.clone(), "mine"))
            .await
            .unwrap_err(),
        user.price_model("m", PriceModel::new(Price::default(), "free"))
            .await
            .unwrap_err(),
        user.rotate_network_key(RotateNetworkKey::new(key, "mine"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{error}");
    }
    let (_, _, admin) = administrator(&server, "admin").await;
    let elsewhere = PriceModel::new(Price::default(), "free").in_environment(Environment::Mainnet);
    assert_eq!(
        admin.price_model("m", elsewhere).await.unwrap_err().code,
        ErrorCode::NotFound
    );
    for path in ["/gate/v1/config", "/gate/v1/admin/snapshots"] {
        let bare = reqwest::get(format!("{}{path}", server.base_url())).await.unwrap();
        assert_eq!(bare.status(), 401, "{path}");
    }
    let call = async |method: Method, path: &str, body: &Value| {
        let url = format!("{}/gate/v1/admin{path}", server.base_url());
        let request = reqwest::Client::new().request(method, url).bearer_auth("admin");
        let answer = request.json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for (path, body, param) in [
        (
            "/snapshots",
            json!({"base_version": 1, "offer": {}, "reason": "x"}),
            Some("offer.models"),
        ),
        (
            "/snapshots",
            json!({"base_version": -1, "offer": {}, "reason": "x"}),
            Some("base_version"),
        ),
        (
            "/snapshots/rollback",
            json!({"version": 1, "reason": "x", "verzion": 2}),
            Some("verzion"),
        ),
        (
            "/models/m/price",
            json!({"price": {"per_request": 0.5}, "reason": "x"}),
            Some("price.per_request"),
        ),
        (
            "/models/m/deprecate",
            json!({"until": i64::MAX, "reason": "x"}),
            Some("until"),
        ),
        (
            "/network-key/rotate",
            json!({"current": "0x12", "reason": "x"}),
            Some("current"),
        ),
        ("/models", json!([]), None),
    ] {
        let (status, said) = call(Method::POST, path, &body).await;
        assert_eq!(status, 400, "{path}: {said}");
        if let Some(param) = param {
            assert_eq!(said["error"]["param"], param, "{path}: {said}");
        }
    }
    for version in ["0", "999", "x", "-1", "18446744073709551616"] {
        let path = format!("/snapshots/{version}");
        let (status, said) = call(Method::GET, &path, &json!({})).await;
        assert_eq!(status, 404, "{version}: {said}");
    }
}

#[tokio::test]
async fn the_networks_key_changes_and_everything_signed_stays_valid() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let mut node = server.node_in_rotation("m", 1).await;
    let api = Api::new(&server);
    let asked = tokio::spawn(async move { api.post("/v1/chat/completions", chat()).await });
    let job = node.next_job().await;
    node.answer(&job, "one").await;
    let asked = asked.await.unwrap();
    let id = asked.header("x-resultity-job-id").unwrap().to_owned();
    let api = Api::new(&server);
    let receipt =
        async || -> SignedReceipt { serde_json::from_value(api.get(&format!("/v1/jobs/{id}/receipt")).await).unwrap() };
    let early = receipt().await;

    let flow = server.running.app().flow();
    let (first, version) = (flow.network_key().address(), flow.snapshot().version);
    let rotated = admin
        .rotate_network_key(RotateNetworkKey::new(first, "every year"))
        .await
        .unwrap();
    assert_eq!((rotated.genesis, rotated.previous, rotated.sequence), (first, first, 1));
    let again = admin
        .rotate_network_key(RotateNetworkKey::new(first, "a repeat"))
        .await
        .unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict, "{again}");
    assert_eq!(flow.network_key().address(), rotated.network_key);
    assert_eq!(flow.snapshot().version, version + 2);

    // The old key announced the new one; what follows is signed by that.
    let page = admin
        .snapshots(resultity_core::api::gate::SnapshotQuery::default())
        .await
        .unwrap();
    assert_eq!(page.data[1].next_network_key, Some(rotated.network_key));
    let announcing = server.store.snapshot(TESTNET, version + 1).await.unwrap().unwrap();
    let announcing: SignedSnapshot = serde_json::from_str(&announcing.signed).unwrap();
    assert!(announcing.open(&flow.domain, first).is_ok());
    let current: SignedSnapshot = serde_json::from_str(&flow.current().signed).unwrap();
    assert!(current.open(&flow.domain, rotated.network_key).is_ok());

    for environment in Environment::ALL {
        let served = api
            .call(
                Method::GET,
                &format!("/io/v1/keys?environment={environment}"),
                &[],
                None,
            )
            .await;
        if environment == TESTNET {
            let chain: KeyChain = serde_json::from_value(served.json()).unwrap();
            assert_eq!(chain.follow(first), Ok(rotated.network_key));
            let late = receipt().await;
            assert_eq!((early.network_key, late.network_key), (first, rotated.network_key));
            assert!(early.verify_by_chain(&chain).is_ok());
            assert!(late.verify_by_chain(&chain).is_ok());
        } else {
            assert_eq!(served.status, 404);
        }
    }

    // A node's link and its work go on, and the books are right.
    let asked = tokio::spawn({
        let api = Api::new(&server);
        async move { api.post("/v1/chat/completions", chat()).await }
    });
    let job = loop {
        match node.next().await {
            ServerFrame::Job(job) => break job,
            ServerFrame::Config(_) | ServerFrame::Ack(_) => {}
            other => panic!("no job, but {other:?}"),
        }
    };
    node.answer(&job, "two").await;
    assert_eq!(asked.await.unwrap().status, 200);
    drop(node);

    // The next process has the new key, and opens what was sealed before.
    let made = api
        .post("/v1/webhooks", json!({"url": "https://example.org/hook"}))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let hook = made.json()["id"].as_str().unwrap().to_owned();
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let flow = server.running.app().flow();
    assert_eq!(flow.network_key().address(), rotated.network_key);
    assert_eq!((flow.genesis, flow.snapshot().version), (first, version + 2));
    let tested = Api::new(&server)
        .post(&format!("/v1/webhooks/{hook}/test"), json!({}))
        .await;
    assert_eq!(tested.status, 200, "{}", tested.body);
    let api = Api::new(&server);
    let jobs = api.get("/v1/jobs").await;
    assert_eq!(jobs["data"].as_array().map(Vec::len), Some(2), "{jobs}");
}

#[tokio::test]
async fn a_running_server_takes_up_a_key_that_the_shell_has_changed() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let shell = shell(&server).await;
    let first = shell.keys().genesis();
    let version = server.running.app().flow().snapshot().version;
    let (one, other) = tokio::join!(
        shell.rotate(first, By::operator("one")),
        shell.rotate(first, By::operator("other"))
    );
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    let rotated = won.unwrap();
    assert!(
        matches!(lost, Err(PublishError::Key(_) | PublishError::OtherKey { .. })),
        "of two at once one does it: {lost:?}"
    );
    // Before the server has noticed by itself: what it publishes is signed by the new key all the same.
    let published = admin
        .price_model("m", PriceModel::new(dearer(), "meanwhile"))
        .await
        .unwrap();
    assert!(published.snapshot.version > version + 2);
    let flow = server.running.app().flow();
    assert_eq!(flow.network_key().address(), rotated.current);
    let current: SignedSnapshot = serde_json::from_str(&flow.current().signed).unwrap();
    assert!(current.open(&flow.domain, rotated.current).is_ok());
    let second = shell.rotate(rotated.current, By::operator("again")).await.unwrap();
    assert_eq!((second.sequence, second.genesis), (2, first));
    let mut configurations = flow.configurations();
    soon("the second key", async {
        while flow.network_key().address() != second.current {
            configurations.changed().await.unwrap();
        }
    })
    .await;
    let chain: Value = Api::new(&server).get("/io/v1/keys").await;
    assert_eq!(chain["rotations"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_change_of_the_key_that_was_cut_off_changed_nothing() {
    let server = TestServer::start().await;
    let flow = server.running.app().flow();
    let first = flow.network_key().address();
    // The process ended after it had written the new key and before the store named it.
    KeyFiles::new(server.data_dir.path(), None)
        .make_for_change(1, &SystemEntropy)
        .unwrap();
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    assert_eq!(server.running.app().flow().network_key().address(), first);
    let rotated = shell(&server)
        .await
        .rotate(first, By::operator("once more"))
        .await
        .unwrap();
    assert_eq!(rotated.sequence, 1);
    tokio::time::timeout(harness::PATIENCE, async {
        while server.running.app().flow().network_key().address() != rotated.current {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// A rotation has several steps, and the passphrase makes one of them take a while: enough to hang up in the middle.
#[tokio::test]
async fn a_change_of_the_key_goes_to_its_end_also_when_whoever_asked_hangs_up() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.keystore_password = Some("a passphrase of the operator".to_owned().into());
    })
    .await;
    let flow = server.running.app().flow();
    let first = flow.network_key().address();
    let body = json!({"current": first, "reason": "every year"}).to_string();
    let request = format!(
        "POST /gate/v1/admin/network-key/rotate HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(server.running.address()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let lock = server.data_dir.path().join("network-key.lock");
    soon("the change that begins", async {
        while !lock.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(socket);
    soon("the new key", async {
        while flow.network_key().address() == first {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(flow.current().keys.sequence(), 1);
}

#[tokio::test]
async fn a_network_whose_first_key_is_gone_gets_no_other() {
    let server = TestServer::start().await;
    let file = server.data_dir.path().join("network-key.json");
    let genesis = shell(&server).await.keys().genesis();
    for has_rotated in [false, true] {
        if has_rotated {
            let rotated = shell(&server).await.rotate(genesis, By::operator("a test")).await;
            rotated.unwrap();
        }
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let store: Arc<dyn Store> = Arc::new(open_store(server.data_dir.path(), None).unwrap());
        let files = KeyFiles::new(server.data_dir.path(), None);
        let opened = Publisher::open(store, Arc::new(SystemClock), Arc::new(SystemEntropy), files).await;
        let error = opened.unwrap_err();
        assert!(
            matches!(error, PublishError::Key(NetworkKeyError::FirstMissing(_))),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains("network-key.json") && message.contains("backup"),
            "{message}"
        );
        assert!(!file.exists(), "no other key was made");
        std::fs::write(&file, kept).unwrap();
        assert_eq!(shell(&server).await.keys().genesis(), genesis);
    }
}

#[tokio::test]
async fn a_node_earns_by_the_share_under_which_its_job_was_admitted() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    // No node serves it yet: it waits in the background, over a restart.
    let body = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let made = Api::new(&server).post("/v1/jobs", body.clone()).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let current = admin.config(InEnvironment::default()).await.unwrap();
    let mut offer = current.offer;
    let before = offer.jobs.node_share;
    offer.jobs.node_share = 1_000;
    let request = PublishSnapshot::new(current.summary.version, offer, "nodes get less");
    admin.publish_snapshot(request).await.unwrap();

    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let (_, _, admin) = administrator(&server, "another").await;
    let api = Api::new(&server);
    let mut node = server.node_in_rotation("m", 1).await;
    let job = node.next_job().await;
    node.answer(&job, "late").await;
    api.until(&id, "succeeded").await;
    let earned = async || admin.overview(InEnvironment::default()).await.unwrap().credits.earned;
    let of_first = cost(model("m").price).share(before);
    assert_eq!(earned().await, of_first);
    // What is admitted from now on is settled by the new one.
    let made = api.post("/v1/jobs", body).await.json();
    let job = node.next_job().await;
    node.answer(&job, "next").await;
    api.until(made["id"].as_str().unwrap(), "succeeded").await;
    let of_second = cost(model("m").price).share(1_000);
    assert_eq!(earned().await, of_first.checked_add(of_second).unwrap());
}

#[tokio::test]
async fn query_and_body_may_not_name_different_environments() {
    let server = TestServer::start().await;
    let version = server.running.app().flow().snapshot().version;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let offer = Offer::new(vec![model("m")]);
    for (path, body) in [
        (
            "snapshots",
            json!({"base_version": version, "offer": offer, "reason": "x"}),
        ),
        ("snapshots/diff", json!({"offer": offer})),
        ("snapshots/rollback", json!({"version": 1, "reason": "x"})),
        ("models", json!({"model": model("m"), "reason": "x"})),
        ("models/m/price", json!({"price": model("m").price, "reason": "x"})),
        ("models/m/deprecate", json!({"reason": "x"})),
    ] {
        let ask = async |query: &str, in_body: Option<&str>| {
            let mut body = body.clone();
            if let Some(environment) = in_body {
                body["environment"] = environment.into();
            }
            let url = format!("{}/gate/v1/admin/{path}?environment={query}", server.base_url());
            let answer = http.post(url).bearer_auth("admin").json(&body).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let (status, error) = ask("mainnet", Some("testnet")).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!("environment")),
            "{path}: {error}"
        );
        // The query counts where the body says nothing, and mainnet is not served here.
        let (status, error) = ask("mainnet", None).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (404, &json!("environment")),
            "{path}: {error}"
        );
        assert_eq!(server.running.app().flow().snapshot().version, version, "{path}");
    }
}
