//! What the network tells a node to do, and what only looks as if the network did.

use resultity_core::signing::Signature;
use resultity_core::wire::{Control, ControlAction, Notice};

use super::*;

fn order(action: ControlAction, nonce: u8) -> Control {
    Control {
        node_id: Keypair::generate(&SeededEntropy::new(60)).node_id(),
        session_id: session_id(1),
        action,
        nonce: B256::repeat_byte(nonce),
        expires_at: NOW.after(Duration::from_mins(1)),
        signature: Signature::from_bytes([0; 65]),
    }
}

fn signed_by(key: &Keypair, environment: Environment, mut control: Control) -> Control {
    let domain = Domain::new(environment, network().address());
    control.signature = control.signed_data().sign(&domain, key);
    control
}

fn signed(control: Control) -> Control {
    signed_by(&network(), Environment::Testnet, control)
}

impl Bench {
    fn order(&mut self, action: ControlAction, nonce: u8) -> Vec<String> {
        words(&self.frame(signed(order(action, nonce))))
    }

    fn finish(&mut self, seed: u64) -> Vec<String> {
        self.give(Input::Finished(key(seed), "r".into()));
        words(&self.frame(Ack {
            job_id: id(seed),
            attempt: Attempt::FIRST,
            outcome: AckOutcome::Recorded,
        }))
    }
}

fn slots(outputs: &[Output]) -> Vec<u32> {
    let slots = |output: &Output| match output {
        Output::Send(NodeFrame::Heartbeat(heartbeat)) => Some(heartbeat.load.slots),
        _ => None,
    };
    outputs.iter().filter_map(slots).collect()
}

#[test]
fn a_paused_node_offers_no_slots_until_it_is_resumed_over_restarts_too() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    let out = bench.frame(signed(order(ControlAction::Pause, 1)));
    assert_eq!(words(&out), ["record paused true", "send heartbeat"]);
    assert_eq!(slots(&out), [0]);
    assert_eq!(words(&bench.frame(job(2))), ["decline Draining"]);
    assert_eq!(
        bench.finish(1),
        ["record forgotten"],
        "what ran goes on, and the link stays"
    );

    let mut later = Bench::with_memory(&Memory {
        is_paused: true,
        ..Memory::default()
    });
    later.give(Input::LinkUp);
    let hello = later.frame(challenge());
    assert!(
        matches!(&hello[..], [Output::Pin(_), Output::Send(NodeFrame::Hello(hello))] if hello.paused),
        "{hello:?}"
    );
    later.frame(welcome(&[]));
    assert_eq!(slots(&later.after(1000)), [0]);
    let out = later.frame(signed(order(ControlAction::Resume, 1)));
    assert_eq!(
        (words(&out)[0].as_str(), slots(&out)),
        ("record paused false", vec![SLOTS])
    );
    assert_eq!(words(&later.frame(job(2)))[0], "record started");
}

#[test]
fn a_drained_node_says_goodbye_when_nothing_is_under_way_and_asks_again_later() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    assert_eq!(
        bench.order(ControlAction::Drain, 1),
        ["record paused true", "send heartbeat"]
    );
    assert_eq!(bench.finish(1), ["record forgotten", "close 1001 wait 60000"]);
    assert!(
        bench.order(ControlAction::Pause, 2).is_empty(),
        "what came meanwhile does not bring it back"
    );
    // It comes back without slots, and stays.
    bench.now = bench.now.after(Duration::from_mins(1));
    bench.connect(&[]);
    assert_eq!(slots(&bench.after(1000)), [0]);
    let resumed = Control {
        expires_at: bench.now,
        ..order(ControlAction::Resume, 1)
    };
    assert_eq!(slots(&bench.frame(signed(resumed))), [SLOTS]);
}

#[test]
fn a_resume_takes_a_drain_back() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.order(ControlAction::Drain, 1);
    bench.order(ControlAction::Resume, 2);
    assert_eq!(bench.finish(1), ["record forgotten"]);
}

#[test]
fn the_runtime_is_started_anew_between_jobs() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    assert_eq!(bench.order(ControlAction::RestartRuntime, 1), ["send heartbeat"]);
    assert_eq!(words(&bench.frame(job(2))), ["decline Draining"]);
    let out = bench.give(Input::Finished(key(1), "r".into()));
    assert_eq!(words(&out), ["record result", "text r", "restart"]);
    assert_eq!(
        bench.order(ControlAction::RestartRuntime, 2),
        ["send heartbeat"],
        "it is being started"
    );
    assert_eq!(slots(&bench.give(Input::Restarted)), [SLOTS]);
}

#[test]
fn a_job_that_takes_too_long_does_not_hold_up_a_restart() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    bench.order(ControlAction::RestartRuntime, 1);
    bench.frame(heartbeat_ack());
    bench.now = bench.now.after(Duration::from_secs(30));
    assert!(words(&bench.give(Input::Tick)).contains(&"stop Interrupt".to_owned()));
    assert!(words(&bench.give(Input::Dropped(key(1)))).contains(&"restart".to_owned()));
}

#[test]
fn a_shutdown_finishes_and_ends() {
    let mut bench = Bench::live();
    bench.frame(job(1));
    assert_eq!(bench.order(ControlAction::Shutdown, 1), ["send heartbeat"]);
    assert_eq!(bench.finish(1), ["record forgotten", "close 1001", "end"]);
}

#[rstest]
#[case::a_stranger(signed_by(&Keypair::generate(&SeededEntropy::new(51)), Environment::Testnet, order(ControlAction::Shutdown, 1)))]
#[case::unsigned(order(ControlAction::Shutdown, 1))]
#[case::of_mainnet(signed_by(&network(), Environment::Mainnet, order(ControlAction::Shutdown, 1)))]
#[case::of_another_session(signed(Control { session_id: session_id(2), ..order(ControlAction::Shutdown, 1) }))]
#[case::for_another_node(signed(Control { node_id: Keypair::generate(&SeededEntropy::new(61)).node_id(), ..order(ControlAction::Shutdown, 1) }))]
#[case::expired(signed(Control { expires_at: Timestamp::from_millis(NOW.as_millis() - 60_001), ..order(ControlAction::Shutdown, 1) }))]
#[case::for_ever(signed(Control { expires_at: NOW.after(Duration::from_hours(2)), ..order(ControlAction::Shutdown, 1) }))]
#[case::another_action(Control { action: ControlAction::Shutdown, ..signed(order(ControlAction::Resume, 1)) })]
fn what_is_not_an_order_of_the_network_ends_the_link(#[case] control: Control) {
    let mut bench = Bench::live();
    assert_eq!(words(&bench.frame(control)), ["close 1002"]);
    assert!(!bench.session.is_draining() && !bench.session.is_paused());
}

#[test]
fn an_order_counts_once() {
    let mut bench = Bench::live();
    bench.order(ControlAction::Pause, 1);
    bench.order(ControlAction::Resume, 2);
    assert_eq!(bench.order(ControlAction::Pause, 1), ["close 1002"]);
    assert!(!bench.session.is_paused());
}

#[test]
fn a_notice_tells_where_the_node_stands_and_changes_nothing_else() {
    let mut bench = Bench::live();
    let notice = Notice {
        code: "state".into(),
        message: "frozen".into(),
        state: Some("frozen".into()),
        until: None,
    };
    assert!(bench.frame(notice).is_empty());
    assert_eq!(bench.session.live().map(|(_, state)| state), Some("frozen"));
    assert_eq!(words(&bench.frame(job(1)))[0], "record started");
}
