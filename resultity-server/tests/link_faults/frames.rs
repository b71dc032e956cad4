//! Frames that are not as they should be: malformed, too large, cut in the middle, a byte at a time. The link ends with a code,
//! or goes on; the job goes on in any case.

use resultity_core::error::ErrorCode;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::wire::{AckOutcome, ServerFrame};
use resultity_server::assemble::Offer;
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use crate::harness::invariants::invariants;
use crate::harness::node::{Sent, TestNode};
use crate::harness::proxy::{FaultProxy, Weather};
use crate::harness::{TestServer, model, soon};
use crate::{COST, again, ask, ask_for_stream, server_and_node, text_of, until_gone};

const MIB: usize = 1024 * 1024;

/// A text frame as it is on the wire, with a mask of zeros.
fn on_the_wire(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | 127];
    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A server, and a node with a job under way.
async fn under_way() -> (
    TestServer,
    TestNode,
    resultity_core::wire::Job,
    tokio::task::JoinHandle<String>,
) {
    let (server, mut node) = server_and_node().await;
    let asked = tokio::spawn(text_of(ask(&server)));
    let job = node.next_job().await;
    node.accept(&job).await;
    (server, node, job, asked)
}

/// The node comes back and is paid once.
async fn comes_back(
    server: TestServer,
    node: TestNode,
    job: resultity_core::wire::Job,
    asked: tokio::task::JoinHandle<String>,
) {
    let mut node = again(&server, node, &[&job]).await;
    let mut leases = node.welcome.leases.iter();
    assert!(
        leases.any(|lease| lease.job_id == job.job_id),
        "the job is still its own"
    );
    let result = node.result(&job, "all the same");
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    assert_eq!(soon("the answer", asked).await.unwrap(), "all the same");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[rstest]
#[case::no_json("{")]
#[case::no_object("[]")]
#[case::no_type("{}")]
#[case::type_of_another_kind(r#"{"type":5}"#)]
#[case::accept(r#"{"type":"accept","job_id":"x"}"#)]
#[case::decline(r#"{"type":"decline","code":"busy"}"#)]
#[case::chunk(r#"{"type":"chunk","index":-1}"#)]
#[case::result(r#"{"type":"result","output":[]}"#)]
#[case::failed(r#"{"type":"failed","code":5}"#)]
#[case::heartbeat(r#"{"type":"heartbeat","seq":"one"}"#)]
#[case::log(r#"{"type":"log","lines":5}"#)]
#[case::error(r#"{"type":"error"}"#)]
#[tokio::test]
async fn a_malformed_frame_ends_the_link_and_no_job(#[case] text: &str) {
    let (server, mut node, job, asked) = under_way().await;
    node.send_text(text.into()).await;
    assert_eq!(node.close_code().await, 1007);
    comes_back(server, node, job, asked).await;
}

#[tokio::test]
async fn what_is_too_large_ends_the_link_and_no_job() {
    let (server, mut node, job, asked) = under_way().await;
    let padding = "x".repeat(MIB + 1);
    let heartbeat = node.signed_heartbeat(1, 1, &[], resultity_core::clock::Timestamp::from_millis(0));
    let log = node.signed_log(1, Vec::new());
    let padded = |text: &str| format!(r#"{},"padding":"{padding}"}}"#, text.strip_suffix('}').unwrap());
    for text in [padded(&heartbeat), padded(&log)] {
        node.send_text(text).await;
        assert_eq!(node.close_code().await, 1008);
        node = again(&server, node, &[&job]).await;
    }
    comes_back(server, node, job, asked).await;
}

/// One request may make an answer with such a piece: it must not cost the node its link, and all other jobs with it.
#[tokio::test]
async fn a_chunk_that_is_too_large_costs_its_job_and_not_the_link() {
    let server = TestServer::with(Offer::new(vec![model("m")])).await;
    let mut node = server.node_in_rotation("m", 2).await;
    server.until_served("m").await;
    let (asked, other) = (ask_for_stream(&server), ask(&server));
    let (mut one, mut two) = (node.next_job().await, node.next_job().await);
    if !one.stream {
        std::mem::swap(&mut one, &mut two);
    }
    let piece = ChunkChoice::text(0, "x".repeat(MIB));
    node.chunk(&one, &mut Sent::default(), &[piece]).await;
    node.cancel_of(one.job_id).await;
    let error = soon("the end of the stream", asked).await.unwrap().unwrap_err();
    assert!(
        matches!(error.code, ErrorCode::NodeFailed | ErrorCode::NoCapacity),
        "{error}"
    );
    node.answer(&two, "all the same").await;
    assert_eq!(text_of(other).await, "all the same");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_is_not_read() {
    let (server, mut node, job, asked) = under_way().await;
    let id = node.id();
    // The head says how long it is: it does not have to come.
    let mut head = vec![0x81, 0x80 | 127];
    head.extend_from_slice(&(30 * MIB as u64).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    node.raw().write_all(&head).await.unwrap();
    until_gone(&server, id).await;
    comes_back(server, node, job, asked).await;
}

#[tokio::test]
async fn a_binary_frame_ends_the_link_and_a_ping_does_not() {
    let (server, mut node, job, asked) = under_way().await;
    let id = node.id();
    node.raw().write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert!(node.renewed(1, &[]).await.is_empty(), "it goes on");
    node.raw().write_all(&[0x82, 0x81, 0, 0, 0, 0, 7]).await.unwrap();
    until_gone(&server, id).await;
    comes_back(server, node, job, asked).await;
}

#[tokio::test]
async fn a_frame_that_comes_a_byte_at_a_time_is_as_good_as_any() {
    let (server, mut node, job, asked) = under_way().await;
    let result = resultity_core::wire::NodeFrame::from(node.result(&job, "byte by byte")).encode();
    for byte in on_the_wire(&result) {
        node.raw().write_all(&[byte]).await.unwrap();
        node.raw().flush().await.unwrap();
    }
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    assert_eq!(soon("the answer", asked).await.unwrap(), "byte by byte");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn half_a_frame_is_none() {
    let (server, mut node, job, asked) = under_way().await;
    let id = node.id();
    let result = resultity_core::wire::NodeFrame::from(node.result(&job, "half")).encode();
    let bytes = on_the_wire(&result);
    node.raw().write_all(&bytes[..bytes.len() / 2]).await.unwrap();
    node.raw().shutdown().await.unwrap();
    until_gone(&server, id).await;
    comes_back(server, node, job, asked).await;
}

#[tokio::test]
async fn a_socket_that_is_cut_in_the_middle_of_a_frame_loses_no_job() {
    let server = TestServer::start().await;
    let line = FaultProxy::start(server.running.address(), 1).await.unwrap();
    let url = format!("ws://{}/io/v1/ws", line.address());
    let mut node = TestNode::ready(&url, "m", 1).await;
    server.until_served("m").await;
    let asked = tokio::spawn(text_of(ask(&server)));
    let job = node.next_job().await;
    node.accept(&job).await;
    let id = node.id();
    line.set(Weather {
        cuts: 10_000,
        ..Weather::default()
    });
    // More than one piece of what the line passes on, so that its first half arrives.
    let result = node.result(&job, &"long ".repeat(1_000));
    node.send(result).await;
    until_gone(&server, id).await;
    comes_back(server, node, job, asked).await;
}

/// Frames of a type that nobody knows are told, and what is in a wrong order is no harm.
#[tokio::test]
async fn what_is_unknown_is_told_and_the_link_goes_on() {
    let (server, mut node, job, asked) = under_way().await;
    node.send_text(r#"{"type":"of the future","job_id":5}"#.into()).await;
    match node.next().await {
        ServerFrame::Error(error) => assert_eq!(error.code, "unknown_type"),
        other => panic!("{other:?}"),
    }
    // Accepted twice, with a field that nobody knows.
    let accept = format!(
        r#"{{"type":"accept","job_id":"{}","attempt":1,"lease_token":"{}","new":{{"a":[1]}}}}"#,
        job.job_id, job.lease_token
    );
    node.send_text(accept).await;
    comes_back(server, node, job, asked).await;
}
