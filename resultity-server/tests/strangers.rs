//! What a node says of itself, and whose it is: nothing is kept of nobody's, nothing is longer than it has reason to be, and
//! an owner who leaves takes nothing that is not theirs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::io::Write;
use std::sync::{Arc, Mutex};

use harness::gate::{account, administrator};
use harness::node::TestNode;
use harness::{TestServer, model, soon};
use resultity_client::GateClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{
    AdminNodesApi, AdminNodesQuery, ControlNode, CreateNamespace, FlagNode, InEnvironment, NamespacesApi, NodeAction,
    NodeFlag, NodeWorkQuery, NodesApi, PayOutNode, PenaliseNode,
};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::ErrorCode;
use resultity_core::id::{AccountId, NodeId};
use resultity_core::model::ModelState;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::signing::Keypair;
use resultity_core::wire::{ControlAction, Gpu, Hello, NodeModel, ServerFrame};
use resultity_server::assemble::{Offer, database_path};
use resultity_server::link::LinkPolicy;
use resultity_server::store::fleet::{FleetRecord, NodeChange};

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};

/// A server that binds no node by itself.
async fn server() -> TestServer {
    TestServer::with_policy(Offer::new(vec![model("m")]), LinkPolicy::default()).await
}

async fn connect(server: &TestServer, key: &Keypair) -> TestNode {
    TestNode::connect(&server.io_url(), key.clone(), "m", 1, None).await
}

async fn kept(server: &TestServer, node: NodeId) -> Option<FleetRecord> {
    let record = server.store.fleet_node(node, Environment::Testnet, SystemClock.now());
    record.await.unwrap()
}

async fn bind(server: &TestServer, node: NodeId, owner: AccountId) {
    let (store, now) = (&server.store, SystemClock.now());
    store.register_node(node, Environment::Testnet, now).await.unwrap();
    let bound = store.bind_node(node, Environment::Testnet, owner, now).await.unwrap();
    assert_eq!(bound.unwrap().account, Some(owner));
}

/// Bound to this account, and in rotation.
async fn ready(server: &TestServer, owner: AccountId) -> TestNode {
    let key = Keypair::generate(&SystemEntropy);
    bind(server, key.node_id(), owner).await;
    let mut node = connect(server, &key).await;
    node.pass_readiness().await;
    server.until_served("m").await;
    node
}

async fn listed(root: &GateClient, unbound: bool, ascending: bool) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut after = None;
    loop {
        let query = AdminNodesQuery {
            unbound: Some(unbound),
            after,
            limit: Some(1),
            order: ascending.then_some(resultity_core::api::page::Order::Asc),
            ..AdminNodesQuery::default()
        };
        let page = root.admin_nodes(query).await.unwrap();
        nodes.extend(page.data.iter().map(|node| node.node.id));
        if !page.has_more {
            return nodes;
        }
        after = nodes.last().copied();
    }
}

