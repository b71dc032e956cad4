//! Nodes with a real model that answer honestly, and some that don't: a trusted node finds out which.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "embedded")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use harness::TestServer;
use resultity_client::CloudClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::environment::Environment::Testnet;
use resultity_core::id::{AuditId, NodeId};
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_node::agent::Agent;
use resultity_node::models::{self, Fetcher};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use resultity_server::assemble::Offer;
use resultity_server::store::admin::NotificationFilter;
use resultity_server::store::fleet::NewFlag;
use resultity_server::store::{Actor, AuditEntry};
use resultity_server::trust::MilliNats;
use rstest::rstest;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The most jobs that a liar may get before it is excluded.
const MOST_JOBS: usize = 40;

/// How long a test may take on a busy machine.
const LONG: Duration = Duration::from_mins(8);

/// The demo model, loaded once in this process.
async fn model() -> Arc<EmbeddedRuntime> {
    static LOADED: OnceCell<Arc<EmbeddedRuntime>> = OnceCell::const_new();
    let load = || async {
        let spec = models::demo_model();
        let files = Fetcher::new()
            .unwrap()
            .fetch_model(&spec, &models::cache_dir())
            .await
            .unwrap();
        let load = move || EmbeddedRuntime::load(&files[0], spec.name).unwrap().with_slots(2);
        Arc::new(tokio::task::spawn_blocking(load).await.unwrap())
    };
    Arc::clone(LOADED.get_or_init(load).await)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Honest,
    Junk,
    Truncates,
    Inflates,
    /// Another model's log-probabilities.
    Invents,
}

/// The real model, with something done to its answers.
struct Behaving {
    model: Arc<EmbeddedRuntime>,
    behaviour: Behaviour,
}

#[async_trait]
impl Runtime for Behaving {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        self.model.models().await
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let behaviour = self.behaviour;
        let events: Vec<_> = self.model.chat(request).await?.collect().await;
        let changed = events.into_iter().map(move |event| {
            let mut event = event?;
            match &mut event {
                RuntimeEvent::Answer(choices) => {
                    let choice = &mut choices[0];
                    let text = choice.message.content.get_or_insert_default();
                    if behaviour == Behaviour::Junk {
                        text.replace_range(.., "Violet seventeen of the of window, algebra quick teapot blue ran.");
                        choice.finish_reason = Some("stop".to_owned());
                    } else if behaviour == Behaviour::Invents {
                        invent(choice.logprobs.as_mut());
                    } else if behaviour == Behaviour::Truncates {
                        let words: Vec<&str> = text.split_whitespace().collect();
                        *text = words[..words.len().div_ceil(3)].join(" ");
                        choice.finish_reason = Some("stop".to_owned());
                    }
                }
                // The bounds of the request allow no more than twice as many.
                RuntimeEvent::Done(usage) if behaviour == Behaviour::Inflates => {
                    usage.prompt_tokens += usage.prompt_tokens / 2 + 8;
                }
                _ => {}
            }
            Ok(event)
        });
        Ok(stream::iter(changed.collect::<Vec<_>>()).boxed())
    }
}

/// Changes each log-probability, as another model would.
fn invent(logprobs: Option<&mut serde_json::Value>) {
    let tokens = logprobs.and_then(|logprobs| logprobs.get_mut("content")?.as_array_mut());
    for (place, token) in tokens.into_iter().flatten().enumerate() {
        let wrong = -1.0 - (place % 3) as f64;
        token["logprob"] = wrong.into();
        for top in token["top_logprobs"].as_array_mut().into_iter().flatten() {
            top["logprob"] = (top["logprob"].as_f64().unwrap_or_default() - 2.0).into();
        }
    }
}

struct Network {
    server: TestServer,
    stop: CancellationToken,
    dirs: Vec<TempDir>,
    model: String,
}

