//! Nodes in the Gate API: the contract, the owner's and the administrator's side with a node on the line, and what
//! attackers would try.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::time::Duration;

use harness::gate::{account, administrator, door, door_client, gate};
use harness::node::TestNode;
use harness::wallet::{TestWallet, totp};
use harness::{TestServer, model, soon};
use resultity_client::GateClient;
use resultity_core::B256;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{
    AdminAccountsApi, AdminNodesApi, AdminNodesQuery, AppealDecision, AppealPenalty, AppealsQuery, AskBinding,
    BindNode, ChangeAccount, ControlNode, CreateJoinCode, DecideAppeal, FlagNode, InEnvironment, NamespacesApi, Node,
    NodeAction, NodeFlag, NodeJobsQuery, NodeWorkQuery, NodesApi, NodesQuery, NotificationQuery, NotificationsApi,
    PayOutNode, PenaliseNode, PenaltiesQuery, PenaltyState, UnflagNode, UpdateNode, WalletsApi,
};
use resultity_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NodeId;
use resultity_core::job::JobState;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::signing::{Domain, Keypair, Signature, TypedData};
use resultity_core::testing::gate::{GateSetting, nodes};
use resultity_core::wire::{FailureCode, JoinRequest, ReasonCode};
use resultity_server::assemble::Offer;
use resultity_server::link::LinkPolicy;
use resultity_server::session::GateDoor;
use serde_json::json;

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};

