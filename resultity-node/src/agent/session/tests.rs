//! The session machine as tables: what happened before, what happens now, what comes out.

use std::time::Duration;

use resultity_core::Address;
use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::id::JobId;
use resultity_core::job::{Attempt, JobKind};
use resultity_core::model::ModelState;
use resultity_core::signing::{HeartbeatData, HelloData, Keypair, TypedData};
use resultity_core::wire::{
    Ack, AckOutcome, Cancel, CancelReason, Challenge, Config, HeartbeatAck, Job, LeaseView, NodeModel, Reject,
    RejectCode, Welcome, body_hash,
};
use rstest::rstest;
use serde_json::value::RawValue;

use super::*;
use crate::agent::event::Ask;
use crate::identity::NetworkPin;

mod fallback;
mod log;
mod orders;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SLOTS: u32 = 2;

struct Bench {
    session: Session,
    now: Timestamp,
}

fn network() -> Keypair {
    Keypair::generate(&SeededEntropy::new(50))
}

fn id(seed: u64) -> JobId {
    JobId::new(&ManualClock::new(NOW), &SeededEntropy::new(seed))
}

fn session_id(seed: u64) -> SessionId {
    SessionId::new(&ManualClock::new(NOW), &SeededEntropy::new(seed))
}

fn token() -> LeaseToken {
    LeaseToken::new(&ManualClock::new(NOW), &SeededEntropy::new(77))
}

fn key(seed: u64) -> JobKey {
    (id(seed), Attempt::FIRST)
}

fn job(seed: u64) -> Job {
    Job {
        job_id: id(seed),
        attempt: Attempt::FIRST,
        lease_token: token(),
        deadline: NOW.after(Duration::from_mins(1)),
        kind: JobKind::ChatCompletion,
        model: "demo".into(),
        model_digest: None,
        stream: true,
        body: RawValue::from_string(r#"{"model":"demo","messages":[]}"#.into()).unwrap(),
    }
}

fn challenge() -> Challenge {
    Challenge {
        session_id: session_id(1),
        nonce: B256::repeat_byte(3),
        server_time: NOW,
        environment: Environment::Testnet,
        network_key: network().address(),
        genesis: network().address(),
        min_agent_version: "0.1.0".into(),
    }
}

fn welcome(leases: &[JobKey]) -> Welcome {
    let view = |(job_id, attempt): &JobKey| LeaseView {
        job_id: *job_id,
        attempt: *attempt,
        deadline: NOW,
    };
    Welcome {
        heartbeat_interval_ms: 1000,
        config_digest: B256::repeat_byte(9),
        bound: true,
        state: "active".into(),
        leases: leases.iter().map(view).collect(),
    }
}

fn heartbeat_ack() -> HeartbeatAck {
    HeartbeatAck {
        server_time: NOW,
        config_digest: B256::repeat_byte(9),
        renewed: vec![],
        acks: vec![],
    }
}

fn offer() -> Offer {
    let model = NodeModel {
        id: "demo".into(),
        version: "1".into(),
        digest: None,
        state: ModelState::Active,
        engine: None,
    };
    Offer {
        models: vec![model],
        config_digest: Some(B256::repeat_byte(9)),
        ..Offer::default()
    }
}

impl Bench {
    fn with_memory(memory: &Memory) -> Self {
        let about = About {
            key: Keypair::generate(&SeededEntropy::new(60)),
            environment: Environment::Testnet,
            region: None,
            slots: SLOTS,
            network_key: None,
            genesis: None,
            drain_timeout: Duration::from_secs(30),
            ships_logs: true,
        };
        let mut bench = Self {
            session: Session::new(about, memory),
            now: NOW,
        };
        assert!(
            bench.give(Input::Offer(offer())).is_empty(),
            "nothing to tell before there is a link"
        );
        bench
    }

    fn new() -> Self {
        Self::with_memory(&Memory::default())
    }

    fn live() -> Self {
        let mut bench = Self::new();
        bench.connect(&[]);
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(input, self.now, &mut out);
        out
    }

    fn frame(&mut self, frame: impl Into<ServerFrame>) -> Vec<Output> {
        self.give(Input::Frame(frame.into()))
    }

    fn connect(&mut self, leases: &[JobKey]) -> Vec<Output> {
        self.give(Input::LinkUp);
        self.frame(challenge());
        self.frame(welcome(leases))
    }

    fn after(&mut self, millis: u64) -> Vec<Output> {
        self.now = self.now.after(Duration::from_millis(millis));
        self.give(Input::Tick)
    }
}

/// Each output in a word or two.
fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Send(NodeFrame::Decline(decline)) => format!("decline {:?}", decline.code),
        Output::Send(frame) => format!("send {}", frame.kind()),
        Output::SendText(text) => match NodeFrame::parse(text) {
            Ok(NodeFrame::Failed(failed)) => format!("text failed {}", failed.code.as_str()),
            _ => format!("text {text}"),
        },
        Output::Record(Record::Session(_)) => "record session".into(),
        Output::Record(Record::Started(..)) => "record started".into(),
        Output::Record(Record::Result(..)) => "record result".into(),
        Output::Record(Record::Forgotten(_)) => "record forgotten".into(),
        Output::Record(Record::Paused(is_paused)) => format!("record paused {is_paused}"),
        Output::RestartRuntime => "restart".into(),
        Output::Pin(_) => "pin".into(),
        Output::Follow { .. } => "follow".into(),
        Output::Start(..) => "start".into(),
        Output::Stop(_, how) => format!("stop {how:?}"),
        Output::Fetch(_) => "fetch".into(),
        Output::Ask(Ask::Challenge) => "ask challenge".into(),
        Output::Ask(Ask::Hello(..)) => "ask hello".into(),
        Output::Ask(Ask::Heartbeat(..)) => "ask heartbeat".into(),
        Output::Ask(Ask::Results(_)) => "ask results".into(),
        Output::Close { code, wait, .. } => match wait {
            Some(wait) => format!("close {code} wait {}", wait.as_millis()),
            None => format!("close {code}"),
        },
        Output::End(Ok(())) => "end".into(),
        Output::End(Err(Refusal::Rejected { code, .. })) => format!("end {code:?}"),
        Output::End(Err(Refusal::Environment { .. })) => "end environment".into(),
        Output::End(Err(Refusal::Network { .. })) => "end network".into(),
    };
    outputs.iter().map(word).collect()
}

