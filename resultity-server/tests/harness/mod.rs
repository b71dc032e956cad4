//! What the tests of the server share: a server in this process, and a node whose every step the test decides.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use resultity_client::CloudClient;
use resultity_core::capability::Capability;
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::id::NamespaceId;
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::snapshot::JobParameters;
use resultity_server::assemble::{Offer, Running, Server, ServerOptions, listen, open_store};
use resultity_server::flow::Principal;
use resultity_server::http::Role;
use resultity_server::link::LinkPolicy;
use resultity_server::session::{CloudSession, Keys, new_key};
use resultity_server::store::{Balance, KeyLimits, Store};
use resultity_server::tenant::{self, Tenant};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

pub mod api;
pub mod batches;
pub mod gate;
pub mod http_node;
pub mod invariants;
pub mod node;
#[cfg(feature = "dev")]
pub mod process;
pub mod proxy;
pub mod wallet;

/// How long anything in a test may take before it counts as hanging: only a test that fails waits for so long.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What the key of a [`TestServer`] starts with.
pub const CREDITS: Credits = Credits::from_whole(1000);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// While this happens no time goes by for whoever waits for time: what has to be done in seconds is done in time by the slowest
/// machine. For tests with one thread. What hangs is given up after [`PATIENCE`] of the machine's own time.
pub async fn timeless<T>(future: impl Future<Output = T>) -> T {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    // As long as there is such work a clock that stands still does not jump to the next timer.
    let holds_time = tokio::task::spawn_blocking(move || is_over.recv_timeout(PATIENCE));
    tokio::time::pause();
    let done = future.await;
    tokio::time::resume();
    drop(over);
    let _ = holds_time.await;
    done
}

/// What a test offers, with nodes that may take their time: no job is given up because its node does not accept it soon,
/// unless the test says so.
fn patient(mut offer: Offer) -> Offer {
    let usual = JobParameters::default().accept_timeout_ms;
    if offer.jobs.accept_timeout_ms == usual {
        offer.jobs.accept_timeout_ms = 12 * usual;
    }
    offer
}

/// A model that nodes bring themselves.
pub fn model(name: &str) -> ModelSpec {
    ModelSpec {
        name: name.into(),
        version: "1".into(),
        kind: ModelKind::External,
        aliases: Vec::new(),
        files: Vec::new(),
        context_length: 4096,
        default_max_tokens: 64,
        capabilities: Capability::of_text_engine(),
        price: Price {
            input_per_million: Credits::from_whole(1),
            output_per_million: Credits::from_whole(2),
            per_request: Credits::from_micros(10),
        },
        test_prompt: "Say yes.".into(),
    }
}

/// A container that nodes bring themselves.
pub fn container(name: &str) -> ModelSpec {
    ModelSpec {
        kind: ModelKind::Container,
        context_length: 0,
        default_max_tokens: 0,
        capabilities: Capability::names([Capability::Container]),
        price: Price {
            per_request: Credits::from_micros(25),
            ..Price::default()
        },
        test_prompt: r#"{"ready":true}"#.into(),
        ..model(name)
    }
}

/// A server in this process, on a free port, with a key that has credits.
pub struct TestServer {
    pub running: Running,
    pub store: Arc<dyn Store>,
    pub api_key: SecretString,
    pub principal: Principal,
    pub data_dir: TempDir,
}

impl TestServer {
    /// One that serves the model `m`.
    pub async fn start() -> Self {
        Self::with(Offer::new(vec![model("m")])).await
    }

    /// One that offers this.
    pub async fn with(offer: Offer) -> Self {
        Self::with_options(offer, |_| ()).await
    }

    /// One with rules for nodes of its own; by default nodes of this machine are bound to the tester's account.
    pub async fn with_policy(offer: Offer, policy: LinkPolicy) -> Self {
        Self::with_options(offer, |options| options.link_policy = policy).await
    }

    /// One whose options the test changes.
    pub async fn with_options(offer: Offer, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(open_store(data_dir.path(), None).unwrap());
        let api_key = new_key(Environment::Testnet, &SystemEntropy);
        let tenant = Tenant {
            account: "tester",
            namespace: "default",
            key_label: "",
            environment: Environment::Testnet,
        };
        let record = tenant::ensure(&*store, tenant, &api_key, &SystemClock, &SystemEntropy)
            .await
            .unwrap();
        tenant::grant_once(&*store, &record, CREDITS, "first".into(), &SystemClock)
            .await
            .unwrap();
        let mut options = ServerOptions::new(Environment::Testnet, data_dir.path(), patient(offer));
        options.link_policy = LinkPolicy {
            bind_loopback_to: Some(record.account),
        };
        options.admin_token = Some(resultity_core::canonical::sha256("admin"));
        options.gate.accounts.calls_per_minute = NonZeroU32::MAX;
        change(&mut options);
        let server = Server::with_store(options, Arc::clone(&store)).await.unwrap();
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let running = server.start(listener, &Role::ALL, None).unwrap();
        let keys = Keys::new(Arc::clone(&store));
        let principal = keys
            .principal(Some(api_key.expose_secret()), SystemClock.now())
            .await
            .unwrap();
        Self {
            running,
            store,
            api_key,
            principal,
            data_dir,
        }
    }

