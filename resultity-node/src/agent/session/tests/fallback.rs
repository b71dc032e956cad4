//! What a node does over HTTP while it has no socket.

use resultity_core::signing::TypedData;
use resultity_core::wire::{DeliverResults, MAX_HELLO_BYTES, delivery_request};

use super::*;
use crate::agent::event::{Answer, Delivery};

impl Bench {
    fn answer(&mut self, answer: Answer) -> Vec<Output> {
        self.give(Input::Answered(answer))
    }

    /// Without a socket in the middle of something, let in over HTTP.
    fn knocked(&mut self, leases: &[JobKey]) -> Vec<Output> {
        assert_eq!(
            words(&self.give(Input::LinkDown)),
            ["ask challenge"],
            "as soon as the socket is lost"
        );
        assert!(self.give(Input::Unreachable).is_empty(), "one question at a time");
        assert_eq!(
            words(&self.answer(Answer::Challenge(Box::new(challenge())))),
            ["ask hello"]
        );
        self.answer(Answer::Welcome(Box::new(welcome(leases))))
    }
}

/// The numbers of the attempts that a heartbeat names.
fn beats(outputs: &[Output]) -> Vec<JobId> {
    let [Output::Ask(Ask::Heartbeat(_, _, text))] = outputs else {
        panic!("{outputs:?}")
    };
    let NodeFrame::Heartbeat(heartbeat) = NodeFrame::parse(text).unwrap() else {
        panic!("{text}")
    };
    heartbeat.running.iter().map(|running| running.job_id).collect()
}

