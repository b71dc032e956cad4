//! What a node does over HTTP while it has no socket.

use resultity_core::signing::TypedData;
use resultity_core::wire::{DeliverResults, MAX_HELLO_BYTES, delivery_request};

use super::*;
use crate::agent::event::{Answer, Delivery};

impl Bench {
    fn answer(&mut self, answer: Answer) -> Vec<Output> {
        self.give(Input::Answered(answer))
    }

    /// Without a socket, let in over HTTP.
    fn knocked(&mut self, leases: &[JobKey]) -> Vec<Output> {
        self.give(Input::LinkDown);
        assert_eq!(words(&self.give(Input::Unreachable)), ["ask challenge"]);
        assert_eq!(
            words(&self.answer(Answer::Challenge(Box::new(challenge())))),
            ["ask hello"]
        );
        self.answer(Answer::Welcome(Box::new(welcome(leases))))
    }
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
    delivered(&out);
    assert!(bench.answer(Answer::Results(Vec::new())).is_empty());
    assert_eq!(words(&bench.after(5_000)), ["ask heartbeat"]);
    delivered(&bench.answer(Answer::Heartbeat(heartbeat_ack())));
    // A socket that opens meanwhile: the ack counts all the same, and nothing more is asked.
    bench.give(Input::LinkUp);
    assert_eq!(
        words(&bench.answer(Answer::Results(vec![ack(1)]))),
        ["record forgotten"]
    );
    assert!(bench.after(1_000).is_empty());
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
    bench.give(Input::LinkDown);
    bench.give(Input::Unreachable);
    let other = Challenge {
        network_key: Address::repeat_byte(4),
        ..challenge()
    };
    assert!(bench.answer(Answer::Challenge(Box::new(other))).is_empty());
    assert!(bench.after(59_999).is_empty());
    assert_eq!(words(&bench.after(1)), ["ask challenge"]);
    assert!(bench.answer(Answer::Nothing).is_empty());
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
