//! Ends of jobs that come over HTTP: who may hand them in, how many at once, and what becomes of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NodeId};
use resultity_core::signing::{Signature, TypedData};
use resultity_core::wire::{
    Ack, DeliverResults, DeliveredResults, JobResult, MAX_CHUNK_BYTES, NodeFrame, delivery_request,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::bus::{Delivery, ExpectedAck, JobMessage};
use crate::flow::Flow;
use crate::link::entrance::{Entering, Linked};
use crate::link::fallback::sessions::Whose;
use crate::link::fallback::{CHALLENGE_LIFETIME, Fallback, busy, denied, standing_of};
use crate::link::said;

/// The largest body of results: one frame of the largest size, and what is around it.
pub const MAX_DELIVERY_BYTES: usize = resultity_core::wire::MAX_FRAME_BYTES + 64 * 1024;

/// How many bodies of results are read at once.
const DELIVERIES: usize = 8;

/// How many of them may be of nodes of one account.
const OF_ONE_ACCOUNT: usize = 2;

/// The most ends of jobs in one body.
const MOST_ENDS: usize = 64;

/// How long a request waits for what becomes of its results.
const ACK_PATIENCE: Duration = Duration::from_secs(15);

/// When to come back while another delivery of the same node is under way.
const ONE_AT_A_TIME: Duration = Duration::from_secs(1);

/// How many nodes have to be known before those are looked for that can be forgotten.
const SWEEP_FROM: usize = 1024;

/// What is known of a node that has handed something in.
#[derive(Debug)]
struct Known {
    /// When the last request was signed that counted: only later ones count.
    last: Timestamp,
    is_under_way: bool,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<Whose, Known>,
    reading: HashMap<AccountId, usize>,
    sweep_at: usize,
}

/// Who is handing in something.
#[derive(Debug)]
pub(super) struct Deliveries {
    room: Arc<Semaphore>,
    state: Mutex<State>,
}

impl Deliveries {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(DELIVERIES)),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery of this node is under way.
    pub(super) fn is_under_way(&self, whose: Whose) -> bool {
        self.lock().nodes.get(&whose).is_some_and(|known| known.is_under_way)
    }

    /// Whether a request that was signed then may count, if it is the node's.
    fn may_begin(&self, whose: Whose, issued_at: Timestamp) -> Result<(), ApiError> {
        self.lock().may_begin(whose, issued_at)
    }

    /// It is the node's, and counts.
    fn begin(
        self: &Arc<Self>,
        whose: Whose,
        account: AccountId,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<Reading, ApiError> {
        let mut state = self.lock();
        state.may_begin(whose, issued_at)?;
        if state
            .reading
            .get(&account)
            .is_some_and(|reading| *reading >= OF_ONE_ACCOUNT)
        {
            return Err(busy());
        }
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| busy())?;
        *state.reading.entry(account).or_default() += 1;
        let known = Known {
            last: issued_at,
            is_under_way: true,
        };
        state.nodes.insert(whose, known);
        if state.nodes.len() >= state.sweep_at.max(SWEEP_FROM) {
            // What was signed so long ago is too old to come again.
            let is_kept = |known: &Known| known.is_under_way || now.since(known.last) <= CHALLENGE_LIFETIME;
            state.nodes.retain(|_, known| is_kept(known));
            state.sweep_at = state.nodes.len() * 2;
        }
        Ok(Reading {
            deliveries: Arc::clone(self),
            account,
            _permit: permit,
        })
    }
}

impl State {
    fn may_begin(&self, whose: Whose, issued_at: Timestamp) -> Result<(), ApiError> {
        match self.nodes.get(&whose) {
            Some(known) if known.is_under_way => {
                let message = "another delivery of this node is under way";
                Err(ApiError::new(ErrorCode::RateLimitExceeded, message).with_retry_after(ONE_AT_A_TIME))
            }
            Some(known) if issued_at <= known.last => {
                Err(denied("this request came before, or one that was signed later did"))
            }
            _ => Ok(()),
        }
    }
}

/// A body is being read: this is what there is little room for.
#[derive(Debug)]
struct Reading {
    deliveries: Arc<Deliveries>,
    account: AccountId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.deliveries.lock();
        if let Some(reading) = state.reading.get_mut(&self.account) {
            *reading -= 1;
            if *reading == 0 {
                state.reading.remove(&self.account);
            }
        }
    }
}