#[test]
fn the_hello_is_signed_over_all_of_it_and_pins_the_network() {
    let mut bench = Bench::new();
    assert!(bench.give(Input::LinkUp).is_empty());
    let out = bench.frame(challenge());
    assert_eq!(words(&out), ["pin", "send hello"]);
    let Some(Output::Send(NodeFrame::Hello(hello))) = out.last() else {
        panic!("{out:?}")
    };
    let text = NodeFrame::Hello(hello.clone()).encode();
    let data = HelloData {
        nodeId: hello.node_id.address(),
        nonce: challenge().nonce,
        sessionId: challenge().session_id.to_string(),
        issuedAt: NOW.as_millis() as u64,
        bodyHash: body_hash(&text).unwrap(),
    };
    let domain = Domain::new(Environment::Testnet, network().address());
    assert!(
        data.verify(&domain, &hello.signature.unwrap(), hello.node_id.address())
            .is_ok()
    );
    assert_eq!(
        (hello.max_concurrency, hello.models.len(), &hello.resume),
        (SLOTS, 1, &None)
    );
}

#[rstest]
#[case::other_environment(Challenge { environment: Environment::Mainnet, ..challenge() }, &["close 1001", "end environment"])]
#[case::new_key(Challenge { network_key: Address::repeat_byte(4), ..challenge() }, &["follow", "close 1001 wait 1000"])]
#[case::other_genesis(Challenge { genesis: Address::repeat_byte(4), ..challenge() }, &["close 1001", "end network"])]
#[case::the_same(challenge(), &["send hello"])]
fn a_pinned_node_talks_to_its_network_alone(#[case] challenge: Challenge, #[case] expected: &[&str]) {
    let mut bench = Bench::live();
    bench.give(Input::LinkDown);
    bench.give(Input::LinkUp);
    assert_eq!(words(&bench.frame(challenge)), expected);
}