impl Network {
    /// A server that asks by itself, without nodes.
    async fn alone() -> Self {
        let spec = models::demo_model();
        let model = spec.name.clone();
        let server = TestServer::with_options(Offer::new(vec![spec]), |options| options.own_jobs = true).await;
        Self {
            server,
            stop: CancellationToken::new(),
            dirs: Vec::new(),
            model,
        }
    }

    /// A server with a trusted node.
    async fn start() -> Self {
        let spec = models::demo_model();
        let model = spec.name.clone();
        let server = TestServer::with(Offer::new(vec![spec])).await;
        let mut network = Self {
            server,
            stop: CancellationToken::new(),
            dirs: Vec::new(),
            model,
        };
        let trusted = network.join(self::model().await).await;
        let flag = NewFlag {
            node: trusted,
            environment: Testnet,
            flag: NodeFlag::Trusted,
            reason: "ours".to_owned(),
            until: None,
            audit: AuditEntry {
                id: AuditId::new(&SystemClock, &SystemEntropy),
                actor: Actor::Operator,
                action: "node.flag".to_owned(),
                subject: format!("node:{trusted}"),
                environment: Some(Testnet),
                before: None,
                after: None,
                reason: "ours".to_owned(),
                now: SystemClock.now(),
            },
            notice: None,
        };
        network.server.store.flag_node(flag).await.unwrap().unwrap();
        network.server.running.app().flow().fleet_changed(trusted);
        network
    }

    /// Starts a node; gives it once it is in rotation.
    async fn join(&mut self, runtime: Arc<dyn Runtime>) -> NodeId {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::builder(self.server.io_url(), dir.path())
            .runtime(runtime)
            .build()
            .unwrap();
        let node = agent.node_id();
        tokio::spawn(agent.run(self.stop.clone()));
        self.dirs.push(dir);
        let flow = Arc::clone(self.server.running.app().flow());
        until("the node in rotation", || {
            let view = flow.fleet.node(node);
            view.is_some_and(|view| view.ready_models().next().is_some() && view.is_routed(SystemClock.now()))
        })
        .await;
        node
    }