/// A node that may hand in results: the one delivery of it that is under way.
#[derive(Debug)]
pub struct Delivering {
    deliveries: Arc<Deliveries>,
    whose: Whose,
    reading: Option<Reading>,
    _place: Linked,
}

impl Drop for Delivering {
    fn drop(&mut self) {
        if let Some(known) = self.deliveries.lock().nodes.get_mut(&self.whose) {
            known.is_under_way = false;
        }
    }
}

impl Fallback {
    /// Whether a body of results may be read: the node has signed its hash, for this one time, somebody has the node, nothing
    /// else of it is under way, and there is room.
    pub async fn may_deliver(
        &self,
        flow: &Flow,
        node: NodeId,
        issued_at: Timestamp,
        (body_hash, signature): (B256, &Signature),
        entering: Entering,
    ) -> Result<Delivering, ApiError> {
        let refused = |error: ApiError| {
            if error.code == ErrorCode::PermissionDenied {
                entering.failed();
            }
            error
        };
        let (now, whose) = (flow.clock.now(), (flow.environment, node));
        if now.since(issued_at).max(issued_at.since(now)) > CHALLENGE_LIFETIME {
            return Err(refused(denied(
                "the request was signed too long ago, or a clock is off",
            )));
        }
        self.deliveries.may_begin(whose, issued_at).map_err(refused)?;
        delivery_request(node, flow.environment, issued_at, body_hash)
            .verify(&flow.domain, signature, node.address())
            .map_err(|_| refused(denied("the request is not signed by the key of the node that it names")))?;
        let standing = standing_of(flow, node).await?;
        let account = standing
            .filter(|standing| !standing.banned)
            .and_then(|standing| standing.account);
        let account = account.ok_or_else(|| refused(denied("no account has bound this node, or it is excluded")))?;
        let reading = self.deliveries.begin(whose, account, issued_at, now).map_err(refused)?;
        let delivering = Delivering {
            deliveries: Arc::clone(&self.deliveries),
            whose,
            reading: Some(reading),
            _place: entering.known(),
        };
        if let Some(session) = self.sessions().current(whose) {
            session.hear();
        }
        Ok(delivering)
    }

    /// `POST /io/v1/results`: what the node could not send over its socket. It counts as if it had; what it says twice gets
    /// the same ack.
    pub async fn deliver(
        &self,
        flow: &Flow,
        request: DeliverResults,
        mut delivering: Delivering,
    ) -> Result<DeliveredResults, ApiError> {
        let whose @ (_, node) = delivering.whose;
        let frames = parsed(flow, node, &request)?;
        drop(request);
        let mut waiting: Vec<ExpectedAck> = Vec::new();
        let mut acks = Vec::new();
        for frame in frames {
            let (job_id, attempt, message) = match frame {
                NodeFrame::Chunk(chunk) => {
                    // If nobody wants it, that shows with the result.
                    let (job, attempt) = (chunk.job_id, chunk.attempt);
                    flow.bus.node_says(node, job, attempt, JobMessage::Chunk(chunk));
                    continue;
                }
                NodeFrame::Result(result) => (result.job_id, result.attempt, JobMessage::Result(Box::new(result))),
                NodeFrame::Failed(failed) => (failed.job_id, failed.attempt, JobMessage::Failed(Box::new(failed))),
                _ => continue,
            };
            let expected = flow.bus.expect_ack(node, job_id, attempt);
            if flow.bus.node_says(node, job_id, attempt, message) == Delivery::Delivered {
                waiting.push(expected);
            } else if let Some(outcome) = said::late(flow, node, job_id, attempt).await {
                acks.push(Ack {
                    job_id,
                    attempt,
                    outcome,
                });
            }
        }
        // The rest is waiting, for which there is room.
        delivering.reading = None;
        let until = Instant::now() + ACK_PATIENCE;
        for mut expected in waiting {
            if let Ok(Some(ack)) = timeout_at(until, expected.ack()).await {
                acks.push(ack);
            }
        }
        if let Some(session) = self.sessions().current(whose) {
            session.hear();
        }
        Ok(DeliveredResults { acks })
    }
}