#[test]
fn a_new_key_of_the_network_counts_once_it_is_proven() {
    let mut bench = Bench::live();
    let renamed = Challenge {
        network_key: Address::repeat_byte(4),
        ..challenge()
    };
    bench.give(Input::LinkDown);
    bench.give(Input::LinkUp);
    assert_eq!(words(&bench.frame(renamed.clone())), ["follow", "close 1001 wait 1000"]);
    let pin = NetworkPin::new(Address::repeat_byte(4), network().address());
    assert_eq!(words(&bench.give(Input::Followed(pin))), ["pin"]);
    bench.give(Input::LinkUp);
    assert_eq!(words(&bench.frame(renamed.clone())), ["send hello"]);
    // The key before is not trusted any more: a network that shows its first key never had another.
    bench.give(Input::LinkDown);
    bench.give(Input::LinkUp);
    assert_eq!(words(&bench.frame(challenge())), ["close 1001", "end network"]);

    let mut strayed = Bench::live();
    strayed.give(Input::LinkDown);
    let keys = (Address::repeat_byte(3), Address::repeat_byte(4));
    assert_eq!(words(&strayed.give(Input::Strayed(keys.0, keys.1))), ["end network"]);
}

#[test]
fn a_snapshot_says_how_often_to_report() {
    let mut bench = Bench::live();
    let changed = Offer {
        heartbeat_interval: Some(Duration::from_millis(200)),
        config_digest: Some(B256::repeat_byte(8)),
        ..offer()
    };
    let before = bench.session.next_tick();
    bench.give(Input::Offer(changed));
    assert!(bench.session.next_tick() < before);
    assert_eq!(
        bench.session.next_tick(),
        Some(bench.now.after(Duration::from_millis(200)))
    );
}

#[rstest]
#[case(RejectCode::ClockSkew, Some(5000), &["close 1001 wait 5000"])]
#[case(RejectCode::VersionTooOld, None, &["close 1001", "end VersionTooOld"])]
fn a_rejection_is_final_or_says_when_to_come_back(
    #[case] code: RejectCode,
    #[case] retry_after_ms: Option<u64>,
    #[case] expected: &[&str],
) {
    let mut bench = Bench::new();
    bench.give(Input::LinkUp);
    bench.frame(challenge());
    assert_eq!(
        words(&bench.frame(Reject {
            code,
            message: "no".into(),
            retry_after_ms
        })),
        expected
    );
}

#[rstest]
#[case::fits(job(9), &["record started", "send accept", "start"])]
#[case::embedding(Job { kind: JobKind::Embedding, ..job(9) }, &["record started", "send accept", "start"])]
#[case::unknown_model(Job { model: "other".into(), ..job(9) }, &["decline ModelMissing"])]
#[case::no_request(Job { body: RawValue::from_string("[]".into()).unwrap(), ..job(9) }, &["decline InvalidRequest"])]
#[case::twice(job(1), &[])]
fn a_job_is_taken_or_declined(#[case] job: Job, #[case] expected: &[&str]) {
    let mut bench = Bench::live();
    assert_eq!(
        words(&bench.frame(super::tests::job(1))),
        ["record started", "send accept", "start"]
    );
    assert_eq!(words(&bench.frame(job)), expected);
}

#[test]
fn a_node_declines_when_its_slots_are_taken_and_takes_again_when_one_is_free() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.frame(job(2));
    assert_eq!(words(&bench.frame(job(3))), ["decline Busy"]);
    bench.give(Input::Finished(key(1), "{}".into()));
    assert_eq!(words(&bench.frame(job(4))), ["record started", "send accept", "start"]);
    // A job that is told to drop takes its slot until its task is gone.
    bench.frame(Ack {
        job_id: id(2),
        attempt: Attempt::FIRST,
        outcome: AckOutcome::Superseded,
    });
    assert_eq!(words(&bench.frame(job(5))), ["decline Busy"]);
    bench.give(Input::Dropped(key(2)));
    assert_eq!(words(&bench.frame(job(5))), ["record started", "send accept", "start"]);
}

