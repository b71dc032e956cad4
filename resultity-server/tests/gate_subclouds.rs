//! Subclouds: nodes that join and leave, jobs that go to members alone, isolation, and what others may not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::gate::{account, sign_in};
use harness::node::TestNode;
use harness::{TestServer, gate, model, soon};
use resultity_client::{CloudClient, GateClient};
use resultity_core::api::cloud::{CallOptions, ChatApi, ModelsApi};
use resultity_core::api::gate::{
    CreateSubcloud, DeadLetterAction, DeadLetterQuery, DeadLettersApi, InEnvironment, JoinPolicy, JoinSubcloud,
    NodesApi, SubcloudNodesQuery, SubcloudQuery, SubcloudsApi, UpdateSubcloud,
};
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, JobId, NodeId, SubcloudId};
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::signing::Keypair;
use resultity_core::wire::FailureCode;
use resultity_server::assemble::Offer;
use resultity_server::store::KeyLimits;
use rstest::rstest;
use secrecy::ExposeSecret as _;

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};
const MAINNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Mainnet),
};

fn asked() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("Is it?")])
}

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (ErrorCode, Option<String>) {
    let error = result.expect_err("it should have been refused");
    (error.code, error.param)
}

fn header(code: ErrorCode) -> (ErrorCode, Option<String>) {
    (code, Some("x-resultity-subcloud".into()))
}

/// The tester, who owns the nodes of this machine, signed in.
async fn tester(server: &TestServer) -> GateClient {
    let token = sign_in(server, server.principal.account).await;
    gate::client_with(server, &token)
}

fn addressed(server: &TestServer, name: &str) -> CloudClient {
    server.client().with_options(CallOptions::default().subcloud(name))
}

