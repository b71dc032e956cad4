//! What a node's owner may see of it.

use resultity_core::signing::{Keypair, LogBatchData, TypedData};
use resultity_core::wire::{FailureCode, LogBatch, LogLine};

use super::*;
use crate::agent::signed::{Reason, failure};

fn shipped(outputs: Vec<Output>) -> Option<LogBatch> {
    outputs.into_iter().find_map(|output| match output {
        Output::Send(NodeFrame::Log(batch)) => Some(batch),
        _ => None,
    })
}

fn messages(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

#[test]
fn lines_are_signed_and_rise_and_hold_nothing_of_requests_or_answers() {
    let mut bench = Bench::live();
    let secret = "a-word-of-the-prompt";
    let body = format!(r#"{{"model":"demo","messages":[{{"role":"user","content":"{secret}"}}]}}"#);
    for seed in [1, 2] {
        bench.frame(Job {
            body: RawValue::from_string(body.clone()).unwrap(),
            ..job(seed)
        });
    }
    bench.give(Input::Chunk(key(1), format!(r#"{{"delta":"{secret}"}}"#).into()));
    bench.give(Input::Finished(
        key(1),
        format!(r#"{{"type":"result","output":"{secret}"}}"#).into(),
    ));
    let domain = Domain::new(Environment::Testnet, network().address());
    let node = Keypair::generate(&SeededEntropy::new(60));
    let reason = Reason::new(FailureCode::EngineFailed, format!("the engine says: {secret}"));
    let failed = failure(&node, &domain, key(2), token(), reason);
    bench.give(Input::Finished(key(2), NodeFrame::Failed(failed).encode().into()));
    let mut batches = Vec::new();
    for _ in 0..12 {
        batches.extend(shipped(bench.after(500)));
        bench.frame(heartbeat_ack());
    }
    let [batch] = &batches[..] else { panic!("{batches:?}") };
    let found = messages(&batch.lines);
    assert!(found.ends_with(&["a job is done", "a job failed"]), "{found:?}");
    let failed = batch.lines.last().unwrap();
    assert_eq!(
        (failed.job_id, failed.fields["code"].to_string()),
        (Some(id(2)), "engine_failed".to_owned())
    );
    let text = NodeFrame::Log(batch.clone()).encode();
    assert!(!text.contains(secret), "{text}");
    let data = LogBatchData {
        nodeId: node.address(),
        sessionId: session_id(1).to_string(),
        seq: 1,
        bodyHash: body_hash(&text).unwrap(),
    };
    assert!(data.verify(&domain, &batch.signature.unwrap(), node.address()).is_ok());
    bench.give(Input::Note(LogLevel::Warn, "something", Vec::new()));
    bench.frame(heartbeat_ack());
    let mut next = None;
    for _ in 0..12 {
        next = next.or(shipped(bench.after(500)));
        bench.frame(heartbeat_ack());
    }
    assert_eq!(next.unwrap().seq, 2);
}

#[test]
fn a_node_that_ships_none_says_nothing_and_one_without_a_link_keeps_a_bounded_number() {
    let mut silent = Bench::live();
    silent.session.log = Log::new(false);
    silent.give(Input::Note(LogLevel::Error, "something", Vec::new()));
    assert!(shipped(silent.after(5_000)).is_none());

    let mut bench = Bench::new();
    for _ in 0..5_000 {
        bench.give(Input::Note(LogLevel::Error, "something", Vec::new()));
    }
    bench.connect(&[]);
    let (mut lines, mut last) = (0, Vec::new());
    for _ in 0..700 {
        if let Some(batch) = shipped(bench.after(200)) {
            assert!(batch.lines.len() <= 45);
            lines += batch.lines.len();
            last = batch.lines;
        }
        bench.frame(heartbeat_ack());
    }
    assert_eq!(lines, 1_000);
    assert_eq!(messages(&last).last(), Some(&"lines of this log were left out"));
}