#[test]
fn a_result_is_journalled_before_it_is_sent_and_forgotten_when_acknowledged() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    assert_eq!(words(&bench.give(Input::Chunk(key(1), "c0".into()))), ["text c0"]);
    assert_eq!(
        words(&bench.give(Input::Finished(key(1), "r".into()))),
        ["record result", "text r"]
    );
    let ack = Ack {
        job_id: id(1),
        attempt: Attempt::FIRST,
        outcome: AckOutcome::Recorded,
    };
    assert_eq!(words(&bench.frame(ack.clone())), ["record forgotten"]);
    assert!(bench.frame(ack).is_empty(), "a second ack means nothing");
}

#[test]
fn what_ends_after_the_network_gave_it_up_is_not_kept() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    let given_up = Ack {
        job_id: id(1),
        attempt: Attempt::FIRST,
        outcome: AckOutcome::Superseded,
    };
    assert_eq!(words(&bench.frame(given_up)), ["stop Drop", "record forgotten"]);
    // Its task had ended at the same moment: nobody would ever acknowledge that.
    assert!(bench.give(Input::Finished(key(1), "r".into())).is_empty());
    assert_eq!(words(&bench.give(Input::Drain)).last().map(String::as_str), Some("end"));
}

#[test]
fn a_cancel_stops_what_runs_and_nothing_else() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    let cancel = |seed| Cancel {
        job_id: id(seed),
        attempt: Attempt::FIRST,
        reason: CancelReason::ClientGone,
    };
    assert_eq!(words(&bench.frame(cancel(1))), ["stop Cancel"]);
    assert!(bench.frame(cancel(2)).is_empty());
    bench.give(Input::Finished(key(1), "r".into()));
    assert!(bench.frame(cancel(1)).is_empty(), "its result is on the way");
}

#[test]
fn after_a_lost_link_wanted_attempts_go_on_and_others_are_dropped() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.frame(job(2));
    bench.give(Input::Chunk(key(1), "c0".into()));
    bench.give(Input::LinkDown);
    // Made while there is no link.
    assert!(bench.give(Input::Chunk(key(1), "c1".into())).is_empty());
    bench.give(Input::LinkUp);
    let out = bench.frame(challenge());
    let Some(Output::Send(NodeFrame::Hello(hello))) = out.last() else {
        panic!("{out:?}")
    };
    let resume = hello.resume.as_ref().unwrap();
    assert_eq!((resume.session_id, resume.journal.len()), (session_id(1), 2));
    let out = bench.frame(welcome(&[key(1)]));
    let expected = [
        "record session",
        "send accept",
        "text c0",
        "text c1",
        "stop Drop",
        "record forgotten",
    ];
    // The order between the two jobs is that of their ids.
    let mut found = words(&out);
    found[1..].sort();
    let mut expected = expected;
    expected[1..].sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(words(&bench.give(Input::Chunk(key(1), "c2".into()))), ["text c2"]);
}

#[rstest]
#[case::result_wanted(Entry::Result("r".into()), true, &["record session", "text r"])]
#[case::result_unwanted(Entry::Result("r".into()), false, &["record session", "record forgotten"])]
#[case::killed_wanted(Entry::Started(token()), true, &["record session", "record result", "text failed interrupted"])]
#[case::killed_unwanted(Entry::Started(token()), false, &["record session", "record forgotten"])]
fn what_the_journal_holds_is_sent_if_it_is_still_wanted(
    #[case] entry: Entry,
    #[case] wanted: bool,
    #[case] expected: &[&str],
) {
    let memory = Memory {
        session: Some(session_id(8)),
        entries: [(key(1), entry)].into(),
        ..Memory::default()
    };
    let mut bench = Bench::with_memory(&memory);
    let leases = if wanted { vec![key(1)] } else { vec![] };
    assert_eq!(words(&bench.connect(&leases)), expected);
}

