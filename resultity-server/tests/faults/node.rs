//! Real Agents, with a Runtime that says what it was asked and stops where the test wants it to.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use resultity_core::clock::{Clock, SystemClock};
use resultity_core::id::NodeId;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Usage};
use resultity_node::agent::{Agent, AgentError, AgentStatus};
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{TestServer, soon};

/// Where the work on a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing was made yet.
    Begun,
    /// The first word was made.
    Middle,
    /// All was made, but the result was not sent.
    Made,
}

/// Says what it was asked, a word at a time, after `you said:`. A question that is a test of the network is never stopped.
#[derive(Clone)]
pub struct Parrot {
    stops_at: Option<Step>,
    reached: watch::Sender<bool>,
    goes_on: watch::Sender<bool>,
}

impl Default for Parrot {
    fn default() -> Self {
        Self {
            stops_at: None,
            reached: watch::Sender::new(false),
            goes_on: watch::Sender::new(false),
        }
    }
}

impl Parrot {
    /// One that stops here.
    pub fn stopping_at(step: Step) -> Self {
        Self {
            stops_at: Some(step),
            ..Self::default()
        }
    }

    /// What it says to this.
    pub fn says(question: &str) -> String {
        format!("you said: {question}")
    }

    /// Waits until it stands where it stops.
    pub async fn until_stopped(&self) {
        soon("the step", self.reached.subscribe().wait_for(|reached| *reached))
            .await
            .unwrap();
    }

    /// Lets it go on.
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
        Ok(vec![EngineModel::new("m"), EngineModel::new("later")])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let question = request.messages.last().and_then(|message| message.content.as_ref());
        let question = question.unwrap().text().into_owned();
        let stops_at = self.stops_at.filter(|_| question != "Say yes.");
        let text = Self::says(&question);
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let usage = Usage::new(3, words.len() as u64);
        let mut events = vec![(
            Some(Step::Begun),
            RuntimeEvent::Delta(vec![ChunkChoice::text(0, words[0])]),
        )];
        for (number, word) in words[1..].iter().enumerate() {
            let step = (number == 0).then_some(Step::Middle);
            events.push((step, RuntimeEvent::Delta(vec![ChunkChoice::text(0, *word)])));
        }
        events.push((None, RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")])));
        events.push((Some(Step::Made), RuntimeEvent::Done(usage)));
        let (reached, goes_on) = (self.reached.clone(), self.goes_on.clone());
        let stream = stream::iter(events).then(move |(step, event)| {
            let (reached, mut goes_on) = (reached.clone(), goes_on.subscribe());
            async move {
                if step.is_some() && step == stops_at {
                    reached.send_replace(true);
                    let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                }
                Ok(event)
            }
        });
        Ok(stream.boxed())
    }
}

/// An Agent that runs.
pub struct Node {
    pub id: NodeId,
    pub status: watch::Receiver<AgentStatus>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Node {
    /// One with its files here; as good as the network lets it.
    pub fn start(io_url: &str, dir: &Path, runtime: impl Runtime) -> Self {
        Self::start_by(io_url, dir, runtime, Arc::new(SystemClock))
    }

    /// The same with a clock of its own.
    pub fn start_by(io_url: &str, dir: &Path, runtime: impl Runtime, clock: Arc<dyn Clock>) -> Self {
        let agent = Agent::builder(io_url, dir)
            .runtime(Arc::new(runtime))
            .clock(clock)
            .build()
            .unwrap();
        let (id, status, stop) = (agent.node_id(), agent.status(), CancellationToken::new());
        let task = tokio::spawn(agent.run(stop.clone()));
        Self { id, status, stop, task }
    }

    /// One in rotation; its files go with the folder.
    pub async fn ready(server: &TestServer, runtime: impl Runtime) -> (Self, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let node = Self::start(&server.io_url(), dir.path(), runtime);
        node.until_in_rotation(server).await;
        (node, dir)
    }

    /// Waits until it gets jobs.
    pub async fn until_in_rotation(&self, server: &TestServer) {
        let flow = server.running.app().flow();
        soon("a node in rotation", async {
            while flow
                .fleet
                .node(self.id)
                .is_none_or(|view| !view.in_rotation(flow.clock.now()))
            {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Nothing more is said, nothing more is written.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// As an operator ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        soon("the node's end", self.task).await.unwrap().unwrap();
    }
}