/// The node's link has seen that the node is in so many.
async fn until_in(server: &TestServer, node: NodeId, count: usize) {
    soon("the link that looks", async {
        loop {
            let view = server.running.app().flow().fleet.node(node);
            if view.is_some_and(|view| view.standing.subclouds.len() == count) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn join(server: &TestServer, owner: &GateClient, node: NodeId, name: &str) {
    let before = owner.node_subclouds(node, TESTNET).await.unwrap().data.len();
    let joined = owner.join_subcloud(node, TESTNET, JoinSubcloud::new(name)).await;
    assert_eq!(joined.unwrap().name, name);
    until_in(server, node, before + 1).await;
}

/// Asks, and has this node answer.
async fn answered_by(client: CloudClient, node: &mut TestNode) {
    let asking = tokio::spawn(async move { client.chat(asked()).await });
    let job = node.next_job().await;
    node.accept(&job).await;
    node.answer(&job, "yes").await;
    soon("the answer", asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_of_a_subcloud_go_to_its_nodes_alone() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    let mut inside = TestNode::ready(&server.io_url(), "m", 1).await;
    let _outside = TestNode::ready(&server.io_url(), "m", 9).await;
    owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();

    // Nobody is in yet: as for a model that nobody serves.
    let farm = addressed(&server, "farm");
    let error = farm.chat(asked()).await.unwrap_err();
    assert_eq!(
        (error.code, error.code.http_status()),
        (ErrorCode::NoCapacity, Some(503))
    );
    assert_eq!(farm.models().await.unwrap().body.data.len(), 0);
    join(&server, &owner, inside.id(), "farm").await;
    assert_eq!(farm.models().await.unwrap().body.data[0].id, "m");
    for _ in 0..4 {
        answered_by(farm.clone(), &mut inside).await;
    }
    // While the member is busy they wait, though the other one is free.
    let first = tokio::spawn({
        let farm = farm.clone();
        async move { farm.chat(asked()).await }
    });
    let job = inside.next_job().await;
    inside.accept(&job).await;
    let second = tokio::spawn({
        let farm = farm.clone();
        async move { farm.chat(asked()).await }
    });
    let flow = server.running.app().flow();
    soon("a job that waits", async {
        while flow.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    inside.answer(&job, "yes").await;
    let job = inside.next_job().await;
    inside.accept(&job).await;
    inside.answer(&job, "yes").await;
    for asking in [first, second] {
        soon("the answer", asking).await.unwrap().unwrap();
    }

    let nodes = owner
        .subcloud_nodes("farm", SubcloudNodesQuery::default())
        .await
        .unwrap();
    let shown = &nodes.data[0];
    assert_eq!((nodes.data.len(), shown.node, shown.owned), (1, inside.id(), true));
    assert_eq!(
        (shown.state.as_str(), shown.models.as_slice()),
        ("active", ["m".to_owned()].as_slice())
    );
    let left = owner.leave_subcloud(inside.id(), "farm", TESTNET).await.unwrap();
    assert_eq!(left.node, inside.id());
    until_in(&server, inside.id(), 0).await;
    assert_eq!(refused(farm.chat(asked()).await).0, ErrorCode::NoCapacity);
    let again = owner.leave_subcloud(inside.id(), "farm", TESTNET).await;
    assert_eq!(refused(again).0, ErrorCode::NotFound);
    assert_eq!(server.balance().await.held, resultity_core::credits::Credits::ZERO);
}

#[tokio::test]
async fn isolated_nodes_take_no_other_jobs() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let lab = CreateSubcloud::new("lab").isolated();
    owner.create_subcloud(lab).await.unwrap();
    owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();
    join(&server, &owner, node.id(), "farm").await;
    join(&server, &owner, node.id(), "lab").await;
    assert_eq!(refused(server.client().chat(asked()).await).0, ErrorCode::NoCapacity);
    assert_eq!(
        refused(addressed(&server, "farm").chat(asked()).await).0,
        ErrorCode::NoCapacity
    );
    assert_eq!(server.client().models().await.unwrap().body.data.len(), 0);
    answered_by(addressed(&server, "lab"), &mut node).await;
    // Deleted, it holds nobody any more.
    owner.delete_subcloud("lab", TESTNET).await.unwrap();
    until_in(&server, node.id(), 1).await;
    answered_by(server.client(), &mut node).await;
    answered_by(addressed(&server, "farm"), &mut node).await;
}

#[tokio::test]
async fn a_job_in_the_background_keeps_its_subcloud_over_a_restart() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    let key = Keypair::generate(&SystemEntropy);
    let mut inside = TestNode::connect(&server.io_url(), key.clone(), "m", 1, None).await;
    inside.pass_readiness().await;
    owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();
    join(&server, &owner, inside.id(), "farm").await;
    drop(inside);
    let request = JobRequest::new(Endpoint::ChatCompletions, &asked()).unwrap();
    let job = addressed(&server, "farm").create_job(request).await.unwrap().body;

    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let mut outside = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    // One that is free and no member gets what is addressed to nobody, and nothing else.
    answered_by(server.client(), &mut outside).await;
    assert_eq!(server.running.app().flow().waiting(), 1);
    let mut inside = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    inside.pass_readiness().await;
    let given = inside.next_job().await;
    assert_eq!(given.job_id, job.id);
    inside.accept(&given).await;
    inside.answer(&given, "yes").await;
    inside.ack_of(given.job_id).await;
}

/// A node that is registered for an account, without a link.
async fn registered(server: &TestServer, owner: AccountId) -> NodeId {
    let (node, now) = (Keypair::generate(&SystemEntropy).node_id(), SystemClock.now());
    let store = &server.store;
    store.register_node(node, Environment::Testnet, now).await.unwrap();
    store.bind_node(node, Environment::Testnet, owner, now).await.unwrap();
    node
}

#[tokio::test]
async fn a_closed_one_asks_for_its_token_and_what_is_others_is_not_there() {
    let server = TestServer::start().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (bob_account, session, bob) = account(&server, "bob").await;
    let node = registered(&server, bob_account).await;
    let made = alice
        .create_subcloud(CreateSubcloud::new("farm").closed())
        .await
        .unwrap();
    let (id, first) = (made.subcloud.id.to_string(), made.join_token.clone().unwrap());
    assert!(first.starts_with("sj_") && !format!("{made:?}").contains(&first));
    // Others see what they need to join, by its id and its name; in-process as over HTTP.
    for named in [id.as_str(), "farm"] {
        let seen = bob.subcloud(named, TESTNET).await.unwrap();
        assert_eq!(
            (seen.join, seen.owned, seen.namespaces.clone(), seen.has_token),
            (JoinPolicy::Closed, false, None, None)
        );
        assert_eq!(session.subcloud(named, TESTNET).await.unwrap(), seen);
    }
    let joining = |token: Option<&str>| {
        let mut request = JoinSubcloud::new("farm");
        request.token = token.map(str::to_owned);
        bob.join_subcloud(node, TESTNET, request)
    };
    for wrong in [None, Some(""), Some("sj_"), Some(&first[..20]), Some("sj_' OR 1=1")] {
        assert_eq!(
            refused(joining(wrong).await),
            (ErrorCode::PermissionDenied, Some("token".into()))
        );
    }
    let second = alice
        .rotate_subcloud_token("farm", TESTNET)
        .await
        .unwrap()
        .join_token
        .unwrap();
    assert_eq!(refused(joining(Some(&first)).await).0, ErrorCode::PermissionDenied);
    joining(Some(&second)).await.unwrap();
    joining(None).await.unwrap();

    // Bob's is his node, Alice's the Subcloud.
    let missing = [
        refused(bob.update_subcloud(&id, TESTNET, UpdateSubcloud::default()).await),
        refused(bob.delete_subcloud(&id, TESTNET).await),
        refused(bob.rotate_subcloud_token(&id, TESTNET).await),
        refused(bob.subcloud_nodes(&id, SubcloudNodesQuery::default()).await),
        refused(bob.remove_subcloud_node(&id, node, TESTNET).await),
        refused(alice.node_subclouds(node, TESTNET).await),
        refused(alice.join_subcloud(node, TESTNET, JoinSubcloud::new("farm")).await),
        refused(alice.leave_subcloud(node, "farm", TESTNET).await),
        refused(bob.subcloud("other", TESTNET).await),
        refused(bob.subcloud("No Name!", TESTNET).await),
        refused(bob.subcloud(&id, MAINNET).await),
        refused(alice.delete_subcloud(&id, MAINNET).await),
        refused(bob.join_subcloud(node, MAINNET, JoinSubcloud::new(&id)).await),
    ];
    for (code, _) in missing {
        assert_eq!(code, ErrorCode::NotFound);
    }
    assert_eq!(bob.subclouds(SubcloudQuery::default()).await.unwrap().data, []);
    let mut isolate = UpdateSubcloud::default();
    isolate.isolated = Some(true);
    assert_eq!(
        refused(alice.update_subcloud(&id, TESTNET, isolate.clone()).await).0,
        ErrorCode::Conflict
    );
    alice.remove_subcloud_node(&id, node, TESTNET).await.unwrap();
    assert!(alice.update_subcloud(&id, TESTNET, isolate).await.unwrap().isolated);
    assert_eq!(bob.node_subclouds(node, TESTNET).await.unwrap().data, []);
    bob.unbind_node(node, TESTNET).await.unwrap();
}

#[tokio::test]
async fn a_subcloud_for_members_and_for_some_models() {
    let server = TestServer::with(Offer::new(vec![model("m"), model("n")])).await;
    let owner = tester(&server).await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let made = owner
        .create_subcloud(CreateSubcloud::new("club").members([]).models(["m"]))
        .await;
    let club = made.unwrap().subcloud;
    join(&server, &owner, node.id(), "club").await;
    answered_by(addressed(&server, "club"), &mut node).await;
    let other = ChatRequest::new("n", vec![Message::user("Is it?")]);
    let wrong_model = addressed(&server, "club").chat(other).await;
    assert_eq!(refused(wrong_model), header(ErrorCode::PermissionDenied));

    let key = server.another_key("stranger", KeyLimits::default()).await;
    let stranger = server.client_with(key.expose_secret());
    let stranger = stranger.with_options(CallOptions::default().subcloud("club"));
    assert_eq!(
        refused(stranger.chat(asked()).await),
        header(ErrorCode::PermissionDenied)
    );
    assert_eq!(refused(stranger.models().await), header(ErrorCode::PermissionDenied));
    let keys = resultity_server::session::Keys::new(std::sync::Arc::clone(&server.store));
    let holder = keys
        .principal(Some(key.expose_secret()), SystemClock.now())
        .await
        .unwrap();
    let mut change = UpdateSubcloud::default();
    change.namespaces = Some(vec![holder.namespace]);
    owner
        .update_subcloud(&club.id.to_string(), TESTNET, change)
        .await
        .unwrap();
    answered_by(stranger, &mut node).await;
    assert_eq!(
        refused(addressed(&server, "nowhere").chat(asked()).await),
        header(ErrorCode::NotFound)
    );
}

#[rstest]
#[case::no_name("", "name")]
#[case::capitals("Farm", "name")]
#[case::too_long("12345678901234567890123456789012345678901", "name")]
#[case::an_id("sub_01890a5dac96774bbcceb302099a8057", "name")]
#[case::sql("a'; DROP TABLE subclouds", "name")]
#[tokio::test]
async fn names_are_checked(#[case] name: &str, #[case] param: &str) {
    let server = TestServer::start().await;
    let (_, _, alice) = account(&server, "alice").await;
    let made = alice.create_subcloud(CreateSubcloud::new(name)).await;
    assert_eq!(refused(made), (ErrorCode::InvalidValue, Some(param.into())));
}

#[tokio::test]
async fn a_name_is_taken_once_however_many_want_it() {
    let server = TestServer::start().await;
    let (_, _, alice) = account(&server, "alice").await;
    let (_, _, bob) = account(&server, "bob").await;
    let all = (0..8).map(|number| {
        let client = if number % 2 == 0 { &alice } else { &bob };
        client.create_subcloud(CreateSubcloud::new("farm"))
    });
    let made = soon("the answers", futures::future::join_all(all)).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    for made in made.into_iter().filter(Result::is_err) {
        assert_eq!(refused(made), (ErrorCode::Conflict, Some("name".into())));
    }
    let unknown = SubcloudId::new(&SystemClock, &SystemEntropy).to_string();
    assert_eq!(refused(alice.subcloud(&unknown, TESTNET).await).0, ErrorCode::NotFound);
    let mut long = CreateSubcloud::new("a");
    long.description = "x".repeat(501);
    for bad in [CreateSubcloud::new("a").models(["no such model"]), long] {
        assert_eq!(refused(alice.create_subcloud(bad).await).0, ErrorCode::InvalidValue);
    }
    let owner = if alice.subcloud("farm", TESTNET).await.unwrap().owned {
        &alice
    } else {
        &bob
    };
    // It is open: there is no token to be had.
    assert_eq!(
        refused(owner.rotate_subcloud_token("farm", TESTNET).await).0,
        ErrorCode::Conflict
    );
}

/// A job in the background that waits for a node of this Subcloud.
async fn a_waiting_job(server: &TestServer, name: &str) -> JobId {
    let request = JobRequest::new(Endpoint::ChatCompletions, &asked()).unwrap();
    let job = addressed(server, name).create_job(request).await.unwrap().body;
    assert!(server.balance().await.held > Credits::ZERO);
    job.id
}

async fn ended_without_its_subcloud(server: &TestServer, job: JobId) {
    let ended = soon("the end of the job", async {
        loop {
            let job = server.client().job(job).await.unwrap().body;
            if job.status.is_final() {
                return job;
            }
        }
    })
    .await;
    let error = serde_json::to_value(&ended).unwrap()["error"].clone();
    assert_eq!(error["code"], "not_found", "{error}");
    assert!(error["message"].as_str().unwrap().contains("Subcloud"), "{error}");
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn what_waits_for_a_subcloud_ends_when_it_is_deleted() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();
    owner.create_subcloud(CreateSubcloud::new("other")).await.unwrap();
    let job = a_waiting_job(&server, "farm").await;
    owner.delete_subcloud("other", TESTNET).await.unwrap();
    assert_eq!(server.running.app().flow().waiting(), 1, "it is in another one");
    owner.delete_subcloud("farm", TESTNET).await.unwrap();
    ended_without_its_subcloud(&server, job).await;
}

#[tokio::test]
async fn what_waited_for_a_subcloud_that_was_deleted_meanwhile_ends_at_the_start() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    let made = owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();
    let job = a_waiting_job(&server, "farm").await;
    // As another process would: nobody tells the job.
    let deleted = server.store.delete_subcloud(server.principal.account, made.subcloud.id);
    assert!(deleted.await.unwrap().is_some());
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    ended_without_its_subcloud(&server, job).await;
}

#[tokio::test]
async fn a_dead_letter_is_not_run_again_for_a_subcloud_that_is_gone() {
    let server = TestServer::start().await;
    let owner = tester(&server).await;
    let (_, _, admin) = gate::administrator(&server, "admin").await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    owner.create_subcloud(CreateSubcloud::new("farm")).await.unwrap();
    join(&server, &owner, node.id(), "farm").await;
    let failed = a_waiting_job(&server, "farm").await;
    let job = node.next_job().await;
    let failure = node.failure(&job, FailureCode::EngineUnavailable);
    node.send(failure).await;
    let again = || admin.requeue_dead_letter(failed, DeadLetterAction::default());
    soon("the dead letter", async {
        while admin
            .dead_letters(DeadLetterQuery::default())
            .await
            .unwrap()
            .data
            .is_empty()
        {}
    })
    .await;
    owner.delete_subcloud("farm", TESTNET).await.unwrap();
    let error = again().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("Subcloud"), "{error}");
    server.assert_charged(Credits::ZERO).await;
}