#[test]
fn heartbeats_rise_and_three_without_an_answer_end_the_link() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    let mut seqs = Vec::new();
    for _ in 0..3 {
        for output in bench.after(1000) {
            let Output::Send(NodeFrame::Heartbeat(heartbeat)) = output else {
                panic!("{output:?}")
            };
            let data = HeartbeatData {
                nodeId: bench.session.node_id().address(),
                sessionId: session_id(1).to_string(),
                seq: heartbeat.seq,
                issuedAt: bench.now.as_millis() as u64,
                bodyHash: body_hash(&NodeFrame::Heartbeat(heartbeat.clone()).encode()).unwrap(),
            };
            let domain = Domain::new(Environment::Testnet, network().address());
            assert!(data.verify(&domain, &heartbeat.signature.unwrap(), data.nodeId).is_ok());
            assert_eq!((heartbeat.load.running, heartbeat.running.len()), (1, 1));
            seqs.push(heartbeat.seq);
        }
        if seqs.len() == 1 {
            assert!(bench.frame(heartbeat_ack()).is_empty());
        }
    }
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(words(&bench.after(1000)), ["send heartbeat"]);
    assert_eq!(
        words(&bench.after(1000)),
        ["close 1001", "ask challenge"],
        "it goes on without a socket"
    );
    assert!(bench.after(1000).is_empty());
}

#[test]
fn a_silent_server_is_given_up() {
    let mut bench = Bench::new();
    bench.give(Input::LinkUp);
    assert!(bench.after(9_999).is_empty());
    assert_eq!(words(&bench.after(1)), ["close 1002"]);
}

#[test]
fn a_new_snapshot_is_fetched_once_and_its_models_are_told_at_once() {
    let mut bench = Bench::live();
    let digest = B256::repeat_byte(10);
    assert_eq!(words(&bench.frame(Config { digest })), ["fetch"]);
    assert!(bench.frame(Config { digest }).is_empty(), "a fetch is on its way");
    bench.give(Input::Fetched);
    let changed = Offer {
        config_digest: Some(digest),
        ..offer()
    };
    assert_eq!(words(&bench.give(Input::Offer(changed.clone()))), ["send heartbeat"]);
    assert!(bench.give(Input::Offer(changed)).is_empty(), "nothing new");
    assert!(bench.frame(Config { digest }).is_empty(), "it is there already");
}

#[test]
fn odd_frames_are_answered_and_broken_ones_end_the_link() {
    let mut bench = Bench::live();
    assert_eq!(words(&bench.give(Input::UnknownFrame("later".into()))), ["send error"]);
    assert_eq!(words(&bench.give(Input::Malformed("not JSON".into()))), ["close 1002"]);
    let mut bench = Bench::live();
    assert_eq!(words(&bench.frame(challenge())), ["close 1002"], "not now");
    let mut bench = Bench::new();
    bench.give(Input::LinkUp);
    assert_eq!(
        words(&bench.frame(job(1))),
        ["close 1002"],
        "no job before the handshake"
    );
}

#[test]
fn a_drain_declines_finishes_and_leaves() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    let out = bench.give(Input::Drain);
    assert!(matches!(&out[..], [Output::Send(NodeFrame::Heartbeat(heartbeat))] if heartbeat.load.slots == 0));
    assert_eq!(words(&bench.frame(job(2))), ["decline Draining"]);
    assert_eq!(
        words(&bench.give(Input::Finished(key(1), "r".into()))),
        ["record result", "text r"]
    );
    let ack = Ack {
        job_id: id(1),
        attempt: Attempt::FIRST,
        outcome: AckOutcome::Recorded,
    };
    assert_eq!(words(&bench.frame(ack)), ["record forgotten", "close 1001", "end"]);
    assert!(bench.frame(job(3)).is_empty(), "it is over");
}

#[test]
fn a_drain_that_takes_too_long_interrupts_and_leaves_anyway() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.give(Input::Drain);
    bench.frame(heartbeat_ack());
    let until = bench.now.after(Duration::from_secs(30));
    bench.now = until;
    assert!(words(&bench.give(Input::Tick)).contains(&"stop Interrupt".to_owned()));
    assert_eq!(bench.session.next_tick().map(|tick| tick >= until), Some(true));
    bench.now = until.after(DRAIN_GRACE);
    assert_eq!(words(&bench.give(Input::Offer(offer()))), ["close 1001", "end"]);
}

#[test]
fn an_idle_node_leaves_at_once() {
    let mut bench = Bench::live();
    assert_eq!(
        words(&bench.give(Input::Drain)),
        ["send heartbeat", "close 1001", "end"]
    );
    let mut bench = Bench::new();
    assert_eq!(words(&bench.give(Input::Drain)), ["end"]);
}
