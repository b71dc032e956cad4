//! Nodes that are bound, paused, frozen, penalised: what was decided counts on the live link at once, and the node and its
//! owner are told why there is no work.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::fmt::Write as _;
use std::time::Duration;

use harness::node::TestNode;
use harness::{TestServer, gate, model, soon};
use resultity_core::api::gate::{NodeFlag, join_code_hash};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, NodeId, NotificationId, PenaltyId};
use resultity_core::signing::TypedData as _;
use resultity_core::wire::{ControlAction, EngineInfo, FailureCode, Readiness, ReasonCode, ServerFrame};
use resultity_node::identity::{Identity, NetworkPin, PasswordSource};
use resultity_node::standing::{Asking, StandingError};
use resultity_server::assemble::Offer;
use resultity_server::link::LinkPolicy;
use resultity_server::publish::By;
use resultity_server::store::fleet::{NewFlag, NewPenalty, NodeChange, NodeOffer, OwnerNotice};
use resultity_server::store::{Actor, AuditEntry};
use tempfile::TempDir;

const CODE: &str = "ABCD-2345";

/// A server that binds no node by itself, and the key of a node.
struct World {
    server: TestServer,
    dir: TempDir,
    owner: AccountId,
}

impl World {
    async fn start() -> Self {
        let server = TestServer::with_policy(Offer::new(vec![model("m")]), LinkPolicy::default()).await;
        let owner = server.principal.account;
        Self {
            server,
            dir: tempfile::tempdir().unwrap(),
            owner,
        }
    }

    fn identity(&self) -> Identity {
        Identity::open(self.dir.path(), &PasswordSource::Generated, &SystemEntropy).unwrap()
    }

    fn node(&self) -> NodeId {
        self.identity().key().node_id()
    }

    fn asking(&self) -> Asking {
        let mut asking = Asking::new(self.dir.path(), Environment::Testnet);
        asking.io_url = Some(self.server.io_url());
        asking
    }

    async fn connect(&self) -> TestNode {
        TestNode::connect(&self.server.io_url(), self.identity().key().clone(), "m", 1, None).await
    }

    async fn offer(&self, code: &str, expires_in: Duration) {
        let now = SystemClock.now();
        let offer = NodeOffer {
            hash: join_code_hash(code).unwrap(),
            account: self.owner,
            environment: Environment::Testnet,
            node: None,
            name: "kitchen".into(),
            expires: now.after(expires_in),
            now,
        };
        assert!(self.server.store.offer_node(offer, 10).await.unwrap());
    }

    async fn join(&self, code: &str) -> Result<(), StandingError> {
        self.asking().join(code, &SystemClock, &SystemEntropy).await.map(|_| ())
    }

    /// Bound, connected and in rotation.
    async fn ready(&self) -> TestNode {
        self.offer(CODE, Duration::from_mins(15)).await;
        self.join(CODE).await.unwrap();
        let mut node = self.connect().await;
        node.pass_readiness().await;
        self.server.until_served("m").await;
        node
    }

    /// What the node is told that keeps it from work.
    async fn reasons(&self) -> Vec<ReasonCode> {
        let status = self.asking().status(&SystemClock, &SystemEntropy).await.unwrap();
        status.reasons.into_iter().map(|reason| reason.code).collect()
    }

    fn audit(&self, action: &str) -> AuditEntry {
        AuditEntry {
            id: AuditId::new(&SystemClock, &SystemEntropy),
            actor: Actor::Operator,
            action: action.into(),
            subject: format!("node:{}", self.node()),
            environment: Some(Environment::Testnet),
            before: None,
            after: None,
            reason: "a test".into(),
            now: SystemClock.now(),
        }
    }

    async fn pause(&self, paused: bool) {
        let change = NodeChange {
            paused: Some(paused),
            ..NodeChange::default()
        };
        let (store, now) = (&self.server.store, SystemClock.now());
        let changed = store.update_node(self.owner, self.node(), Environment::Testnet, change, now);
        changed.await.unwrap().unwrap();
        assert!(self.flow().fleet_changed(self.node()));
    }