/// The frames, each of the node itself.
fn parsed(flow: &Flow, node: NodeId, request: &DeliverResults) -> Result<Vec<NodeFrame>, ApiError> {
    let mut ends = 0;
    let mut frames = Vec::with_capacity(request.frames.len());
    for (index, raw) in request.frames.iter().enumerate() {
        let invalid = |message: &str| {
            ApiError::new(ErrorCode::InvalidValue, message.to_owned()).with_param(format!("frames[{index}]"))
        };
        let frame = NodeFrame::parse(raw.get()).map_err(|error| invalid(&error.to_string()))?;
        let is_its_own = match &frame {
            NodeFrame::Chunk(chunk) => chunk.delta.get().len() <= MAX_CHUNK_BYTES,
            NodeFrame::Result(result) => is_signed_result(flow, node, result),
            NodeFrame::Failed(failed) => {
                let signed = failed.signed_data();
                failed.node_id == node && signed.verify(&flow.domain, &failed.signature, node.address()).is_ok()
            }
            other => return Err(invalid(&format!("a {} is no end of a job", other.kind()))),
        };
        if !is_its_own {
            return Err(invalid("it is too large, or not signed by the node"));
        }
        ends += usize::from(!matches!(frame, NodeFrame::Chunk(_)));
        if ends > MOST_ENDS {
            return Err(invalid(&format!("at most {MOST_ENDS} results are taken at once")));
        }
        frames.push(frame);
    }
    Ok(frames)
}

fn is_signed_result(flow: &Flow, node: NodeId, result: &JobResult) -> bool {
    let signed = result.signed_data();
    result.node_id == node && signed.verify(&flow.domain, &result.signature, node.address()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy};
    use resultity_core::environment::Environment;
    use resultity_core::signing::Keypair;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn node(seed: u64) -> Whose {
        let key = Keypair::generate(&SeededEntropy::new(seed));
        (Environment::Testnet, key.node_id())
    }

    fn account(seed: u64) -> AccountId {
        AccountId::new(&ManualClock::new(NOW), &SeededEntropy::new(seed))
    }

    fn at(millis: u64) -> Timestamp {
        NOW.after(Duration::from_millis(millis))
    }

    impl Deliveries {
        fn delivers(self: &Arc<Self>, of: (u64, u64), millis: u64) -> Result<Reading, ErrorCode> {
            let begun = self.begin(node(of.0), account(of.1), at(millis), NOW);
            begun.map_err(|error| error.code)
        }

        fn ended(&self, seed: u64) {
            self.lock().nodes.get_mut(&node(seed)).unwrap().is_under_way = false;
        }
    }

    #[test]
    fn a_node_hands_in_one_thing_at_a_time_and_no_request_counts_twice() {
        let deliveries = Deliveries::new();
        let reading = deliveries.delivers((1, 1), 5).unwrap();
        assert!(deliveries.is_under_way(node(1)));
        assert_eq!(
            deliveries.delivers((1, 1), 6).unwrap_err(),
            ErrorCode::RateLimitExceeded
        );
        drop(reading);
        assert_eq!(
            deliveries.delivers((1, 1), 6).unwrap_err(),
            ErrorCode::RateLimitExceeded
        );
        deliveries.ended(1);
        for replayed in [5, 4] {
            assert_eq!(
                deliveries.delivers((1, 1), replayed).unwrap_err(),
                ErrorCode::PermissionDenied
            );
        }
        assert!(deliveries.delivers((1, 1), 6).is_ok());
    }

    #[test]
    fn one_account_has_no_more_than_its_share_and_all_no_more_than_there_is() {
        let deliveries = Deliveries::new();
        let mut held = Vec::new();
        for number in 0..4 {
            held.push(deliveries.delivers((2 * number, number), 0).unwrap());
            held.push(deliveries.delivers((2 * number + 1, number), 0).unwrap());
            let third = deliveries.delivers((100 + number, number), 0);
            assert_eq!(third.unwrap_err(), ErrorCode::NoCapacity);
        }
        assert_eq!(deliveries.delivers((50, 50), 0).unwrap_err(), ErrorCode::NoCapacity);
        held.pop();
        assert!(deliveries.delivers((50, 50), 0).is_ok());
        drop(held);
        assert!(deliveries.lock().reading.is_empty());
    }

    #[test]
    fn nodes_are_forgotten_once_nothing_of_them_can_come_again() {
        let deliveries = Deliveries::new();
        for seed in 0..(SWEEP_FROM as u64 - 1) {
            drop(deliveries.delivers((seed, 1), 0).unwrap());
            deliveries.ended(seed);
        }
        let later = at(61_000);
        drop(deliveries.begin(node(5_000), account(1), later, later).unwrap());
        assert_eq!(deliveries.lock().nodes.len(), 1);
    }
}
