//! A real Agent that obeys: pause and resume, drain, a Runtime that starts anew; one that is in both environments.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::StreamExt as _;
use harness::{TestServer, model, soon};
use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Usage};
use resultity_core::wire::{ControlAction, RejectCode};
use resultity_node::agent::{Agent, AgentError, AgentStatus, Refusal};
use resultity_node::runtime::slots::Shared;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use resultity_server::assemble::Offer;
use resultity_server::flow::Flow;
use resultity_server::store::fleet::NodeChange;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Says yes; counts how often it was started anew.
#[derive(Clone, Default)]
struct Yes {
    restarts: Arc<AtomicU32>,
}

#[async_trait]
impl Runtime for Yes {
    fn kind(&self) -> &'static str {
        "yes"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new("m")])
    }

    async fn restart(&self) -> Result<(), RuntimeError> {
        self.restarts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn chat(&self, _: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let events = [
            RuntimeEvent::Delta(vec![ChunkChoice::text(0, "yes")]),
            RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")]),
            RuntimeEvent::Done(Usage::new(3, 1)),
        ];
        Ok(futures::stream::iter(events.map(Ok)).boxed())
    }
}

struct Running {
    node: NodeId,
    status: tokio::sync::watch::Receiver<AgentStatus>,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(io_url: &str, dir: &Path, environment: Environment, runtime: Arc<dyn Runtime>) -> Self {
        let agent = Agent::builder(io_url, dir).environment(environment).runtime(runtime);
        let agent = agent.build().unwrap();
        let (node, status, cancel) = (agent.node_id(), agent.status(), CancellationToken::new());
        let task = tokio::spawn(agent.run(cancel.clone()));
        Self {
            node,
            status,
            cancel,
            task,
        }
    }

    async fn until(&mut self, what: &str, is_so: impl FnMut(&AgentStatus) -> bool) {
        soon(what, self.status.wait_for(is_so)).await.unwrap();
    }

    async fn stop(self) {
        self.cancel.cancel();
        soon("the Agent's end", self.task).await.unwrap().unwrap();
    }
}

async fn pause(server: &TestServer, node: NodeId, paused: bool) {
    let change = NodeChange {
        paused: Some(paused),
        ..NodeChange::default()
    };
    let account = server.principal.account;
    let changed = server
        .store
        .update_node(account, node, Environment::Testnet, change, SystemClock.now());
    changed.await.unwrap().unwrap();
    server.running.app().flow().fleet_changed(node);
}

async fn until_slots(flow: &Flow, node: NodeId, slots: u32) {
    soon("the slots", async {
        while flow.fleet.node(node).is_none_or(|view| view.load.slots != slots) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_pauses_and_keeps_its_pause_over_a_restart_until_it_is_resumed() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        Running::start(
            &server.io_url(),
            dir.path(),
            Environment::Testnet,
            Arc::new(Yes::default()),
        )
    };
    let flow = server.running.app().flow();
    let mut agent = start();
    server.until_served("m").await;
    let node = agent.node;
    pause(&server, node, true).await;
    agent
        .until("the pause", |status| status.paused && status.state == "paused")
        .await;
    until_slots(flow, node, 0).await;
    agent.stop().await;

    let mut agent = start();
    agent.until("the link", |status| status.connected).await;
    assert!(agent.status.borrow().paused, "it remembers");
    assert_eq!(agent.status.borrow().state, "paused");
    pause(&server, node, false).await;
    agent
        .until("the resume", |status| !status.paused && status.state == "active")
        .await;
    server.until_served("m").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_drained_agent_leaves_and_a_shut_down_one_ends() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Running::start(
        &server.io_url(),
        dir.path(),
        Environment::Testnet,
        Arc::new(Yes::default()),
    );
    server.until_served("m").await;
    let flow = server.running.app().flow();
    pause(&server, agent.node, true).await;
    assert!(flow.control(agent.node, ControlAction::Drain));
    agent
        .until("the goodbye", |status| !status.connected && status.paused)
        .await;
    assert!(!agent.task.is_finished(), "it waits");
    soon("the end of the link", async {
        while flow.fleet.node(agent.node).is_none_or(|view| view.is_connected()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!flow.control(agent.node, ControlAction::Resume), "it has no link");
    agent.stop().await;

    pause(
        &server,
        Agent::builder(server.io_url(), dir.path())
            .runtime(Arc::new(Yes::default()))
            .build()
            .unwrap()
            .node_id(),
        false,
    )
    .await;
    let agent = Running::start(
        &server.io_url(),
        dir.path(),
        Environment::Testnet,
        Arc::new(Yes::default()),
    );
    server.until_served("m").await;
    assert!(flow.control(agent.node, ControlAction::Shutdown));
    soon("the end of the Agent", agent.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_runtime_is_started_anew_and_tested_again() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let runtime = Yes::default();
    let agent = Running::start(
        &server.io_url(),
        dir.path(),
        Environment::Testnet,
        Arc::new(runtime.clone()),
    );
    server.until_served("m").await;
    let flow = server.running.app().flow();
    assert!(flow.control(agent.node, ControlAction::RestartRuntime));
    soon("the restart", async {
        while runtime.restarts.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_slots(flow, agent.node, 1).await;
    server.until_served("m").await;
    assert_eq!(runtime.restarts.load(Ordering::SeqCst), 1);
    agent.stop().await;
}

#[tokio::test]
async fn an_old_agent_is_turned_away_and_its_owner_can_see_why() {
    let mut offer = Offer::new(vec![model("m")]);
    offer.min_agent_version = "99.0.0".into();
    let server = TestServer::with(offer).await;
    let dir = tempfile::tempdir().unwrap();
    let build = || {
        let agent = Agent::builder(server.io_url(), dir.path()).runtime(Arc::new(Yes::default()));
        agent.build().unwrap()
    };
    let agent = build();
    let (node, now) = (agent.node_id(), SystemClock.now());
    server
        .store
        .register_node(node, Environment::Testnet, now)
        .await
        .unwrap();
    let account = server.principal.account;
    let bound = server.store.bind_node(node, Environment::Testnet, account, now).await;
    assert!(bound.unwrap().is_some());
    let refused = soon("the refusal", agent.run(CancellationToken::new())).await;
    assert!(
        matches!(
            &refused,
            Err(AgentError::Refused(Refusal::Rejected {
                code: RejectCode::VersionTooOld,
                ..
            }))
        ),
        "{refused:?}"
    );
    let view = server.running.app().flow().fleet.node(node).unwrap();
    assert_eq!(
        view.refused.as_ref().map(|reject| reject.code),
        Some(RejectCode::VersionTooOld)
    );
}

#[tokio::test]
async fn one_node_may_be_in_both_environments_with_one_runtime() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options
            .networks
            .push((Environment::Mainnet, Offer::new(vec![model("m")])));
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(Shared::new(Arc::new(Yes::default()), 1));
    let agents = [Environment::Testnet, Environment::Mainnet]
        .map(|environment| Running::start(&server.io_url(), dir.path(), environment, Arc::clone(&runtime)));
    assert_eq!(agents[0].node, agents[1].node);
    for environment in [Environment::Testnet, Environment::Mainnet] {
        let flow = server.running.app().flows.get(environment).unwrap();
        soon("a node in rotation", flow.until_served("m")).await;
        assert_eq!(flow.fleet.all().len(), 1);
    }
    for agent in agents {
        agent.stop().await;
    }
}
