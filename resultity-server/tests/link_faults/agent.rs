//! A real Agent whose socket is cut and kept shut in the middle of a job: it goes on over HTTP, and over a socket again once it
//! may.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use resultity_core::credits::Credits;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Usage};
use resultity_node::agent::Agent;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use resultity_server::assemble::Offer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::invariants::invariants;
use crate::harness::proxy::FaultProxy;
use crate::harness::{CREDITS, TestServer, model, soon};
use crate::replay::lines;
use crate::{GRACE, pass, request, until_gone};

/// Says what it was asked, a word at a time; after the first word it stops until it may go on, unless the network tests it.
#[derive(Clone)]
pub struct Parrot {
    reached: watch::Sender<bool>,
    goes_on: watch::Sender<bool>,
}

impl Parrot {
    pub fn stopping() -> Self {
        Self {
            reached: watch::Sender::new(false),
            goes_on: watch::Sender::new(false),
        }
    }

    /// What it says to this.
    pub fn says(question: &str) -> String {
        format!("you said: {question}")
    }

    /// Waits until it has stopped.
    pub async fn until_stopped(&self) {
        soon("the first word", self.reached.subscribe().wait_for(|reached| *reached))
            .await
            .unwrap();
    }

    /// Lets it go on, for ever.
    pub fn go_on(&self) {
        self.goes_on.send_replace(true);
    }
}

#[async_trait]
impl Runtime for Parrot {
    fn kind(&self) -> &'static str {
        "parrot"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new("m")])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let question = request.messages.last().and_then(|message| message.content.as_ref());
        let question = question.unwrap().text().into_owned();
        let text = Self::says(&question);
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let usage = Usage::new(3, words.len() as u64);
        let mut events: Vec<_> = words
            .iter()
            .map(|word| RuntimeEvent::Delta(vec![ChunkChoice::text(0, *word)]))
            .collect();
        events.push(RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")]));
        events.push(RuntimeEvent::Done(usage));
        let (reached, goes_on) = (self.reached.clone(), self.goes_on.clone());
        let is_test = question == "Say yes.";
        let stream = stream::iter(events).enumerate().then(move |(number, event)| {
            let (reached, mut goes_on) = (reached.clone(), goes_on.subscribe());
            async move {
                if number == 1 && !is_test {
                    reached.send_replace(true);
                    let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                }
                Ok(event)
            }
        });
        Ok(stream.boxed())
    }
}

#[tokio::test]
async fn a_job_whose_socket_is_cut_and_kept_shut_is_finished_over_http_and_the_next_one_over_a_socket() {
    const SECRET: &str = "xyzzy-plugh-4711";
    let mut offer = Offer::new(vec![model("m")]);
    offer.heartbeat_interval_ms = 2_000;
    let server = TestServer::with(offer).await;
    let flow = server.running.app().flow();
    let line = FaultProxy::start(server.running.address(), 1).await.unwrap();
    let (runtime, dir) = (Parrot::stopping(), tempfile::tempdir().unwrap());
    let agent = Agent::builder(format!("ws://{}/io/v1/ws", line.address()), dir.path());
    let agent = agent.runtime(Arc::new(runtime.clone())).build().unwrap();
    let (id, mut status, stop) = (agent.node_id(), agent.status(), CancellationToken::new());
    let task = tokio::spawn(agent.run(stop.clone()));
    server.until_served("m").await;

    let asked = tokio::spawn({
        use resultity_core::api::cloud::ChatApi as _;
        let client = server.client();
        async move {
            let mut stream = client.chat_stream(request(SECRET)).await.unwrap();
            let mut text = String::new();
            while let Some(piece) = stream.next().await {
                text.push_str(piece.unwrap().text());
            }
            text
        }
    });
    runtime.until_stopped().await;
    line.refuse(Some("GET /io/v1/ws"));
    line.cut_all();
    until_gone(&server, id).await;
    let fallback = &server.running.app().fallback;
    soon("a session over HTTP", async {
        while !fallback.has(flow.environment, id) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The heartbeat after it: the job waits no more.
    soon("a lease that goes on", async {
        let first = flow.bus.leases_of(id)[0].deadline;
        while flow.bus.leases_of(id)[0].deadline == first {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pass(GRACE).await;
    assert_eq!(flow.bus.leases_of(id).len(), 1, "it is still its own");
    runtime.go_on();
    assert_eq!(soon("the answer", asked).await.unwrap(), Parrot::says(SECRET));
    assert!(flow.bus.node(id).is_none(), "it came over HTTP");
    assert!(!status.borrow().connected);
    server.until_idle().await;
    let after_first = server.balance().await.available;
    assert!(after_first < CREDITS);
    invariants(&server).await;

    line.refuse(None);
    soon("the socket", status.wait_for(|status| status.connected))
        .await
        .unwrap();
    server.until_served("m").await;
    let again = tokio::spawn({
        use resultity_core::api::cloud::ChatApi as _;
        let client = server.client();
        async move { client.chat(request(SECRET)).await.unwrap().text().to_owned() }
    });
    assert_eq!(soon("the answer", again).await.unwrap(), Parrot::says(SECRET));
    server.until_idle().await;
    let each = CREDITS.micros() - after_first.micros();
    server.assert_charged(Credits::from_micros(2 * each)).await;

    // What happened meanwhile is told, and nothing of what was asked or answered.
    let told = soon("the log", async {
        loop {
            let told = lines(&server, id, Some(server.principal.account)).await;
            let has = |message: &str| told.iter().filter(|kept| kept.line.message == message).count();
            if has("the link to the network was lost") == 1 && has("a job is done") >= 2 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let text = format!("{told:?}");
    assert!(!text.contains(SECRET) && !text.contains("you said"), "{text}");
    invariants(&server).await;
    stop.cancel();
    soon("the Agent's end", task).await.unwrap().unwrap();
}