/// A server that binds no node by itself.
async fn server() -> TestServer {
    let policy = LinkPolicy { bind_loopback_to: None };
    TestServer::with_policy(Offer::new(vec![model("m")]), policy).await
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> ErrorCode {
    result.expect_err("it should have been refused").code
}

/// What a node sends to be bound by this code.
fn consent(server: &TestServer, key: &Keypair, code: &str) -> JoinRequest {
    let flow = server.running.app().flow();
    let mut nonce = B256::ZERO;
    SystemEntropy.fill(nonce.as_mut_slice());
    let mut request = JoinRequest {
        node_id: key.node_id(),
        code: code.to_owned(),
        environment: Environment::Testnet,
        nonce,
        expires_at: SystemClock.now().after(Duration::from_mins(5)),
        signature: Signature::from_bytes([0; 65]),
    };
    request.signature = request.signed_data().sign(&flow.domain, key);
    request
}

/// Joins over HTTP, as the command does; gives the status.
async fn join(server: &TestServer, request: &JoinRequest) -> u16 {
    let url = format!("{}/io/v1/join", server.base_url());
    let sent = reqwest::Client::new().post(url).json(request).send().await;
    sent.unwrap().status().as_u16()
}

/// A node of this account, in rotation with the model `m`.
async fn owned_node(server: &TestServer, owner: &GateClient) -> TestNode {
    let key = Keypair::generate(&SystemEntropy);
    let made = owner.create_join_code(CreateJoinCode::new(Environment::Testnet)).await;
    let made = made.unwrap();
    assert_eq!(join(server, &consent(server, &key, &made.code)).await, 200);
    let mut node = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    node.pass_readiness().await;
    server.until_served("m").await;
    node
}

/// A node is shown as it is once its link has looked.
async fn until(client: &GateClient, id: NodeId, what: &str, is_so: impl Fn(&Node) -> bool) -> Node {
    soon(what, async {
        loop {
            let node = client.node(id, TESTNET).await.unwrap();
            if is_so(&node) {
                return node;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn the_contract_in_process() {
    let server = server().await;
    let (_, session, _) = account(&server, "alice").await;
    let setting = GateSetting {
        door: &door(&server),
        clock: &SystemClock,
        entropy: &SystemEntropy,
        totp: &|secret, steps| totp(secret, &SystemClock, steps),
    };
    soon("the contract", nodes::all(&session, &setting)).await;
}

#[tokio::test]
async fn the_contract_over_http() {
    let server = server().await;
    let (_, _, client) = account(&server, "alice").await;
    let setting = GateSetting {
        door: &door_client(&server),
        clock: &SystemClock,
        entropy: &SystemEntropy,
        totp: &|secret, steps| totp(secret, &SystemClock, steps),
    };
    soon("the contract", nodes::all(&client, &setting)).await;
}

#[tokio::test]
async fn a_node_is_bound_by_a_code_works_earns_and_is_paid_out() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let mut node = owned_node(&server, &alice).await;
    let id = node.id();
    let shown = until(&alice, id, "a node in rotation", |node| node.in_rotation).await;
    assert_eq!(
        (shown.state.as_str(), shown.connected, shown.paused),
        ("active", true, false)
    );
    assert_eq!(shown.models[0].id, "m");
    let listed = alice.nodes(NodesQuery::default()).await.unwrap().data;
    assert_eq!(listed.iter().map(|node| node.id).collect::<Vec<_>>(), [id]);
    let renamed = alice.update_node(id, TESTNET, UpdateNode::name(" attic ")).await;
    assert_eq!(renamed.unwrap().name, "attic");
    // Work, and a job that it did not do.
    for fails in [false, true] {
        let client = server.client();
        let asked = tokio::spawn(async move {
            let request = ChatRequest::new("m", [Message::user("hello")]).max_tokens(10);
            client.chat(request).await
        });
        let job = node.next_job().await;
        if fails {
            let mut failed = node.failure(&job, FailureCode::InvalidRequest);
            failed.retryable = false;
            failed.signature = failed.signed_data().sign(&node.domain, &node.key);
            node.accept(&job).await;
            node.send(failed).await;
        } else {
            node.answer(&job, "hi there").await;
        }
        assert_eq!(soon("the answer", asked).await.unwrap().is_err(), fails);
    }
    server.until_idle().await;
    let jobs = alice.node_jobs(id, NodeJobsQuery::default()).await.unwrap().data;
    let states: Vec<_> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Failed, JobState::Succeeded], "{jobs:#?}");
    let done = &jobs[1];
    assert_eq!((done.prompt_tokens, done.completion_tokens), (Some(3), Some(2)));
    let earned = done.earned;
    assert!(earned > Credits::ZERO);
    // The readiness job is in no history and earns nothing.
    let earnings = alice.node_earnings(id, NodeWorkQuery::default()).await.unwrap();
    assert_eq!((earnings.available, earnings.earned), (earned, earned));
    assert_eq!((earnings.days.len(), earnings.models[0].work.jobs), (1, 1));
    assert_eq!(code(alice.unbind_node(id, TESTNET).await), ErrorCode::Conflict);
    // Paid out once, whoever repeats it.
    let (_, _, mallory) = account(&server, "mallory").await;
    let [own, other] = [namespace(&alice).await, namespace(&mallory).await];
    let pay = |namespace| PayOutNode::all(namespace).idempotency_key("first");
    assert_eq!(
        code(alice.pay_out_node(id, TESTNET, pay(other)).await),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(mallory.pay_out_node(id, TESTNET, pay(other)).await),
        ErrorCode::NotFound
    );
    let many = (0..8).map(|_| alice.pay_out_node(id, TESTNET, pay(own)));
    for paid in futures::future::join_all(many).await {
        let paid = paid.unwrap();
        assert_eq!((paid.amount, paid.remaining), (earned, Credits::ZERO));
    }
    let again = alice.pay_out_node(id, TESTNET, PayOutNode::all(own)).await;
    assert_eq!(code(again), ErrorCode::Conflict);
    let balance = server.store.balance(own).await.unwrap().unwrap();
    assert_eq!(balance.available, earned);
    let report = server.store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    // And given up.
    alice.unbind_node(id, TESTNET).await.unwrap();
    assert_eq!(code(alice.node(id, TESTNET).await), ErrorCode::NotFound);
    assert_eq!(code(mallory.node(id, TESTNET).await), ErrorCode::NotFound);
    let flow = server.running.app().flow();
    soon("the node out of rotation", async {
        while !flow.served_models(None).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn namespace(client: &GateClient) -> resultity_core::id::NamespaceId {
    let request = resultity_core::api::gate::CreateNamespace::new("earnings");
    client.create_namespace(request).await.unwrap().id
}

#[tokio::test]
async fn a_wallet_of_the_account_binds_a_node_and_nobody_elses() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, mallory) = account(&server, "mallory").await;
    let (wallet, stolen) = (TestWallet::new(), TestWallet::new());
    alice.link_wallet(wallet.to_link(&alice).await).await.unwrap();
    mallory.link_wallet(stolen.to_link(&mallory).await).await.unwrap();
    let node = TestNode::connect(&server.io_url(), Keypair::generate(&SystemEntropy), "m", 1, None).await;
    let asked = AskBinding::new(node.id(), Environment::Testnet);
    let message = alice.ask_binding(asked.clone()).await.unwrap().message;
    let signed = |wallet: &TestWallet, message: &str| BindNode::new(message, wallet.key.sign_text(message).to_string());
    // By another wallet, by another account, changed on the way.
    let by_other = alice.bind_node(signed(&stolen, &message)).await;
    assert_eq!(code(by_other), ErrorCode::PermissionDenied);
    assert_eq!(
        code(mallory.bind_node(signed(&stolen, &message)).await),
        ErrorCode::InvalidValue
    );
    let changed = message.replace("testnet", "mainnet");
    assert_eq!(
        code(alice.bind_node(signed(&wallet, &changed)).await),
        ErrorCode::InvalidValue
    );
    let bound = alice.bind_node(signed(&wallet, &message)).await.unwrap();
    assert_eq!((bound.id, bound.state.as_str()), (node.id(), "active"));
    // Once; and nobody else learns whose it is.
    assert_eq!(
        code(alice.bind_node(signed(&wallet, &message)).await),
        ErrorCode::InvalidValue
    );
    let nowhere = AskBinding::new(Keypair::generate(&SystemEntropy).node_id(), Environment::Testnet);
    for asked in [asked, nowhere] {
        let message = mallory.ask_binding(asked).await.unwrap().message;
        assert_eq!(
            code(mallory.bind_node(signed(&stolen, &message)).await),
            ErrorCode::NotFound
        );
    }
}

#[tokio::test]
async fn a_code_binds_one_node_and_guessing_is_slowed_down() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let made = alice.create_join_code(CreateJoinCode::default()).await.unwrap();
    let keys: Vec<_> = (0..4).map(|_| Keypair::generate(&SystemEntropy)).collect();
    // Somebody else's signature, and one for another network.
    let mut forged = consent(&server, &keys[0], &made.code);
    forged.node_id = keys[1].node_id();
    assert_eq!(join(&server, &forged).await, 403);
    let mut elsewhere = consent(&server, &keys[0], &made.code);
    let domain = Domain::new(Environment::Mainnet, server.running.app().flow().genesis);
    elsewhere.signature = elsewhere.signed_data().sign(&domain, &keys[0]);
    assert_eq!(join(&server, &elsewhere).await, 403);
    // Many at once: one is bound.
    let requests: Vec<_> = keys.iter().map(|key| consent(&server, key, &made.code)).collect();
    let answers = futures::future::join_all(requests.iter().map(|request| join(&server, request))).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(alice.nodes(NodesQuery::default()).await.unwrap().data.len(), 1);
    // Nobody tries all of them.
    let mut answers = Vec::new();
    for _ in 0..60 {
        let key = Keypair::generate(&SystemEntropy);
        answers.push(join(&server, &consent(&server, &key, "ABCD-2345")).await);
    }
    assert!(answers.iter().all(|status| [404, 429].contains(status)), "{answers:?}");
    assert_eq!(answers.last(), Some(&429));
}

#[tokio::test]
async fn a_guess_counts_before_the_code_is_looked_at() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let made = alice.create_join_code(CreateJoinCode::default()).await.unwrap();
    let key = Keypair::generate(&SystemEntropy);
    for _ in 0..12 {
        assert_eq!(join(&server, &consent(&server, &key, "ABCD-2345")).await, 404);
    }
    // The right one, too late: it is not used up by that.
    assert_eq!(join(&server, &consent(&server, &key, &made.code)).await, 429);
    let other = Keypair::generate(&SystemEntropy);
    let elsewhere = GateDoor::new(gate(&server), "192.0.2.1".parse().unwrap(), "test".into());
    elsewhere.join(consent(&server, &other, &made.code)).await.unwrap();
}

#[tokio::test]
async fn a_node_leaves_a_stranger_whose_wallet_was_first() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, mallory) = account(&server, "mallory").await;
    let wallet = TestWallet::new();
    mallory.link_wallet(wallet.to_link(&mallory).await).await.unwrap();
    let key = Keypair::generate(&SystemEntropy);
    let mut node = TestNode::connect(&server.io_url(), key.clone(), "m", 1, None).await;
    let id = node.id();
    let asked = AskBinding::new(id, Environment::Testnet);
    let message = mallory.ask_binding(asked).await.unwrap().message;
    let signature = wallet.key.sign_text(&message).to_string();
    mallory.bind_node(BindNode::new(&message, signature)).await.unwrap();
    node.pass_readiness().await;
    server.until_served("m").await;
    let client = server.client();
    let request = ChatRequest::new("m", [Message::user("hello")]).max_tokens(10);
    let asked = tokio::spawn(async move { client.chat(request).await });
    let job = node.next_job().await;
    node.answer(&job, "hi there").await;
    soon("the answer", asked).await.unwrap().unwrap();
    server.until_idle().await;
    // The node itself says whose it is.
    let made = alice.create_join_code(CreateJoinCode::default()).await.unwrap();
    assert_eq!(join(&server, &consent(&server, &key, &made.code)).await, 200);
    assert_eq!(code(mallory.node(id, TESTNET).await), ErrorCode::NotFound);
    until(&alice, id, "the node in rotation", |node| node.in_rotation).await;
    let kinds = async |client: &GateClient| {
        let inbox = client.notifications(NotificationQuery::default()).await.unwrap().data;
        let mut kinds: Vec<_> = inbox.into_iter().map(|one| one.kind).collect();
        kinds.retain(|kind| kind.starts_with("node."));
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&mallory).await, ["node.bound", "node.unbound"]);
    assert_eq!(kinds(&alice).await, ["node.bound"]);
    // Who binds by a code is not outdone, and is paid what the node earned.
    let second = mallory.create_join_code(CreateJoinCode::default()).await.unwrap();
    assert_eq!(join(&server, &consent(&server, &key, &second.code)).await, 409);
    let [own, other] = [namespace(&alice).await, namespace(&mallory).await];
    let refused = mallory.pay_out_node(id, TESTNET, PayOutNode::all(other)).await;
    assert_eq!(code(refused), ErrorCode::NotFound);
    let paid = alice.pay_out_node(id, TESTNET, PayOutNode::all(own)).await.unwrap();
    assert!(paid.amount > Credits::ZERO && paid.remaining == Credits::ZERO);
    alice.unbind_node(id, TESTNET).await.unwrap();
    assert_eq!(kinds(&alice).await, ["node.bound", "node.unbound"]);
    assert_eq!(server.store.audit().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_suspended_owners_node_gets_no_work_until_the_account_is_restored() {
    let server = server().await;
    let (owner, _, alice) = account(&server, "alice").await;
    let (_, _, root) = administrator(&server, "root").await;
    let node = owned_node(&server, &alice).await;
    root.change_account(owner, ChangeAccount::suspend("abuse"))
        .await
        .unwrap();
    let flow = server.running.app().flow();
    soon("the node out of rotation", async {
        while !flow.served_models(None).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seen = root.admin_node(node.id(), TESTNET).await.unwrap().node;
    assert_eq!((seen.state.as_str(), seen.in_rotation), ("frozen", false));
    root.change_account(owner, ChangeAccount::restore("a mistake"))
        .await
        .unwrap();
    server.until_served("m").await;
}

#[tokio::test]
async fn an_owner_pauses_and_resumes() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, mallory) = account(&server, "mallory").await;
    let offline = Keypair::generate(&SystemEntropy);
    let made = alice.create_join_code(CreateJoinCode::default()).await.unwrap();
    assert_eq!(join(&server, &consent(&server, &offline, &made.code)).await, 200);
    let id = offline.node_id();
    let control = |action| alice.control_node(id, TESTNET, ControlNode::new(action));
    let paused = control(NodeAction::Pause).await.unwrap();
    assert_eq!((paused.paused, paused.state.as_str()), (true, "paused"));
    // What needs a node on the line changes nothing without one.
    assert_eq!(code(control(NodeAction::Restart).await), ErrorCode::Conflict);
    control(NodeAction::Resume).await.unwrap();
    assert_eq!(code(control(NodeAction::Drain).await), ErrorCode::Conflict);
    assert!(!alice.node(id, TESTNET).await.unwrap().paused);
    let theirs = mallory
        .control_node(id, TESTNET, ControlNode::new(NodeAction::Pause))
        .await;
    assert_eq!(code(theirs), ErrorCode::NotFound);
    let why = alice.why_node(id, TESTNET).await.unwrap();
    assert_eq!(why.reasons[0].code, ReasonCode::NotConnected, "{:?}", why.reasons);
    // One that is on the line is told, and is out of rotation at once.
    let node = owned_node(&server, &alice).await;
    let pause = ControlNode::new(NodeAction::Pause);
    alice.control_node(node.id(), TESTNET, pause).await.unwrap();
    let why = alice.why_node(node.id(), TESTNET).await.unwrap();
    assert!(!why.in_rotation);
    assert_eq!(why.reasons[0].code, ReasonCode::PausedByOwner);
}

#[tokio::test]
async fn a_shadow_keeps_a_node_from_work_and_its_owner_does_not_see_it() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, root) = administrator(&server, "root").await;
    let node = owned_node(&server, &alice).await;
    let id = node.id();
    let before = until(&alice, id, "a node in rotation", |node| node.in_rotation).await;
    let flag = |request| root.flag_node(id, TESTNET, request);
    let long = SystemClock.now().as_seconds() + 73 * 60 * 60;
    let too_long = FlagNode::new(NodeFlag::Shadow, "odd answers").until(long);
    assert_eq!(code(flag(too_long).await), ErrorCode::InvalidValue);
    assert_eq!(
        code(flag(FlagNode::new(NodeFlag::Shadow, " ")).await),
        ErrorCode::InvalidValue
    );
    assert_eq!(
        code(flag(FlagNode::new(NodeFlag::Pause, "x").until(1)).await),
        ErrorCode::InvalidValue
    );
    let flagged = flag(FlagNode::new(NodeFlag::Shadow, "odd answers")).await.unwrap();
    assert!(flagged.node.flags[0].until.is_some() && !flagged.node.in_rotation);
    let flow = server.running.app().flow();
    soon("the node out of rotation", async {
        while !flow.served_models(None).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seen = alice.node(id, TESTNET).await.unwrap();
    assert_eq!(
        (&seen.state, seen.in_rotation, &seen.flags),
        (&before.state, true, &before.flags)
    );
    let why = alice.why_node(id, TESTNET).await.unwrap();
    let text = serde_json::to_string(&(seen, why)).unwrap();
    assert!(!text.contains("shadow") && !text.contains("odd answers"), "{text}");
    let off = UnflagNode::new(Environment::Testnet, "nothing found");
    let freed = root.unflag_node(id, NodeFlag::Shadow, off.clone()).await.unwrap();
    assert_eq!(freed.node.flags, []);
    server.until_served("m").await;
    assert_eq!(
        code(root.unflag_node(id, NodeFlag::Shadow, off).await),
        ErrorCode::NotFound
    );
    // A freeze is seen.
    flag(FlagNode::new(NodeFlag::Freeze, "wrong answers")).await.unwrap();
    let seen = alice.node(id, TESTNET).await.unwrap();
    assert_eq!(
        (seen.state.as_str(), seen.flags[0].reason.as_str()),
        ("frozen", "wrong answers")
    );
    let query = AdminNodesQuery {
        flag: Some(NodeFlag::Freeze),
        ..AdminNodesQuery::default()
    };
    assert_eq!(root.admin_nodes(query).await.unwrap().data.len(), 1);
}

#[tokio::test]
async fn a_penalty_is_appealed_against_and_lifted() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, mallory) = account(&server, "mallory").await;
    let (_, _, root) = administrator(&server, "root").await;
    let node = owned_node(&server, &alice).await;
    let id = node.id();
    let given = root
        .penalise_node(id, TESTNET, PenaliseNode::new("wrong answers"))
        .await
        .unwrap();
    let shown = alice.node(id, TESTNET).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.in_rotation), ("excluded", false));
    let listed = alice.node_penalties(id, PenaltiesQuery::default()).await.unwrap().data;
    assert_eq!((listed[0].id, listed[0].state), (given.id, PenaltyState::InForce));
    let appeal = AppealPenalty::new("it was the wrong quantisation; replaced");
    let theirs = mallory.appeal_penalty(id, given.id, TESTNET, appeal.clone()).await;
    assert_eq!(code(theirs), ErrorCode::NotFound);
    let decide = DecideAppeal::new(AppealDecision::Lift, "checked");
    assert_eq!(
        code(root.decide_appeal(given.id, decide.clone()).await),
        ErrorCode::Conflict
    );
    alice
        .appeal_penalty(id, given.id, TESTNET, appeal.clone())
        .await
        .unwrap();
    assert_eq!(
        code(alice.appeal_penalty(id, given.id, TESTNET, appeal).await),
        ErrorCode::Conflict
    );
    let open = root.appeals(AppealsQuery::default()).await.unwrap().data;
    assert_eq!(open[0].id, given.id);
    let lifted = root.decide_appeal(given.id, decide.clone()).await.unwrap();
    assert_eq!(lifted.state, PenaltyState::Lifted);
    assert_eq!(code(root.decide_appeal(given.id, decide).await), ErrorCode::Conflict);
    until(&alice, id, "the node in rotation", |node| node.in_rotation).await;
}

