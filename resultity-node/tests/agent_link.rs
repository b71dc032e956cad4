//! The Agent against a network on a real socket: what it sends, what it signs, and what it remembers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod network;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use network::{Network, NodeLink, PATIENCE, Scripted, job};
use resultity_core::id::NodeId;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::signing::{Outcome, TypedData};
use resultity_core::wire::{
    Ack, AckOutcome, Cancel, CancelReason, Chunk, Failed, FailureCode, Job, JobResult, NodeFrame, OutputHasher, Reject,
    RejectCode, Transcript,
};
use resultity_node::agent::{Agent, AgentError, AgentStatus, Refusal};
use rstest::rstest;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

struct Node {
    id: NodeId,
    cancel: CancellationToken,
    status: watch::Receiver<AgentStatus>,
    task: JoinHandle<Result<(), AgentError>>,
}

fn agent(network: &Network, dir: &Path, runtime: Scripted) -> Agent {
    Agent::builder(&network.io_url, dir)
        .runtime(Arc::new(runtime))
        .build()
        .unwrap()
}

impl Node {
    fn start(network: &Network, dir: &Path, runtime: Scripted) -> Self {
        let agent = agent(network, dir, runtime);
        let cancel = CancellationToken::new();
        Self {
            id: agent.node_id(),
            status: agent.status(),
            cancel: cancel.clone(),
            task: tokio::spawn(agent.run(cancel)),
        }
    }

    async fn end(self) -> Result<(), AgentError> {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the Agent does not end")
            .unwrap()
    }