#[tokio::test]
async fn of_a_node_that_nobody_has_bound_nothing_is_kept_until_something_is_decided() {
    let server = server().await;
    let (alice, ..) = account(&server, "alice").await;
    let (_, _, root) = administrator(&server, "root").await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(connect(&server, &Keypair::generate(&SystemEntropy)).await);
    }
    for node in &mut nodes {
        node.heartbeat(1).await;
        assert!(matches!(node.next().await, ServerFrame::HeartbeatAck(_)));
        assert_eq!(kept(&server, node.id()).await, None);
    }
    // One of them is bound; another one is, and has no link.
    bind(&server, nodes[0].id(), alice).await;
    let away = Keypair::generate(&SystemEntropy).node_id();
    bind(&server, away, alice).await;
    server.running.app().flow().fleet_changed(nodes[0].id());
    nodes[0].pass_readiness().await;

    // An administrator sees all of them, page by page, in one order.
    let mut all: Vec<NodeId> = nodes.iter().map(TestNode::id).chain([away]).collect();
    all.sort_by_key(ToString::to_string);
    assert_eq!(listed(&root, false, true).await, all);
    all.reverse();
    assert_eq!(listed(&root, false, false).await, all);
    all.retain(|node| *node != nodes[0].id() && *node != away);
    assert_eq!(listed(&root, true, false).await, all);
    let seen = root.admin_node(nodes[1].id(), TESTNET).await.unwrap();
    assert!(seen.account.is_none() && seen.node.connected && seen.node.state == "idle");

    // What is decided about it is kept.
    let freeze = FlagNode::new(NodeFlag::Freeze, "odd");
    root.flag_node(nodes[1].id(), TESTNET, freeze).await.unwrap();
    let penalty = PenaliseNode::new("odd");
    root.penalise_node(nodes[2].id(), TESTNET, penalty.clone())
        .await
        .unwrap();
    for node in &nodes[1..] {
        assert!(kept(&server, node.id()).await.is_some());
    }
    // Not of one that was never here.
    let nowhere = Keypair::generate(&SystemEntropy).node_id();
    let refused = root.penalise_node(nowhere, TESTNET, penalty).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(
        root.admin_node(nowhere, TESTNET).await.unwrap_err().code,
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn rows_of_nodes_that_are_nobodys_go_after_a_week() {
    let server = server().await;
    let [old, new] = [(); 2].map(|()| Keypair::generate(&SystemEntropy).node_id());
    let now = SystemClock.now();
    let long_ago = Timestamp::from_millis(now.as_millis() - 8 * 24 * 60 * 60 * 1000);
    for (node, since) in [(old, long_ago), (new, now)] {
        let registered = server.store.register_node(node, Environment::Testnet, since).await;
        registered.unwrap();
    }
    // A server that starts tidies up, and then now and then.
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    soon("the end of the row", async {
        while kept(&server, old).await.is_some() {}
    })
    .await;
    assert!(kept(&server, new).await.is_some());
}

/// Long names everywhere, one model too many, and one whose name nothing has.
fn boastful(hello: &mut Hello) {
    let long = |start: &str| format!("{start}{}", "é".repeat(1000));
    hello.agent_version = long("0.1.0-");
    hello.region = Some(long("eu-"));
    hello.runtime.kind = long("kind");
    hello.runtime.version = long("version");
    hello.hardware.cpu = long("cpu");
    let gpu = Gpu {
        name: long("gpu"),
        ..Gpu::default()
    };
    hello.hardware.gpus = vec![gpu; 3];
    let mut models = vec![
        NodeModel {
            id: long("model"),
            ..hello.models[0].clone()
        },
        NodeModel {
            id: "other".into(),
            version: long("1"),
            digest: Some(long("digest")),
            state: ModelState::Inactive,
            ..hello.models[0].clone()
        },
    ];
    models.append(&mut hello.models);
    hello.models = models;
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_clipped_before_it_is_kept_or_shown() {
    let server = server().await;
    let (alice, _, client) = account(&server, "alice").await;
    let key = Keypair::generate(&SystemEntropy);
    bind(&server, key.node_id(), alice).await;
    let mut node = TestNode::connect_as(&server.io_url(), key, "m", 1, boastful).await;
    node.pass_readiness().await;
    let facts = soon("the facts", async {
        loop {
            if let Some(facts) = kept(&server, node.id()).await.and_then(|record| record.facts) {
                break facts;
            }
        }
    })
    .await;
    let names: Vec<&str> = facts.models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(names, ["other", "m"]);
    let lengths = [
        &facts.agent_version,
        facts.region.as_ref().unwrap(),
        &facts.runtime.kind,
        &facts.runtime.version,
        &facts.hardware.cpu,
        &facts.hardware.gpus[2].name,
        &facts.models[0].version,
        facts.models[0].digest.as_ref().unwrap(),
    ]
    .map(|text| text.chars().count());
    assert_eq!(lengths, [128; 8]);
    let text = serde_json::to_string(&client.node(node.id(), TESTNET).await.unwrap()).unwrap();
    assert!(
        !text.contains(&"é".repeat(129)) && text.contains(&"é".repeat(100)),
        "{text}"
    );
    let view = server.running.app().flow().fleet.node(node.id()).unwrap();
    assert_eq!(view.agent_version.chars().count(), 128);
}

/// What the server logs on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    async fn until_it_says(&self, what: &str) {
        soon(what, async {
            while !String::from_utf8_lossy(&self.0.lock().unwrap()).contains(what) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_decided_counts_even_if_it_could_not_be_read_at_first() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = server().await;
    let owner = server.principal.account;
    let mut node = ready(&server, owner).await;
    let change = NodeChange {
        paused: Some(true),
        ..NodeChange::default()
    };
    let (store, now) = (&server.store, SystemClock.now());
    let changed = store.update_node(owner, node.id(), Environment::Testnet, change, now);
    changed.await.unwrap().unwrap();

    // The table can't be read when the link is told to look.
    let database = rusqlite::Connection::open(database_path(server.data_dir.path())).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE nodes RENAME COLUMN {from} TO {to}");
        database.execute_batch(&sql).unwrap();
    };
    rename("seen_at", "seen_elsewhere");
    assert!(server.running.app().flow().fleet_changed(node.id()));
    log.until_it_says("could not see how the node stands").await;
    rename("seen_elsewhere", "seen_at");

    // Nobody tells it again: its own heartbeat does.
    node.heartbeat(1).await;
    loop {
        match node.next().await {
            ServerFrame::Control(control) => {
                assert_eq!(control.action, ControlAction::Pause);
                break;
            }
            ServerFrame::HeartbeatAck(_) | ServerFrame::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn ask(server: &TestServer) -> tokio::task::JoinHandle<bool> {
    let client = server.client();
    tokio::spawn(async move {
        let request = ChatRequest::new("m", [Message::user("hello")]).max_tokens(10);
        client.chat(request).await.is_ok()
    })
}

#[tokio::test]
async fn a_busy_node_is_not_given_up_before_its_job_is_paid_and_gets_no_next_one() {
    let server = server().await;
    let (alice, _, client) = account(&server, "alice").await;
    let mut node = ready(&server, alice).await;
    let id = node.id();
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let busy = client.unbind_node(id, TESTNET).await.unwrap_err();
    assert_eq!(busy.code, ErrorCode::Conflict);
    assert!(busy.message.contains("drain"), "{busy}");
    let waits = ask(&server);
    let flow = server.running.app().flow();
    soon("a second job", async {
        while flow.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Paused, it ends what it has and gets nothing more.
    let pause = ControlNode::new(NodeAction::Pause);
    client.control_node(id, TESTNET, pause).await.unwrap();
    loop {
        match node.next().await {
            ServerFrame::Control(control) => {
                assert_eq!(control.action, ControlAction::Pause);
                break;
            }
            ServerFrame::Notice(_) | ServerFrame::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let result = node.result(&job, "hi there");
    node.send(result).await;
    assert!(soon("the answer", asked).await.unwrap());
    let earnings = client.node_earnings(id, NodeWorkQuery::default()).await.unwrap();
    assert!(earnings.available > Credits::ZERO);
    let owed = client.unbind_node(id, TESTNET).await.unwrap_err();
    assert!(
        owed.code == ErrorCode::Conflict && owed.message.contains("paid out"),
        "{owed}"
    );
    let namespace = client
        .create_namespace(CreateNamespace::new("earnings"))
        .await
        .unwrap()
        .id;
    let paid = client
        .pay_out_node(id, TESTNET, PayOutNode::all(namespace))
        .await
        .unwrap();
    assert_eq!(paid.amount, earnings.available);
    client.unbind_node(id, TESTNET).await.unwrap();

    // Nobody's, it is told so, and what waits is not for it.
    let mut state = String::new();
    while state != "idle" {
        match node.next().await {
            ServerFrame::Notice(notice) => state = notice.state.unwrap(),
            ServerFrame::Ack(_) | ServerFrame::Control(_) => {}
            other => panic!("{other:?}"),
        }
    }
    node.heartbeat(1).await;
    loop {
        match node.next().await {
            ServerFrame::HeartbeatAck(_) => break,
            ServerFrame::Control(_) | ServerFrame::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(
        !soon("the end of what waited", waits).await.unwrap(),
        "nobody answers it"
    );
    let report = server.store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}
