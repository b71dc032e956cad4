//! Clocks that jump: the machine's own, forwards and backwards, in the middle of jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use resultity_core::clock::{Clock, SystemClock, Timestamp};
use resultity_core::wire::AckOutcome;
use resultity_server::assemble::Offer;
use rstest::rstest;

use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::{TestServer, model, soon, timeless};
use crate::node::{Node, Parrot, Step};
use crate::{COST, ask, brisk, is_ours, request, text_of};

const HOUR: i64 = 3_600_000;

/// The system's clock, set wrong by so many milliseconds.
#[derive(Debug, Clone, Default)]
pub struct SkewedClock(Arc<AtomicI64>);

impl SkewedClock {
    pub fn jump(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::SeqCst))
    }
}

#[rstest]
#[case(2 * HOUR)]
#[case(-2 * HOUR)]
#[case(30_000)]
#[case(-30_000)]
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_server_and_node_jumps_at_every_step_of_a_job(
    #[case] millis: i64,
    #[values(Step::Begun, Step::Middle, Step::Made)] step: Step,
) {
    let clock = SkewedClock::default();
    let server = TestServer::with_options(brisk(), |options| options.clock = Arc::new(clock.clone())).await;
    let (runtime, dir) = (Parrot::stopping_at(step), tempfile::tempdir().unwrap());
    let node = Node::start_by(&server.io_url(), dir.path(), runtime.clone(), Arc::new(clock.clone()));
    node.until_in_rotation(&server).await;
    let jump = async {
        runtime.until_stopped().await;
        clock.jump(millis);
        runtime.go_on();
    };
    let asked = text_of(&server, request("hello"), true);
    let (answer, ()) = soon("the answer", async { tokio::join!(asked, jump) }).await;
    assert_eq!(answer.unwrap(), Parrot::says("hello"));
    // The next job, too, after a jump back.
    clock.jump(-millis);
    let again = async {
        loop {
            node.until_in_rotation(&server).await;
            match text_of(&server, request("again"), false).await {
                // What it had signed before the jump ended its link: it comes back.
                Err(error) if is_ours(&error) => {}
                answer => break answer,
            }
        }
    };
    assert_eq!(soon("an answer", again).await.unwrap(), Parrot::says("again"));
    invariants(&server).await;
    node.stop().await;
}

#[rstest]
#[case(2 * HOUR)]
#[case(-2 * HOUR)]
#[tokio::test]
async fn the_clock_of_the_server_alone_jumps_and_a_job_under_way_is_answered(#[case] millis: i64) {
    let clock = SkewedClock::default();
    let offer = Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer, |options| options.clock = Arc::new(clock.clone())).await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let job = node.next_job().await;
    node.accept(&job).await;
    clock.jump(millis);
    // What it signs from now on is too old or too new: its link ends. The result has no time, and counts.
    node.heartbeat(1).await;
    assert_eq!(node.close_code().await, 1008);
    clock.jump(-millis);
    let resume = node.resume(vec![(job.job_id, job.attempt)]);
    let result = node.result(&job, "all the same");
    let url = server.io_url();
    let mut node = timeless(TestNode::connect(&url, node.key.clone(), "m", 1, Some(resume))).await;
    node.send(result).await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "all the same");
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_key_and_its_answer_outlive_a_jump() {
    let clock = SkewedClock::default();
    let offer = Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer, |options| options.clock = Arc::new(clock.clone())).await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let client = server
        .client()
        .with_options(resultity_core::api::cloud::CallOptions::idempotent("once"));
    use resultity_core::api::cloud::ChatApi;
    let asked = client.chat(request("hello"));
    let (first, ()) = tokio::join!(asked, async {
        let job = node.next_job().await;
        clock.jump(-2 * HOUR);
        node.answer(&job, "once").await;
    });
    let first = first.unwrap();
    for millis in [4 * HOUR, -HOUR] {
        clock.jump(millis);
        let again = soon("the same answer", client.chat(request("hello"))).await;
        assert_eq!(again.unwrap().meta.job_id, first.meta.job_id);
    }
    server.assert_charged(COST).await;
    invariants(&server).await;
}