    async fn flag(&self, flag: NodeFlag) {
        let flag = NewFlag {
            node: self.node(),
            environment: Environment::Testnet,
            flag,
            reason: "wrong answers".into(),
            until: Some(SystemClock.now().after(Duration::from_hours(1))),
            audit: self.audit("node.flag"),
            notice: None,
        };
        self.server.store.flag_node(flag).await.unwrap().unwrap();
        self.flow().fleet_changed(self.node());
    }

    fn flow(&self) -> &resultity_server::flow::Flow {
        self.server.running.app().flow()
    }

    fn is_served(&self) -> bool {
        let loads = self.flow().loads();
        loads.nodes.values().any(|node| node.models.contains("m"))
    }

    /// Waits until the scheduler has the node, or has it no more.
    async fn until_served_is(&self, served: bool) {
        soon("the scheduler", async {
            while self.is_served() != served {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// The next order, with the network's signature.
async fn order(node: &mut TestNode, world: &World) -> ControlAction {
    loop {
        match node.next().await {
            ServerFrame::Control(control) => {
                let network = world.flow().network_key().address();
                let signed = control.signed_data();
                signed.verify(&node.domain, &control.signature, network).unwrap();
                assert_eq!((control.node_id, control.session_id), (node.id(), node.session));
                return control.action;
            }
            ServerFrame::Job(_) | ServerFrame::Ack(_) | ServerFrame::Notice(_) | ServerFrame::HeartbeatAck(_) => {}
            other => panic!("no order, but {other:?}"),
        }
    }
}

/// Where the node is next told that it stands.
async fn notice(node: &mut TestNode) -> (String, String) {
    loop {
        match node.next().await {
            ServerFrame::Notice(notice) => return (notice.state.unwrap(), notice.message),
            ServerFrame::Ack(_) | ServerFrame::HeartbeatAck(_) | ServerFrame::Control(_) => {}
            other => panic!("no notice, but {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_is_bound_by_a_code_gets_work_at_once() {
    let world = World::start().await;
    let mut node = world.connect().await;
    assert!(!node.welcome.bound && node.welcome.state == "idle");
    assert_eq!(world.reasons().await, [ReasonCode::Unbound]);

    world.offer(CODE, Duration::from_mins(15)).await;
    // People write codes as they like.
    let bound = world.asking().join(" abcd2345 ", &SystemClock, &SystemEntropy).await;
    let bound = bound.unwrap();
    assert_eq!((bound.node_id, bound.name.as_deref()), (node.id(), Some("kitchen")));
    assert_eq!(notice(&mut node).await.0, "active");
    // No heartbeat was needed.
    node.pass_readiness().await;
    world.server.until_served("m").await;
    let status = world.asking().status(&SystemClock, &SystemEntropy).await.unwrap();
    assert!(status.bound && status.connected && status.in_rotation, "{status:?}");
    assert_eq!(status.models[0].readiness, Readiness::Ready);
    assert_eq!(world.reasons().await, [ReasonCode::NoDemand]);
    let view = world.flow().fleet.node(node.id()).unwrap();
    assert!(view.is_routed(SystemClock.now()));
}

#[tokio::test]
async fn a_code_binds_once_and_only_while_it_counts() {
    let world = World::start().await;
    world.offer("ABCD-2346", Duration::ZERO).await;
    let refused = |outcome: Result<(), StandingError>, expected: u16| match outcome {
        Err(StandingError::Refused { status, message }) => assert_eq!(status, expected, "{message}"),
        other => panic!("{other:?}"),
    };
    refused(world.join("ABCD-2346").await, 404);
    refused(world.join("ABCD-2347").await, 404);
    refused(world.join("no code").await, 404);
    world.offer(CODE, Duration::from_mins(15)).await;
    world.join(CODE).await.unwrap();
    let other = World {
        dir: tempfile::tempdir().unwrap(),
        ..world
    };
    refused(other.join(CODE).await, 404);
    // Somebody else's code does not take the node away from its owner.
    let (stranger, ..) = gate::account(&other.server, "stranger").await;
    let first = World {
        owner: stranger,
        ..other
    };
    first.offer("WXYZ-2345", Duration::from_mins(15)).await;
    first.join("WXYZ-2345").await.unwrap();
    let thief = World {
        owner: first.server.principal.account,
        ..first
    };
    thief.offer("WXYZ-2346", Duration::from_mins(15)).await;
    refused(thief.join("WXYZ-2346").await, 409);
}

#[tokio::test]
async fn codes_cannot_be_guessed() {
    let world = World::start().await;
    let mut tries = 0;
    let refusal = loop {
        match world.join("ABCD-2346").await {
            Err(StandingError::Refused { status: 404, .. }) => tries += 1,
            Err(StandingError::Refused { status, .. }) => break status,
            other => panic!("{other:?}"),
        }
        assert!(tries < 100, "nobody minds");
    };
    assert_eq!(refusal, 429);
    // Also with the right one, and as another node from the same address only a few times more.
    world.offer(CODE, Duration::from_mins(15)).await;
    assert!(matches!(
        world.join(CODE).await,
        Err(StandingError::Refused { status: 429, .. })
    ));
}

#[tokio::test]
async fn what_its_owner_decides_reaches_the_node_and_the_scheduler_at_once() {
    let world = World::start().await;
    let mut node = world.ready().await;
    world.pause(true).await;
    assert_eq!(order(&mut node, &world).await, ControlAction::Pause);
    assert_eq!(
        notice(&mut node).await,
        ("paused".into(), "its owner paused the node".into())
    );
    world.until_served_is(false).await;
    assert_eq!(world.reasons().await, [ReasonCode::PausedByOwner]);
    world.pause(false).await;
    assert_eq!(order(&mut node, &world).await, ControlAction::Resume);
    assert_eq!(notice(&mut node).await.0, "active");
    world.until_served_is(true).await;
}

#[tokio::test]
async fn a_pause_that_was_decided_while_the_node_was_away_counts_when_it_comes_back() {
    let world = World::start().await;
    let mut node = world.ready().await;
    world.pause(true).await;
    assert_eq!(order(&mut node, &world).await, ControlAction::Pause);
    drop(node);
    let mut again = world.connect().await;
    assert_eq!(again.welcome.state, "paused");
    // It forgot, or never knew.
    assert_eq!(order(&mut again, &world).await, ControlAction::Pause);
    assert!(!world.is_served());
}

#[tokio::test]
async fn a_frozen_node_gets_nothing_and_its_owner_reads_why() {
    let world = World::start().await;
    let mut node = world.ready().await;
    world.flag(NodeFlag::Freeze).await;
    let (state, message) = notice(&mut node).await;
    assert_eq!(state, "frozen");
    assert!(message.contains("wrong answers"), "{message}");
    world.until_served_is(false).await;
    assert_eq!(world.reasons().await, [ReasonCode::Frozen]);
}

#[tokio::test]
async fn a_shadow_shows_nowhere() {
    let world = World::start().await;
    let mut node = world.ready().await;
    world.flag(NodeFlag::Shadow).await;
    world.until_served_is(false).await;
    let status = world.asking().status(&SystemClock, &SystemEntropy).await.unwrap();
    assert_eq!((status.state.as_str(), status.in_rotation), ("active", true));
    assert_eq!(world.reasons().await, [ReasonCode::NoDemand]);
    let view = world.flow().fleet.node(node.id()).unwrap();
    assert!(!view.is_routed(SystemClock.now()));
    // Nothing was said on the link: the answer to this is the next frame.
    node.heartbeat(1).await;
    assert!(matches!(node.next().await, ServerFrame::HeartbeatAck(_)));
}

#[tokio::test]
async fn a_penalty_excludes_at_once() {
    let world = World::start().await;
    let mut node = world.ready().await;
    let penalty = NewPenalty {
        id: PenaltyId::new(&SystemClock, &SystemEntropy),
        node: node.id(),
        environment: Environment::Testnet,
        reason: "too slow".into(),
        until: None,
        audit: world.audit("node.penalty"),
        notice: Some(OwnerNotice {
            id: NotificationId::new(&SystemClock, &SystemEntropy),
            kind: "node.penalty".into(),
            message: "too slow".into(),
        }),
    };
    world.server.store.penalise_node(penalty).await.unwrap().unwrap();
    world.flow().fleet_changed(node.id());
    assert_eq!(notice(&mut node).await.0, "excluded");
    world.until_served_is(false).await;
    assert_eq!(world.reasons().await, [ReasonCode::Excluded]);
}

#[tokio::test]
async fn a_node_that_fails_its_test_is_told_so_at_once_and_one_that_is_away_too() {
    let world = World::start().await;
    world.offer(CODE, Duration::from_mins(15)).await;
    world.join(CODE).await.unwrap();
    assert_eq!(world.reasons().await, [ReasonCode::NotConnected]);
    let mut node = world.connect().await;
    assert_eq!(world.reasons().await, [ReasonCode::ModelTesting]);
    let job = node.next_job().await;
    node.accept(&job).await;
    let failed = node.failure(&job, FailureCode::EngineFailed);
    node.send(failed).await;
    soon("the failure", async {
        loop {
            let view = world.flow().fleet.node(node.id()).unwrap();
            if let Some(error) = &view.models[0].error {
                assert_eq!(view.models[0].readiness, Readiness::Failed, "{error}");
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.reasons().await, [ReasonCode::ModelFailed]);
    drop(node);
    soon("the end of the link", async {
        while world.flow().fleet.node(world.node()).unwrap().is_connected() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.reasons().await, [ReasonCode::NotConnected]);
}

#[tokio::test]
async fn only_the_node_itself_is_told_how_it_stands() {
    let world = World::start().await;
    let _node = world.ready().await;
    let http = http(&world.server);
    let path = format!("/io/v1/nodes/{}", world.node());
    let now = SystemClock.now();
    let stranger = resultity_core::signing::Keypair::generate(&SystemEntropy);
    let domain = world.flow().domain.clone();
    let signed = |key: &resultity_core::signing::Keypair, environment, at| {
        resultity_core::wire::status_request(world.node(), environment, at)
            .sign(&domain, key)
            .to_string()
    };
    let own = world.identity().key().clone();
    let old = resultity_core::clock::Timestamp::from_millis(now.as_millis() - 61_000);
    let cases = [
        (None, None, "unsigned"),
        (
            Some(now),
            Some(signed(&stranger, Environment::Testnet, now)),
            "a stranger",
        ),
        (Some(now), Some(signed(&own, Environment::Mainnet, now)), "of mainnet"),
        (Some(old), Some(signed(&own, Environment::Testnet, old)), "old"),
        (Some(now), Some("0x12".into()), "damaged"),
    ];
    for (at, signature, what) in cases {
        let status = http.get(&path, at, signature).await;
        assert_eq!(status, 403, "{what}");
    }
    let good = signed(&own, Environment::Testnet, now);
    assert_eq!(http.get(&path, Some(now), Some(good.clone())).await, 200);
    let other = format!("/io/v1/nodes/{}", stranger.node_id());
    assert_eq!(http.get(&other, Some(now), Some(good)).await, 403);
    assert_eq!(http.get("/io/v1/nodes/x", Some(now), None).await, 400);
}

/// Just enough of HTTP to send what a client would not.
struct Http(String);

fn http(server: &TestServer) -> Http {
    Http(server.running.address().to_string())
}

impl Http {
    async fn get(&self, path: &str, at: Option<resultity_core::clock::Timestamp>, signature: Option<String>) -> u16 {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.0);
        if let Some(at) = at {
            let _ = write!(head, "x-resultity-issued-at: {}\r\n", at.as_millis());
        }
        if let Some(signature) = signature {
            let _ = write!(head, "x-resultity-signature: {signature}\r\n");
        }
        head.push_str("\r\n");
        let mut socket = tokio::net::TcpStream::connect(&self.0).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("an answer", socket.read_to_string(&mut answer)).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_node_with_an_old_runtime_gets_no_work_and_is_told_why() {
    let mut offer = Offer::new(vec![model("m")]);
    offer.min_runtime_versions.insert("llama-server".into(), "b4567".into());
    let server = TestServer::with(offer).await;
    let flow = server.running.app().flow();
    // Of Runtimes that are not named any version will do.
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    let id = node.id();
    let until = async |readiness: Readiness| {
        soon("the network that looks", async {
            let is_so = || {
                flow.fleet
                    .node(id)
                    .is_some_and(|view| view.models[0].readiness == readiness)
            };
            while !is_so() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    let why = async || {
        let standing = server
            .store
            .node_standing(id, Environment::Testnet, SystemClock.now())
            .await;
        flow.why(id, &standing.unwrap().unwrap())
    };
    until(Readiness::Ready).await;
    let mut seq = 0;
    for (version, said) in [("b4566", "b4566"), ("", "does not tell its version")] {
        seq += 1;
        node.models[0].engine = Some(EngineInfo {
            name: "llama-server".into(),
            version: version.into(),
        });
        node.heartbeat(seq).await;
        until(Readiness::RuntimeTooOld).await;
        soon("a model without nodes", async {
            while !flow.served_models(None).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // The second heartbeat changes nothing but what is said.
        soon("the reason that names this version", async {
            loop {
                let reasons = why().await;
                let first = &reasons[0];
                let is_said = first.message.contains(said) && first.message.contains("b4567");
                if first.code == ReasonCode::RuntimeTooOld && is_said {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    // It is updated, and passes its test again.
    node.models[0].engine = Some(EngineInfo {
        name: "llama-server".into(),
        version: "b4567-3e0ba0e60".into(),
    });
    node.heartbeat(seq + 1).await;
    node.pass_readiness().await;
    server.until_served("m").await;
    // The network asks for more: it counts at once.
    let mut offer = flow.snapshot().offer();
    offer.min_runtime_versions.insert("llama-server".into(), "b5000".into());
    let (publisher, version) = (server.running.app().publisher(), flow.snapshot().version);
    let published = publisher
        .publish(Environment::Testnet, version, offer, By::operator("a test"))
        .await;
    assert_eq!(published.unwrap().changes[0].path, "min_runtime_versions.llama-server");
    flow.catch_up(publisher).await.unwrap();
    until(Readiness::RuntimeTooOld).await;
    assert!(why().await[0].message.contains("b5000"));
}

#[tokio::test]
async fn a_node_that_was_told_a_former_key_joins_and_trusts_the_present_one() {
    let world = World::start().await;
    let app = world.server.running.app();
    let first = app.flow().network_key().address();
    let rotated = app.publisher().rotate(first, By::operator("a test")).await.unwrap();
    app.flow().catch_up(app.publisher()).await.unwrap();
    world.offer(CODE, Duration::from_mins(15)).await;
    let mut asking = world.asking();
    let join = async |asking: &Asking| asking.join(CODE, &SystemClock, &SystemEntropy).await;
    asking.network_key = Some(world.identity().key().address());
    let stranger = join(&asking).await.unwrap_err();
    assert!(matches!(stranger, StandingError::OtherNetwork { .. }), "{stranger:?}");
    asking.network_key = Some(first);
    join(&asking).await.unwrap();
    let pin = NetworkPin::load(&world.dir.path().join("testnet")).unwrap().unwrap();
    assert_eq!((pin.network_key, pin.genesis), (rotated.current, first));
    assert!(pin.knows(first));
}