    /// Asks two questions at once, so that both nodes get one.
    async fn ask(&self, client: &CloudClient, number: usize) {
        let animals = ["fox", "whale", "sparrow", "goat", "beetle"];
        let ask = |place: usize| {
            let animal = animals[(number + place) % animals.len()];
            let question = format!("Tell me something about a {animal}, number {number}.");
            let mut request = ChatRequest::new(&self.model, [Message::user(question)]).max_tokens(24);
            request.temperature = Some(if number.is_multiple_of(3) { 0.0 } else { 0.8 });
            let client = client.clone();
            async move { client.chat(request).await }
        };
        for answer in join_all([ask(0), ask(1)]).await {
            answer.unwrap();
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.server.running.stop(harness::PATIENCE).await;
        drop(self.dirs);
    }
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[rstest]
#[case::junk(Behaviour::Junk, "hardly ever")]
#[case::truncates(Behaviour::Truncates, "ended where the model would have gone on")]
#[case::inflates(Behaviour::Inflates, "more tokens were claimed")]
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_excluded_and_its_owner_told_why(#[case] behaviour: Behaviour, #[case] told: &str) {
    let mut network = Network::start().await;
    let model = model().await;
    let liar = network.join(Arc::new(Behaving { model, behaviour })).await;
    let (client, store) = (network.server.client(), Arc::clone(&network.server.store));
    let mut jobs = 0;
    let penalty = loop {
        let standing = store
            .node_standing(liar, Testnet, SystemClock.now())
            .await
            .unwrap()
            .unwrap();
        if let Some(penalty) = standing.penalty(SystemClock.now()) {
            break penalty.clone();
        }
        let checks = store.node_checks(liar, Testnet, None, 100).await.unwrap();
        assert!(jobs < MOST_JOBS, "{behaviour:?} was not found: {checks:?}");
        network.ask(&client, jobs).await;
        jobs += 1;
    };
    let checks = store.node_checks(liar, Testnet, None, 100).await.unwrap();
    println!(
        "{behaviour:?}: excluded after {} checks, {jobs} pairs of jobs: {}",
        checks.len(),
        penalty.reason
    );
    assert!(penalty.reason.contains(told), "{}", penalty.reason);
    assert!(penalty.until.is_some() && checks[0].penalty == Some(penalty.id));
    let filter = NotificationFilter {
        account: network.server.principal.account,
        environment: Some(Testnet),
        unread: false,
        after: None,
        ascending: false,
        limit: 10,
    };
    let notices = store.notifications(filter).await.unwrap();
    assert!(
        notices.iter().any(|notice| notice.notification.message.contains(told)),
        "{notices:?}"
    );
    // It gets nothing any more; what the trusted node answers is enough.
    let flow = Arc::clone(network.server.running.app().flow());
    until("the liar out of rotation", || {
        !flow
            .fleet
            .node(liar)
            .is_some_and(|view| view.is_routed(SystemClock.now()))
    })
    .await;
    network.ask(&client, 1).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_node_stays_and_is_checked_less() {
    let mut network = Network::start().await;
    let model = model().await;
    let behaviour = Behaviour::Honest;
    let honest = network.join(Arc::new(Behaving { model, behaviour })).await;
    let (client, store) = (network.server.client(), Arc::clone(&network.server.store));
    let flow = Arc::clone(network.server.running.app().flow());
    let mut jobs = 0;
    while flow
        .checks
        .reputations(honest)
        .first()
        .is_none_or(|(_, reputation)| reputation.checks < 3)
    {
        assert!(jobs < MOST_JOBS, "too few of its jobs were checked");
        network.ask(&client, jobs).await;
        jobs += 1;
    }
    let checks = store.node_checks(honest, Testnet, None, 100).await.unwrap();
    let standing = store
        .node_standing(honest, Testnet, SystemClock.now())
        .await
        .unwrap()
        .unwrap();
    assert!(standing.may_work(SystemClock.now()), "{checks:?}");
    let kept = store.reputations_of(honest, Testnet).await.unwrap();
    assert!(
        kept[0].1.passed >= 2 && flow.checks.score(honest) > 500,
        "{kept:?}, {checks:?}"
    );
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_trusted_a_third_node_decides_who_lies() {
    let mut network = Network::alone().await;
    let model = model().await;
    let mut nodes = Vec::new();
    for behaviour in [Behaviour::Invents, Behaviour::Honest, Behaviour::Honest] {
        let model = Arc::clone(&model);
        nodes.push(network.join(Arc::new(Behaving { model, behaviour })).await);
    }
    let (client, store) = (network.server.client(), Arc::clone(&network.server.store));
    let flow = Arc::clone(network.server.running.app().flow());
    let mut asked = 0_u64;
    let checks = loop {
        let checks = store.node_checks(nodes[0], Testnet, None, 100).await.unwrap();
        if checks.iter().any(|check| check.weight.get() > 0) {
            break checks;
        }
        assert!(asked < 400, "nobody was compared: {checks:?}");
        let mut request = ChatRequest::new(&network.model, [Message::user(format!("Say {asked}."))]).max_tokens(8);
        request.temperature = Some(0.0);
        request.extra.insert("logprobs".to_owned(), true.into());
        request.extra.insert("top_logprobs".to_owned(), 3.into());
        client.chat(request).await.unwrap();
        asked += 1;
    };
    println!("found after {asked} jobs: {checks:?}");
    assert!(checks.iter().all(|check| check.kind == "agreement"), "{checks:?}");
    network.server.until_idle().await;
    for node in &nodes[1..] {
        let known = flow.checks.reputations(*node);
        assert!(
            known
                .iter()
                .all(|(_, reputation)| reputation.evidence() == MilliNats::ZERO && reputation.parted.get() < 6_001),
            "{known:?}"
        );
    }
    // Nobody paid for what the network asked, the nodes earned with it, and the books are right.
    let report = store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.jobs > asked, "{} jobs, {asked} of them asked", report.jobs);
    network.stop().await;
}