#[tokio::test]
async fn what_is_not_ones_own_is_not_found_and_administration_is_for_administrators() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, root) = administrator(&server, "root").await;
    let node = owned_node(&server, &alice).await;
    let id = node.id();
    // The other environment, which is not served here, knows nothing of it.
    let elsewhere = InEnvironment::from(Environment::Mainnet);
    assert_eq!(code(alice.node(id, elsewhere).await), ErrorCode::NotFound);
    assert_eq!(code(root.node(id, TESTNET).await), ErrorCode::NotFound);
    assert!(root.admin_node(id, TESTNET).await.is_ok());
    let penalise = PenaliseNode::new("no");
    let denied = [
        code(alice.admin_nodes(AdminNodesQuery::default()).await),
        code(alice.admin_node(id, TESTNET).await),
        code(alice.flag_node(id, TESTNET, FlagNode::new(NodeFlag::Freeze, "x")).await),
        code(alice.penalise_node(id, TESTNET, penalise).await),
        code(alice.appeals(AppealsQuery::default()).await),
        code(alice.admin_penalties(id, PenaltiesQuery::default()).await),
    ];
    assert_eq!(denied, [ErrorCode::PermissionDenied; 6]);
}

#[tokio::test]
async fn malformed_requests_change_nothing() {
    let server = server().await;
    let (_, _, alice) = account(&server, "alice").await;
    let token = harness::gate::sign_in(&server, account(&server, "bob").await.0).await;
    let node = owned_node(&server, &alice).await;
    let http = reqwest::Client::new();
    let send = async |method: &str, path: &str, body: serde_json::Value| {
        let url = format!("{}/gate/v1{path}", server.base_url());
        let request = http.request(method.parse().unwrap(), url).bearer_auth(&token);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send().await.unwrap().status().as_u16()
    };
    let id = node.id();
    for (method, path, body, status) in [
        ("GET", "/nodes/x".to_owned(), json!(null), 404),
        ("GET", "/nodes/0x00".to_owned(), json!(null), 404),
        ("GET", format!("/nodes/{id}?environment=moon"), json!(null), 400),
        ("GET", format!("/nodes/{id}"), json!(null), 404),
        ("GET", "/nodes?after=x".to_owned(), json!(null), 400),
        ("GET", "/nodes?limit=101".to_owned(), json!(null), 400),
        ("POST", "/nodes/codes".to_owned(), json!({"name": 1}), 400),
        ("POST", "/nodes/codes".to_owned(), json!({"unknown": 1}), 400),
        (
            "POST",
            "/nodes/codes".to_owned(),
            json!({"environment": "mainnet"}),
            404,
        ),
        (
            "POST",
            format!("/nodes/{id}/control"),
            json!({"action": "explode"}),
            400,
        ),
        ("POST", format!("/nodes/{id}/payout"), json!({"namespace": "x"}), 400),
        (
            "POST",
            format!("/nodes/{id}/penalties/x/appeal"),
            json!({"text": "x"}),
            404,
        ),
        ("POST", format!("/nodes/{id}/penalties"), json!({}), 405),
        ("GET", format!("/nodes/{id}/earnings?from=9&to=5"), json!(null), 404),
    ] {
        assert_eq!(send(method, &path, body).await, status, "{method} {path}");
    }
}