fn done(seed: u64) -> Text {
    format!(r#"{{"r":{seed}}}"#).into()
}

/// A node that has done these jobs and could hand in none of them, as it knows after a restart.
fn with_ends(seeds: std::ops::Range<u64>) -> Bench {
    let memory = Memory {
        session: Some(session_id(8)),
        entries: seeds.map(|seed| (key(seed), Entry::Result(done(seed)))).collect(),
        ..Memory::default()
    };
    let mut bench = Bench::with_memory(&memory);
    bench.session.about.genesis = Some(network().address());
    bench.session.about.network_key = Some(network().address());
    bench.session.domain = Some(Domain::new(Environment::Testnet, network().address()));
    bench
}

fn ack(seed: u64) -> Ack {
    Ack {
        job_id: id(seed),
        attempt: Attempt::FIRST,
        outcome: AckOutcome::Recorded,
    }
}

fn delivered(outputs: &[Output]) -> &Delivery {
    let [Output::Ask(Ask::Results(delivery))] = outputs else {
        panic!("{outputs:?}")
    };
    delivery
}

#[test]
fn what_ended_without_a_socket_is_handed_in_with_its_chunks() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.frame(job(2));
    bench.give(Input::Chunk(key(1), r#"{"c":0}"#.into()));
    let out = bench.knocked(&[key(1)]);
    assert_eq!(
        words(&out),
        ["stop Drop", "record forgotten", "ask heartbeat"],
        "nobody wants the other one"
    );
    bench.give(Input::Dropped(key(2)));
    // What runs goes on, and is handed in once it is done and the network has answered.
    let out = bench.give(Input::Finished(key(1), r#"{"r":1}"#.into()));
    assert_eq!(words(&out), ["record result"]);
    let out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    let delivery = delivered(&out);
    assert_eq!(delivery.body, r#"{"frames":[{"c":0},{"r":1}]}"#);
    assert!(serde_json::from_str::<DeliverResults>(&delivery.body).is_ok());
    let domain = Domain::new(Environment::Testnet, network().address());
    let signed = delivery_request(
        delivery.node,
        Environment::Testnet,
        delivery.issued_at,
        delivery.body_hash,
    );
    assert!(
        signed
            .verify(&domain, &delivery.signature, delivery.node.address())
            .is_ok()
    );
    assert_eq!(resultity_core::canonical::sha256(&delivery.body), delivery.body_hash);
    assert_eq!(
        words(&bench.answer(Answer::Results(vec![ack(1)]))),
        ["record forgotten"]
    );
    assert_eq!(words(&bench.after(999)), [""; 0]);
    assert_eq!(
        words(&bench.after(1)),
        ["ask heartbeat"],
        "as often as the network said"
    );
}

#[test]
fn a_result_that_is_not_acknowledged_is_handed_in_again() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.give(Input::Finished(key(1), "{}".into()));
    bench.knocked(&[key(1)]);
    let out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    let first = delivered(&out).issued_at;
    assert!(bench.answer(Answer::Results(Vec::new())).is_empty());
    let out = bench.after(1_000);
    assert_eq!(beats(&out), [id(1)], "its lease goes on");
    for _ in 1..5 {
        assert!(bench.answer(Answer::Heartbeat(heartbeat_ack())).is_empty());
        assert_eq!(words(&bench.after(1_000)), ["ask heartbeat"]);
    }
    let out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    assert!(delivered(&out).issued_at > first);
    // A socket that works meanwhile: the ack counts all the same, and nothing more is asked.
    bench.connect(&[key(1)]);
    assert_eq!(
        words(&bench.answer(Answer::Results(vec![ack(1)]))),
        ["record forgotten"]
    );
    assert_eq!(words(&bench.after(1_000)), ["send heartbeat"]);
}

#[test]
fn requests_are_signed_at_different_times_even_if_the_clock_stands_or_goes_back() {
    let mut bench = with_ends(1..4);
    bench.knocked(&[key(1), key(2), key(3)]);
    let mut signed = Vec::new();
    let mut out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    for _ in 0..3 {
        signed.push(delivered(&out).issued_at);
        bench.now = NOW;
        out = bench.answer(Answer::Results(Vec::new()));
    }
    assert!(signed.is_sorted_by(|one, other| one < other), "{signed:?}");
}

#[rstest]
#[case::not_taken(Answer::Results(Vec::new()))]
#[case::refused(Answer::Nothing(Some(400)))]
#[case::too_large(Answer::Nothing(Some(413)))]
fn one_end_that_can_not_be_taken_holds_up_no_other(#[case] no: Answer) {
    let mut seeds: Vec<u64> = (1..5).collect();
    seeds.sort_by_key(|seed| key(*seed));
    let mut bench = with_ends(1..5);
    let keys: Vec<JobKey> = seeds.iter().map(|seed| key(*seed)).collect();
    bench.knocked(&keys);
    let mut out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    assert_eq!(
        delivered(&out).body,
        format!(r#"{{"frames":[{}]}}"#, done(seeds[0]).as_str())
    );
    out = bench.answer(no);
    for seed in &seeds[1..] {
        let delivery = delivered(&out[out.len() - 1..]);
        assert_eq!(delivery.body, format!(r#"{{"frames":[{}]}}"#, done(*seed).as_str()));
        out = bench.answer(Answer::Results(vec![ack(*seed)]));
    }
    // It alone is left: once more at once, then now and then.
    delivered(&out[out.len() - 1..]);
    assert!(bench.answer(Answer::Results(Vec::new())).is_empty());
    let out = bench.after(1_000);
    assert_eq!(beats(&out), [keys[0].0]);
    // The network says that it is dealt with.
    let known = HeartbeatAck {
        acks: vec![ack(seeds[0])],
        ..heartbeat_ack()
    };
    assert_eq!(words(&bench.answer(Answer::Heartbeat(known))), ["record forgotten"]);
    let out = bench.after(60_000);
    assert!(beats(&out).is_empty());
}

#[test]
fn an_end_that_breaks_every_line_waits_and_then_others_have_their_turn() {
    let mut bench = with_ends(1..3);
    let mut keys = [key(1), key(2)];
    keys.sort_unstable();
    bench.knocked(&keys);
    let first = delivered(&bench.answer(Answer::Heartbeat(heartbeat_ack())))
        .body
        .clone();
    assert!(bench.answer(Answer::Nothing(None)).is_empty());
    bench.now = bench.now.after(Duration::from_secs(5));
    assert_eq!(words(&bench.give(Input::Tick)), ["ask heartbeat"]);
    let out = bench.answer(Answer::Heartbeat(heartbeat_ack()));
    assert_ne!(delivered(&out).body, first);
}

#[test]
fn heartbeats_name_many_ends_in_turn() {
    let mut bench = with_ends(1..101);
    let keys: Vec<JobKey> = (1..101).map(key).collect();
    let first = beats(&bench.knocked(&keys));
    // All are undeliverable for now.
    bench.answer(Answer::Heartbeat(heartbeat_ack()));
    bench.answer(Answer::Nothing(Some(503)));
    let second = beats(&bench.after(1_000));
    assert_eq!((first.len(), second.len()), (64, 64));
    let mut all: Vec<JobId> = first.into_iter().chain(second).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 100);
}

#[test]
fn what_the_network_said_in_an_earlier_session_drops_no_job() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.give(Input::LinkDown);
    assert_eq!(
        words(&bench.answer(Answer::Challenge(Box::new(challenge())))),
        ["ask hello"]
    );
    // The socket is back before the answer, brings a job, and is lost again.
    bench.connect(&[key(1)]);
    bench.frame(job(2));
    assert!(bench.give(Input::LinkDown).is_empty(), "the answer is on its way");
    let out = bench.answer(Answer::Welcome(Box::new(welcome(&[key(1)]))));
    assert_eq!(words(&out), ["ask challenge"], "job 2 goes on");
    assert_eq!(bench.session.running(), 2);
}

#[test]
fn a_socket_that_opens_and_carries_nothing_is_none() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.knocked(&[key(1)]);
    bench.give(Input::LinkUp);
    // Heartbeats go on over HTTP while it is open, and after it was given up.
    assert!(bench.answer(Answer::Heartbeat(heartbeat_ack())).is_empty());
    assert_eq!(words(&bench.after(1_000)), ["ask heartbeat"]);
    bench.answer(Answer::Heartbeat(heartbeat_ack()));
    bench.now = bench.now.after(Duration::from_secs(9));
    assert_eq!(words(&bench.give(Input::Tick)), ["close 1002", "ask heartbeat"]);

    // The same if it was never lost before.
    let mut bench = with_ends(1..2);
    bench.give(Input::LinkUp);
    bench.now = bench.now.after(Duration::from_secs(10));
    assert_eq!(words(&bench.give(Input::Tick)), ["close 1002", "ask challenge"]);
}

#[test]
fn a_node_that_was_told_when_to_come_back_asks_nothing_before() {
    let mut bench = with_ends(1..2);
    bench.give(Input::LinkUp);
    bench.frame(challenge());
    let reject = Reject {
        code: RejectCode::ClockSkew,
        message: "no".into(),
        retry_after_ms: Some(60_000),
    };
    assert_eq!(words(&bench.frame(reject)), ["close 1001 wait 60000"]);
    assert!(bench.after(30_000).is_empty());
}

#[test]
fn a_node_that_is_about_to_stop_hands_in_what_it_has_done_without_a_socket_too() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.knocked(&[key(1)]);
    assert!(bench.give(Input::Drain).is_empty());
    bench.answer(Answer::Heartbeat(heartbeat_ack()));
    delivered(&bench.give(Input::Finished(key(1), done(1)))[1..]);
    assert_eq!(
        words(&bench.answer(Answer::Results(vec![ack(1)]))),
        ["record forgotten", "end"]
    );
    // Not for longer than it may.
    let mut bench = with_ends(1..2);
    bench.knocked(&[key(1)]);
    assert!(bench.give(Input::Drain).is_empty());
    bench.now = bench.now.after(Duration::from_mins(1));
    assert!(words(&bench.give(Input::Tick)).contains(&"end".to_owned()));
}

#[test]
fn a_session_that_the_network_does_not_know_any_more_is_begun_anew() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.knocked(&[key(1)]);
    assert!(bench.answer(Answer::Nothing(Some(404))).is_empty());
    assert_eq!(words(&bench.after(1_000)), ["ask challenge"]);
    // One that may be there still goes on.
    bench.answer(Answer::Challenge(Box::new(challenge())));
    assert_eq!(
        words(&bench.answer(Answer::Welcome(Box::new(welcome(&[key(1)]))))),
        ["ask heartbeat"]
    );
    assert!(bench.answer(Answer::Nothing(None)).is_empty());
    assert_eq!(words(&bench.after(1_000)), ["ask heartbeat"]);
}

#[test]
fn what_a_killed_process_left_is_handed_in_as_failed() {
    let memory = Memory {
        session: Some(session_id(8)),
        entries: [(key(1), Entry::Started(token()))].into(),
        ..Memory::default()
    };
    let mut bench = Bench::with_memory(&memory);
    bench.session.about.genesis = Some(network().address());
    bench.session.about.network_key = Some(network().address());
    bench.session.domain = Some(Domain::new(Environment::Testnet, network().address()));
    assert_eq!(words(&bench.knocked(&[key(1)])), ["record result", "ask heartbeat"]);
    assert!(
        delivered(&bench.answer(Answer::Heartbeat(heartbeat_ack())))
            .body
            .contains("interrupted")
    );
}

#[test]
fn a_node_that_knows_no_network_yet_asks_nothing() {
    let mut bench = Bench::new();
    assert!(bench.give(Input::Unreachable).is_empty());
    assert_eq!(bench.session.next_tick(), None);
}

#[test]
fn nothing_is_said_to_another_network_and_a_no_is_asked_again_later() {
    let mut bench = Bench::live();
    assert!(bench.give(Input::LinkDown).is_empty(), "it has nothing to lose");
    assert!(bench.give(Input::Unreachable).is_empty());
    assert_eq!(words(&bench.after(5_000)), ["ask challenge"]);
    let other = Challenge {
        network_key: Address::repeat_byte(4),
        ..challenge()
    };
    assert!(bench.answer(Answer::Challenge(Box::new(other))).is_empty());
    assert!(bench.after(59_999).is_empty());
    assert_eq!(words(&bench.after(1)), ["ask challenge"]);
    assert!(bench.answer(Answer::Nothing(None)).is_empty());
    assert!(
        bench.give(Input::Unreachable).is_empty(),
        "one question at a time, and not too often"
    );
    assert_eq!(words(&bench.after(5_000)), ["ask challenge"]);
}

#[test]
fn a_hello_names_what_runs_and_then_the_newest_and_no_more_than_fits() {
    let entries = (100..5_000).map(|seed| (key(seed), Entry::Result("{}".into())));
    let memory = Memory {
        session: Some(session_id(8)),
        entries: entries.collect(),
        ..Memory::default()
    };
    let mut bench = Bench::with_memory(&memory);
    bench.session.running.insert(
        key(1),
        Running {
            lease_token: token(),
            since: NOW,
            chunks: Vec::new(),
            is_forgotten: false,
        },
    );
    bench.give(Input::LinkUp);
    let out = bench.frame(challenge());
    let Some(Output::Send(NodeFrame::Hello(hello))) = out.last() else {
        panic!("{out:?}")
    };
    let resume = hello.resume.as_ref().unwrap();
    assert!(resume.more && resume.journal.len() > 1_000, "{}", resume.journal.len());
    assert_eq!(resume.journal[0], key(1));
    assert!(resume.journal[1..].is_sorted_by(|one, other| one > other));
    let size = NodeFrame::Hello(hello.clone()).encode().len();
    assert!(size + 1_000 < MAX_HELLO_BYTES && size > MAX_HELLO_BYTES / 2, "{size}");
    // Those that it did not name are sent as well, if they are wanted.
    let (last, unwanted) = (*bench.session.journal_keys().first().unwrap(), 4_900);
    let out = words(&bench.frame(welcome(&[key(1), last])));
    assert_eq!(
        out.iter().filter(|word| *word == "record forgotten").count(),
        unwanted - 1
    );
    assert!(out.contains(&"send accept".to_owned()) && out.contains(&"text {}".to_owned()));
}