    /// As a kill: nothing is said any more, nothing is written any more.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Follows a job to its result and checks all that the server would check.
async fn result_of(link: &mut NodeLink, network: &Network, job: &Job) -> (JobResult, Vec<Chunk>) {
    let mut chunks: Vec<Chunk> = Vec::new();
    loop {
        match link.next().await {
            NodeFrame::Accept(accept) => {
                assert_eq!((accept.job_id, accept.lease_token), (job.job_id, job.lease_token));
            }
            NodeFrame::Chunk(chunk) => {
                assert_eq!(chunk.index, chunks.len() as u64);
                chunks.push(chunk);
            }
            NodeFrame::Result(result) => {
                check(&result, network, link, job, &chunks);
                return (result, chunks);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check(result: &JobResult, network: &Network, link: &NodeLink, job: &Job, chunks: &[Chunk]) {
    result
        .signed_data()
        .verify(&network.domain, &result.signature, link.node)
        .unwrap();
    assert_eq!(
        (result.job_id, result.attempt, result.lease_token),
        (job.job_id, job.attempt, job.lease_token)
    );
    assert_eq!(result.request_hash, job.request_hash());
    let (mut transcript, mut output) = (Transcript::default(), OutputHasher::default());
    for chunk in chunks {
        transcript.add(chunk.delta.get());
        output.add(&serde_json::from_str::<Vec<ChunkChoice>>(chunk.delta.get()).unwrap());
    }
    if let Some(whole) = &result.output {
        transcript.add(whole.get());
        output = serde_json::from_str::<Vec<Choice>>(whole.get())
            .unwrap()
            .iter()
            .collect();
    }
    assert_eq!(result.transcript_hash, transcript.finish());
    assert_eq!(result.output_hash, output.finish());
}

/// How many pieces chunks hold: what was ready at once comes in one of them.
fn pieces(chunks: &[Chunk]) -> usize {
    let deltas = chunks
        .iter()
        .map(|chunk| serde_json::from_str::<Vec<ChunkChoice>>(chunk.delta.get()).unwrap());
    deltas.map(|delta| delta.len()).sum()
}

async fn failure_of(link: &mut NodeLink, network: &Network) -> Failed {
    loop {
        match link.next().await {
            NodeFrame::Failed(failed) => {
                failed
                    .signed_data()
                    .verify(&network.domain, &failed.signature, link.node)
                    .unwrap();
                return failed;
            }
            NodeFrame::Accept(_) | NodeFrame::Chunk(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn cancel(job: &Job) -> Cancel {
    Cancel {
        job_id: job.job_id,
        attempt: job.attempt,
        reason: CancelReason::ClientGone,
    }
}

fn ack(job: &Job) -> Ack {
    Ack {
        job_id: job.job_id,
        attempt: job.attempt,
        outcome: AckOutcome::Recorded,
    }
}

#[tokio::test]
async fn a_job_is_answered_in_chunks_or_whole_with_a_signature_that_holds() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let mut node = Node::start(&network, dir.path(), Scripted::default());
    let mut link = network.ready_link().await;
    assert_eq!(link.node, node.id.address());
    node.status.wait_for(AgentStatus::is_ready).await.unwrap();

    let streamed = job("words 3", true);
    link.send(streamed.clone()).await;
    let (result, chunks) = result_of(&mut link, &network, &streamed).await;
    assert_eq!(
        (result.outcome, result.finish_reason.as_str()),
        (Outcome::Complete, "stop")
    );
    assert_eq!(
        (result.prompt_tokens, result.completion_tokens, pieces(&chunks)),
        (11, 3, 4)
    );
    assert!(result.output.is_none());
    link.send(ack(&streamed)).await;

    let whole = job("words 2", false);
    link.send(whole.clone()).await;
    let (result, chunks) = result_of(&mut link, &network, &whole).await;
    assert!(chunks.is_empty());
    let choices: Vec<Choice> = serde_json::from_str(result.output.unwrap().get()).unwrap();
    assert_eq!(choices[0].message.content.as_deref(), Some("w0 w1 "));
    assert_eq!(
        (choices[0].message.role.as_str(), choices[0].finish_reason.as_deref()),
        ("assistant", Some("stop"))
    );
    link.send(ack(&whole)).await;

    node.cancel.cancel();
    assert_eq!(link.close_code().await, Some(1001));
    node.end().await.unwrap();
}

#[rstest]
#[case("refuse", FailureCode::InvalidRequest, false)]
#[case("break 2", FailureCode::EngineFailed, true)]
#[case("panic", FailureCode::EngineFailed, true)]
#[tokio::test]
async fn a_failure_is_signed_and_says_whether_another_node_may_do_better(
    #[case] prompt: &str,
    #[case] code: FailureCode,
    #[case] retryable: bool,
) {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path(), Scripted::default());
    let mut link = network.ready_link().await;
    link.send(job(prompt, true)).await;
    let failed = failure_of(&mut link, &network).await;
    assert_eq!((failed.code, failed.retryable), (code, retryable));
    // The node is as good as before.
    let next = job("words 1", true);
    link.send(next.clone()).await;
    result_of(&mut link, &network, &next).await;
    node.kill().await;
}

#[tokio::test]
async fn a_cancelled_job_stops_and_answers_with_what_there_is() {
    let (mut network, dir, runtime) = (
        Network::start().await,
        tempfile::tempdir().unwrap(),
        Scripted::default(),
    );
    let node = Node::start(&network, dir.path(), runtime.clone());
    let mut link = network.ready_link().await;
    let stopped = job("hang 2", true);
    link.send(stopped.clone()).await;
    let mut chunks = Vec::new();
    while pieces(&chunks) < 2 {
        if let NodeFrame::Chunk(chunk) = link.next().await {
            chunks.push(chunk);
        }
    }
    link.send(cancel(&stopped)).await;
    let NodeFrame::Result(result) = link.next().await else {
        panic!("no partial result")
    };
    check(&result, &network, &link, &stopped, &chunks);
    assert_eq!(
        (result.outcome, result.prompt_tokens, result.completion_tokens),
        (Outcome::Partial, 11, 2)
    );
    assert_eq!(
        runtime.dropped.load(Ordering::SeqCst),
        1,
        "the engine is told by dropping its stream"
    );

    let nothing = job("hang 0", true);
    link.send(nothing.clone()).await;
    assert!(matches!(link.next().await, NodeFrame::Accept(_)));
    link.send(cancel(&nothing)).await;
    assert_eq!(failure_of(&mut link, &network).await.code, FailureCode::Cancelled);
    node.kill().await;
}

#[tokio::test]
async fn a_job_goes_on_over_a_lost_link() {
    let (mut network, dir, runtime) = (
        Network::start().await,
        tempfile::tempdir().unwrap(),
        Scripted::default(),
    );
    let node = Node::start(&network, dir.path(), runtime.clone());
    let mut link = network.ready_link().await;
    let (first_session, long) = (link.session, job("gate 2", true));
    link.send(long.clone()).await;
    assert!(matches!(link.next().await, NodeFrame::Accept(_)));
    assert!(matches!(link.next().await, NodeFrame::Chunk(_)));
    // Without a goodbye, as when a machine goes away.
    drop(link);

    let mut link = network.link().await;
    let hello = link.handshake(&[(long.job_id, long.attempt)]).await;
    let resume = hello.resume.unwrap();
    assert_eq!(
        (resume.session_id, resume.journal),
        (first_session, vec![(long.job_id, long.attempt)])
    );
    assert_eq!(hello.models.len(), 1, "by now it knows the snapshot");
    runtime.open();
    let (result, chunks) = result_of(&mut link, &network, &long).await;
    assert_eq!((result.outcome, pieces(&chunks)), (Outcome::Complete, 4));
    node.kill().await;
}

#[tokio::test]
async fn a_killed_node_comes_back_as_itself_with_its_result() {
    let (mut network, dir, runtime) = (
        Network::start().await,
        tempfile::tempdir().unwrap(),
        Scripted::default(),
    );
    let node = Node::start(&network, dir.path(), runtime.clone());
    let id = node.id;
    let mut link = network.ready_link().await;
    let (done, begun, unwanted) = (job("words 1", false), job("hang 1", true), job("words 1", false));
    link.send(done.clone()).await;
    let (first, _) = result_of(&mut link, &network, &done).await;
    link.send(unwanted.clone()).await;
    result_of(&mut link, &network, &unwanted).await;
    link.send(begun.clone()).await;
    assert!(matches!(link.next().await, NodeFrame::Accept(_)));
    node.kill().await;
    drop(link);

    let node = Node::start(&network, dir.path(), runtime);
    assert_eq!(node.id, id);
    let mut link = network.link().await;
    let hello = link
        .handshake(&[(done.job_id, done.attempt), (begun.job_id, begun.attempt)])
        .await;
    assert_eq!(hello.resume.unwrap().journal.len(), 3);
    let (mut again, mut interrupted) = (None, None);
    while again.is_none() || interrupted.is_none() {
        match link.next().await {
            NodeFrame::Result(result) => again = Some(result),
            NodeFrame::Failed(failed) => interrupted = Some(failed),
            other => panic!("{other:?}"),
        }
    }
    let (again, interrupted) = (again.unwrap(), interrupted.unwrap());
    check(&again, &network, &link, &done, &[]);
    assert_eq!(again.signature, first.signature, "the very same result");
    interrupted
        .signed_data()
        .verify(&network.domain, &interrupted.signature, link.node)
        .unwrap();
    assert_eq!(
        (interrupted.job_id, interrupted.code, interrupted.retryable),
        (begun.job_id, FailureCode::Interrupted, true)
    );
    link.send(ack(&done)).await;
    link.send(ack(&begun)).await;
    // Acks are handled in order, so after this job nothing is left.
    let last = job("words 1", false);
    link.send(last.clone()).await;
    result_of(&mut link, &network, &last).await;
    drop(link);
    let mut link = network.link().await;
    let journal = link.challenge().await.resume.unwrap().journal;
    assert_eq!(journal, [(last.job_id, last.attempt)]);
    node.kill().await;
}

#[tokio::test]
async fn a_refused_node_stops_and_says_why() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path(), Scripted::default());
    let mut link = network.link().await;
    link.challenge().await;
    link.send(Reject {
        code: RejectCode::VersionTooOld,
        message: "at least 9.0 is needed".into(),
        retry_after_ms: None,
    })
    .await;
    let error = node.end().await.unwrap_err();
    assert!(matches!(
        &error,
        AgentError::Refused(Refusal::Rejected {
            code: RejectCode::VersionTooOld,
            ..
        })
    ));
    assert!(
        error.to_string().contains("at least 9.0 is needed") && error.to_string().contains("update"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_may_come_back_does() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path(), Scripted::default());
    let mut link = network.link().await;
    link.challenge().await;
    link.send(Reject {
        code: RejectCode::ClockSkew,
        message: "off".into(),
        retry_after_ms: Some(1),
    })
    .await;
    network.ready_link().await;
    node.kill().await;
}

#[rstest]
#[case::no_json(Message::text("{"))]
#[case::no_text(Message::binary(vec![1u8]))]
#[case::not_now(Message::text(
    r#"{"type":"welcome","heartbeat_interval_ms":1,"config_digest":"0x00","bound":true,"state":"x"}"#
))]
#[tokio::test]
async fn a_malformed_frame_ends_the_link_and_the_node_comes_back(#[case] message: Message) {
    use futures::SinkExt;
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path(), Scripted::default());
    let mut link = network.ready_link().await;
    link.socket
        .send(Message::text(r#"{"type":"later","new":1}"#))
        .await
        .unwrap();
    let NodeFrame::Error(error) = link.next().await else {
        panic!("an unknown frame is answered")
    };
    assert_eq!(
        (error.code.as_str(), error.frame.as_deref()),
        ("unknown_type", Some("later"))
    );
    link.socket.send(message).await.unwrap();
    assert_eq!(link.close_code().await, Some(1002));
    drop(link);
    network.ready_link().await;
    node.kill().await;
}

#[tokio::test]
async fn a_pinned_network_is_not_exchanged() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path(), Scripted::default());
    network.ready_link().await;
    node.kill().await;
    let other = "0x00000000000000000000000000000000000000aa".parse().unwrap();
    let built = Agent::builder(&network.io_url, dir.path())
        .runtime(Arc::new(Scripted::default()))
        .network_key(Some(other))
        .build();
    let error = built.err().unwrap().to_string();
    assert!(
        error.contains("network.json") && error.contains("--data-dir"),
        "{error}"
    );

    let fresh = tempfile::tempdir().unwrap();
    let agent = Agent::builder(&network.io_url, fresh.path())
        .runtime(Arc::new(Scripted::default()))
        .network_key(Some(other))
        .build()
        .unwrap();
    let task = tokio::spawn(agent.run(CancellationToken::new()));
    let mut link = network.link().await;
    tokio::spawn(async move { link.challenge().await });
    let error = tokio::time::timeout(PATIENCE, task)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("trusts the network"), "{error}");
}

#[tokio::test]
async fn a_stop_lets_running_jobs_finish() {
    let (mut network, dir, runtime) = (
        Network::start().await,
        tempfile::tempdir().unwrap(),
        Scripted::default(),
    );
    let node = Node::start(&network, dir.path(), runtime.clone());
    let mut link = network.ready_link().await;
    let long = job("gate 1", true);
    link.send(long.clone()).await;
    assert!(matches!(link.next().await, NodeFrame::Accept(_)));
    assert!(matches!(link.next().await, NodeFrame::Chunk(_)));
    node.cancel.cancel();
    let mut status = node.status.clone();
    status.wait_for(|status| status.draining).await.unwrap();
    let late = job("words 1", true);
    link.send(late).await;
    assert!(matches!(link.next().await, NodeFrame::Decline(_)));
    runtime.open();
    let result = loop {
        if let NodeFrame::Result(result) = link.next().await {
            break result;
        }
    };
    assert_eq!(result.outcome, Outcome::Complete);
    link.send(ack(&long)).await;
    assert_eq!(link.close_code().await, Some(1001));
    node.end().await.unwrap();
}

#[tokio::test]
async fn a_web_server_without_a_node_link_is_told_at_once() {
    let mut server = mockito::Server::new_async().await;
    let link = server.mock("GET", "/io/v1/ws").match_query("environment=testnet");
    link.with_status(404).create_async().await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("ws://{}/io/v1/ws", server.host_with_port());
    let agent = Agent::builder(url, dir.path())
        .runtime(Arc::new(Scripted::default()))
        .build()
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE, agent.run(CancellationToken::new()))
        .await
        .unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("/io/v1/ws"), "{error}");
}