    /// Stops the server and starts another one on the same data; who asks then has the same key.
    pub async fn restarted(self, offer: Offer) -> Self {
        self.running.stop(Duration::from_millis(100)).await;
        let options = ServerOptions::new(Environment::Testnet, self.data_dir.path(), patient(offer));
        Self::again(options, self.store, self.api_key, self.principal, self.data_dir).await
    }

    async fn again(
        mut options: ServerOptions,
        store: Arc<dyn Store>,
        api_key: SecretString,
        principal: Principal,
        data_dir: TempDir,
    ) -> Self {
        options.link_policy = LinkPolicy {
            bind_loopback_to: Some(principal.account),
        };
        options.admin_token = Some(resultity_core::canonical::sha256("admin"));
        options.gate.accounts.calls_per_minute = NonZeroU32::MAX;
        let server = Server::with_store(options, Arc::clone(&store)).await.unwrap();
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let running = server.start(listener, &Role::ALL, None).unwrap();
        Self {
            running,
            store,
            api_key,
            principal,
            data_dir,
        }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.running.address())
    }

    pub fn io_url(&self) -> String {
        format!("ws://{}/io/v1/ws", self.running.address())
    }

    /// A client over HTTP that does not try again by itself.
    pub fn client(&self) -> CloudClient {
        self.client_with(self.api_key.expose_secret())
    }

    /// The same with another key.
    pub fn client_with(&self, key: &str) -> CloudClient {
        CloudClient::builder()
            .base_url(format!("{}/v1", self.base_url()))
            .api_key(key.to_owned())
            .max_retries(0)
            .build()
            .unwrap()
    }

    /// The same API without HTTP.
    pub fn session(&self) -> CloudSession {
        let app = self.running.app();
        CloudSession::new(Arc::clone(app.flow()), Arc::clone(&app.limits), self.principal.clone())
    }

    /// Another key, of an account of this name with credits of its own.
    pub async fn another_key(&self, account: &str, limits: KeyLimits) -> SecretString {
        let key = new_key(Environment::Testnet, &SystemEntropy);
        let tenant = Tenant {
            account,
            namespace: "default",
            key_label: "",
            environment: Environment::Testnet,
        };
        let record = tenant::ensure_limited(&*self.store, tenant, limits, &key, &SystemClock, &SystemEntropy)
            .await
            .unwrap();
        tenant::grant_once(
            &*self.store,
            &record,
            CREDITS,
            format!("first:{}", record.id),
            &SystemClock,
        )
        .await
        .unwrap();
        key
    }

    /// Waits until a node in rotation serves the model.
    pub async fn until_served(&self, model: &str) {
        soon("a node in rotation", self.running.app().flow().until_served(model)).await;
    }

    /// A new node that is given jobs from now on. Its readiness is acknowledged a moment before it is in rotation.
    pub async fn node_in_rotation(&self, model: &str, slots: u32) -> node::TestNode {
        let node = node::TestNode::ready(&self.io_url(), model, slots).await;
        let (flow, id) = (self.running.app().flow(), node.id());
        let is_out = || {
            flow.fleet
                .node(id)
                .is_none_or(|view| !view.in_rotation(flow.clock.now()))
        };
        soon("a node in rotation", async {
            while is_out() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        node
    }

    pub async fn balance(&self) -> Balance {
        balance(&*self.store, self.principal.namespace).await
    }

    /// Waits until no job is under way.
    pub async fn until_idle(&self) {
        let flow = self.running.app().flow();
        flow.tasks.close();
        soon("the end of all jobs", flow.tasks.wait()).await;
        flow.tasks.reopen();
    }

    /// The books are right, nothing is held, and exactly this was charged.
    pub async fn assert_charged(&self, charged: Credits) {
        self.until_idle().await;
        let report = self.store.audit().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.open_holds, 0);
        let left = Credits::from_micros(CREDITS.micros() - charged.micros());
        assert_eq!(
            self.balance().await,
            Balance {
                available: left,
                held: Credits::ZERO
            }
        );
    }
}

pub async fn balance(store: &dyn Store, namespace: NamespaceId) -> Balance {
    store.balance(namespace).await.unwrap().unwrap()
}
