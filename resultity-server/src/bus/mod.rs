//! The bus inside one process: hints and chunks between the link of a node and the task that owns a job.
//!
//! Two kinds of topics: a node's (frames to be sent to it) and a job's (what its node says, what the scheduler decides).
//! The database is the truth; a message lost here costs latency or a broken stream, never a job or a credit. A job's topic
//! carries its lease, and what a node says counts only while it names that lease.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, LeaseToken, NodeId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::signing::PublicKey;
use resultity_core::wire::{Ack, AckOutcome, Chunk, DeclineCode, Failed, JobResult, LeaseView, ServerFrame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use waiting::Waiting;

mod waiting;

/// How many frames may wait to be written to one node before it counts as too slow.
pub const NODE_QUEUE: usize = 4096;

/// What a job's owner is told.
#[derive(Debug)]
pub enum JobMessage {
    /// A slot of this node is taken for the job.
    Assigned(NodeId),
    /// No node that is online can take the job any more.
    Stranded,
    /// The Subcloud that the job is addressed to was deleted.
    SubcloudGone,
    /// The node works on it.
    Accepted,
    /// The node does not take it.
    Declined(DeclineCode),
    /// A piece of the answer.
    Chunk(Chunk),
    /// The answer; not verified yet.
    Result(Box<JobResult>),
    /// The node gave up; not verified yet.
    Failed(Box<Failed>),
    /// The lease goes on until then.
    Renewed(Timestamp),
    /// A piece of the answer came that is larger than any may be, and was not kept.
    ChunkTooLarge,
    /// The node's link dropped.
    LinkLost,
    /// The node is back; whether it still has the job.
    LinkResumed(bool),
}

impl JobMessage {
    /// Bytes that it holds as long as it waits.
    fn bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.delta.get().len(),
            Self::Result(result) => result.output.as_ref().map_or(0, |output| output.get().len()),
            Self::Failed(failed) => failed.message.len(),
            _ => 0,
        }
    }
}

/// The lease that a job is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLease {
    /// Who holds it.
    pub node: NodeId,
    /// Which attempt.
    pub attempt: Attempt,
    /// The secret.
    pub token: LeaseToken,
    /// When it runs out.
    pub deadline: Timestamp,
}

#[derive(Debug)]
struct JobTopic {
    sender: mpsc::Sender<JobMessage>,
    waiting: Arc<Waiting>,
    lease: Option<TopicLease>,
    /// The chunk that is due from the node that holds the lease.
    next_chunk: u64,
    /// When the result came of the node that holds the lease.
    answered: Option<Instant>,
}

impl JobTopic {
    const fn new(sender: mpsc::Sender<JobMessage>, waiting: Arc<Waiting>) -> Self {
        Self {
            sender,
            waiting,
            lease: None,
            next_chunk: 0,
            answered: None,
        }
    }

    /// A node that comes back sends its chunks again from the first: those that came need no room once more.
    fn has(&mut self, message: &JobMessage) -> bool {
        let JobMessage::Chunk(chunk) = message else {
            return false;
        };
        let has = chunk.index < self.next_chunk;
        self.next_chunk = self.next_chunk.max(chunk.index.saturating_add(1));
        has
    }
}

/// A node's link.
#[derive(Debug, Clone)]
pub struct NodeTopic {
    /// The connection; a later one replaces it.
    pub session: SessionId,
    /// What its signatures are verified with.
    pub public_key: PublicKey,
    /// Encoded frames to be written.
    pub frames: mpsc::Sender<String>,
}

/// Whether a message reached the job's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It did.
    Delivered,
    /// The node does not hold this job's lease, or the job has ended.
    NoLease,
}

/// All topics. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LocalBus {
    jobs: Arc<Mutex<HashMap<JobId, JobTopic>>>,
    nodes: Arc<Mutex<HashMap<NodeId, NodeTopic>>>,
    acks: Arc<Acks>,
    /// Bytes that wait in all inboxes.
    waiting: Arc<AtomicUsize>,
}

/// Who waits for acks beside the links. Usually nobody, so that is what is looked at first.
#[derive(Debug, Default)]
struct Acks {
    count: AtomicUsize,
    waiting: Mutex<HashMap<AckKey, oneshot::Sender<AckOutcome>>>,
}

type AckKey = (NodeId, JobId, Attempt);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalBus {
    /// Opens the topic of a job; it closes when the subscription is dropped. `capacity` bounds what may wait there.
    pub fn open_job(&self, job: JobId, capacity: usize) -> JobSubscription {
        let (sender, inbox) = mpsc::channel(capacity);
        let waiting = Arc::new(Waiting::new(Arc::clone(&self.waiting)));
        lock(&self.jobs).insert(job, JobTopic::new(sender, Arc::clone(&waiting)));
        JobSubscription {
            bus: self.clone(),
            job,
            inbox,
            waiting,
        }
    }

    /// Tells a job's owner something that is not said by a node. False: the job has ended, or its inbox is full.
    pub fn tell_job(&self, job: JobId, message: JobMessage) -> bool {
        let jobs = lock(&self.jobs);
        jobs.get(&job)
            .is_some_and(|topic| topic.sender.try_send(message).is_ok())
    }

    /// Passes on what a node says of a job, if the job is its own. A node that says more than the job can hold loses it.
    pub fn node_says(&self, node: NodeId, job: JobId, attempt: Attempt, message: JobMessage) -> Delivery {
        match self.hand_over(node, job, attempt, message) {
            Ok(()) => Delivery::Delivered,
            Err(_) => Delivery::NoLease,
        }
    }

    /// The same; what nobody takes is given back.
    pub fn hand_over(&self, node: NodeId, job: JobId, attempt: Attempt, message: JobMessage) -> Result<(), JobMessage> {
        let mut jobs = lock(&self.jobs);
        let Some(topic) = jobs.get_mut(&job) else {
            return Err(message);
        };
        let holds = topic
            .lease
            .is_some_and(|lease| lease.node == node && lease.attempt == attempt);
        if !holds {
            return Err(message);
        }
        if matches!(message, JobMessage::Result(_)) {
            topic.answered.get_or_insert_with(Instant::now);
        }
        if topic.has(&message) {
            return Ok(());
        }
        let bytes = message.bytes();
        if !topic.waiting.add(bytes) || topic.sender.try_send(message).is_err() {
            // The owner sees its inbox close and fails the attempt.
            jobs.remove(&job);
        }
        Ok(())
    }

    /// The leases that a node holds.
    pub fn leases_of(&self, node: NodeId) -> Vec<LeaseView> {
        let held = |(job, topic): (&JobId, &JobTopic)| {
            let lease = topic.lease.filter(|lease| lease.node == node)?;
            Some(LeaseView {
                job_id: *job,
                attempt: lease.attempt,
                deadline: lease.deadline,
            })
        };
        lock(&self.jobs).iter().filter_map(held).collect()
    }

    /// Moves the end of a lease, if the node holds it. Gives the lease.
    pub fn renew(&self, node: NodeId, job: JobId, attempt: Attempt, until: Timestamp) -> Option<TopicLease> {
        let mut jobs = lock(&self.jobs);
        let topic = jobs.get_mut(&job)?;
        let lease = topic
            .lease
            .as_mut()
            .filter(|lease| lease.node == node && lease.attempt == attempt)?;
        lease.deadline = until;
        let renewed = *lease;
        let _ = topic.sender.try_send(JobMessage::Renewed(until));
        Some(renewed)
    }

    /// Attaches a node's link; gives the one it replaces.
    pub fn attach_node(&self, node: NodeId, topic: NodeTopic) -> Option<NodeTopic> {
        lock(&self.nodes).insert(node, topic)
    }

    /// Detaches a node's link, unless another has replaced it. Whether it did.
    pub fn detach_node(&self, node: NodeId, session: SessionId) -> bool {
        let mut nodes = lock(&self.nodes);
        let is_current = nodes.get(&node).is_some_and(|topic| topic.session == session);
        if is_current {
            nodes.remove(&node);
        }
        is_current
    }

    /// A node's link.
    pub fn node(&self, node: NodeId) -> Option<NodeTopic> {
        lock(&self.nodes).get(&node).cloned()
    }

    /// Sends a frame to a node. False: it has no link, or can't keep up.
    pub fn send_to_node(&self, node: NodeId, frame: impl Into<ServerFrame>) -> bool {
        let Some(topic) = self.node(node) else { return false };
        topic.frames.try_send(frame.into().encode()).is_ok()
    }

    /// Tells a node what became of its result: on its link, and to whoever waits for that.
    pub fn acknowledge(&self, node: NodeId, ack: Ack) {
        if self.acks.count.load(Ordering::Acquire) > 0
            && let Some(waiting) = lock(&self.acks.waiting).remove(&(node, ack.job_id, ack.attempt))
        {
            // Whoever waited may have gone.
            let _ = waiting.send(ack.outcome);
        }
        self.send_to_node(node, ack);
    }

    /// From now on it is noticed what becomes of a result. One that waited for the same before waits in vain.
    pub fn expect_ack(&self, node: NodeId, job: JobId, attempt: Attempt) -> ExpectedAck {
        let (sender, outcome) = oneshot::channel();
        let key = (node, job, attempt);
        self.acks.count.fetch_add(1, Ordering::AcqRel);
        lock(&self.acks.waiting).insert(key, sender);
        ExpectedAck {
            bus: self.clone(),
            key,
            outcome,
        }
    }

    /// Sends a frame to all nodes.
    pub fn send_to_all_nodes(&self, frame: impl Into<ServerFrame>) {
        let text = frame.into().encode();
        let topics: Vec<NodeTopic> = lock(&self.nodes).values().cloned().collect();
        for topic in topics {
            let _ = topic.frames.try_send(text.clone());
        }
    }
}

/// An ack that somebody waits for.
#[derive(Debug)]
pub struct ExpectedAck {
    bus: LocalBus,
    key: AckKey,
    outcome: oneshot::Receiver<AckOutcome>,
}

impl ExpectedAck {
    /// The ack; nothing if somebody else waits for the same.
    pub async fn ack(&mut self) -> Option<Ack> {
        let outcome = (&mut self.outcome).await.ok()?;
        let (_, job_id, attempt) = self.key;
        Some(Ack {
            job_id,
            attempt,
            outcome,
        })
    }
}

impl Drop for ExpectedAck {
    fn drop(&mut self) {
        let mut waiting = lock(&self.bus.acks.waiting);
        self.outcome.close();
        // What a later one waits for stays.
        if waiting.get(&self.key).is_some_and(oneshot::Sender::is_closed) {
            waiting.remove(&self.key);
        }
        self.bus.acks.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The owner's end of a job's topic.
#[derive(Debug)]
pub struct JobSubscription {
    bus: LocalBus,
    job: JobId,
    inbox: mpsc::Receiver<JobMessage>,
    waiting: Arc<Waiting>,
}

impl JobSubscription {
    /// Begins anew with an empty inbox and no lease, so that nothing which the last node said is taken for the next one's.
    pub fn reopen(&mut self) {
        let (sender, inbox) = mpsc::channel(self.inbox.max_capacity());
        self.inbox = inbox;
        self.waiting = Arc::new(Waiting::new(Arc::clone(&self.bus.waiting)));
        lock(&self.bus.jobs).insert(self.job, JobTopic::new(sender, Arc::clone(&self.waiting)));
    }

    /// Says which lease counts from now on. Gives when the result came under the one before: it may have waited since then, for an
    /// asker who reads slowly.
    pub fn set_lease(&self, lease: Option<TopicLease>) -> Option<Instant> {
        let mut jobs = lock(&self.bus.jobs);
        let topic = jobs.get_mut(&self.job)?;
        topic.lease = lease;
        topic.next_chunk = 0;
        topic.answered.take()
    }

    /// The next message; nothing if the topic was closed because a node said too much.
    pub async fn next(&mut self) -> Option<JobMessage> {
        let message = self.inbox.recv().await;
        self.taken(message)
    }

    /// A message that waits already.
    pub fn try_next(&mut self) -> Option<JobMessage> {
        let message = self.inbox.try_recv().ok();
        self.taken(message)
    }

    fn taken(&self, message: Option<JobMessage>) -> Option<JobMessage> {
        self.waiting.take(message.as_ref().map_or(0, JobMessage::bytes));
        message
    }
}

impl Drop for JobSubscription {
    fn drop(&mut self) {
        lock(&self.bus.jobs).remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::waiting::{MOST_WAITING, MOST_WAITING_IN_ALL, SMALL_INBOX};
    use super::*;
    use resultity_core::Address;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    const JOB: JobId = JobId::from_uuid(Uuid::from_u128(1));

    fn leased(bus: &LocalBus) -> (JobSubscription, NodeId) {
        let (subscription, node) = (bus.open_job(JOB, 1000), NodeId::from_address(Address::repeat_byte(1)));
        subscription.set_lease(Some(TopicLease {
            node,
            attempt: Attempt::FIRST,
            token: LeaseToken::from_uuid(Uuid::from_u128(2)),
            deadline: Timestamp::from_millis(0),
        }));
        (subscription, node)
    }

    fn chunk(index: u64, bytes: usize) -> JobMessage {
        JobMessage::Chunk(Chunk {
            job_id: JOB,
            attempt: Attempt::FIRST,
            index,
            delta: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap(),
        })
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_what_is_taken_makes_room() {
        let bus = LocalBus::default();
        let (mut inbox, node) = leased(&bus);
        let says = |index| bus.node_says(node, JOB, Attempt::FIRST, chunk(index, MOST_WAITING / 8));
        for index in 0..20 {
            assert_eq!(says(index), Delivery::Delivered);
            assert!(matches!(inbox.next().await, Some(JobMessage::Chunk(_))));
        }
        for index in 20..29 {
            says(index);
        }
        for _ in 20..28 {
            assert!(matches!(inbox.next().await, Some(JobMessage::Chunk(_))));
        }
        assert!(inbox.next().await.is_none(), "it is closed");
        assert_eq!(says(29), Delivery::NoLease);
        inbox.reopen();
        assert_eq!(bus.waiting.load(Ordering::Relaxed), 0);
        drop(inbox);
        assert!(lock(&bus.jobs).is_empty());
    }

    #[tokio::test]
    async fn where_much_waits_elsewhere_only_small_inboxes_take_more() {
        let bus = LocalBus::default();
        bus.waiting.store(MOST_WAITING_IN_ALL, Ordering::Relaxed);
        let (mut inbox, node) = leased(&bus);
        for index in 0..3 {
            bus.node_says(node, JOB, Attempt::FIRST, chunk(index, SMALL_INBOX / 2));
        }
        for _ in 0..2 {
            assert!(matches!(inbox.next().await, Some(JobMessage::Chunk(_))));
        }
        assert!(inbox.next().await.is_none());
        drop(inbox);
        assert_eq!(bus.waiting.load(Ordering::Relaxed), MOST_WAITING_IN_ALL);
    }

    #[tokio::test]
    async fn chunks_that_come_again_are_not_kept_again_until_another_lease_counts() {
        let bus = LocalBus::default();
        let (mut inbox, node) = leased(&bus);
        for index in [0, 1, 0, 1, 2, 2] {
            assert_eq!(
                bus.node_says(node, JOB, Attempt::FIRST, chunk(index, 10)),
                Delivery::Delivered
            );
        }
        let mut came = Vec::new();
        while let Some(JobMessage::Chunk(chunk)) = inbox.try_next() {
            came.push(chunk.index);
        }
        assert_eq!(came, [0, 1, 2]);
        let (mut inbox, node) = leased(&bus);
        bus.node_says(node, JOB, Attempt::FIRST, chunk(0, 10));
        assert!(matches!(inbox.try_next(), Some(JobMessage::Chunk(_))));
    }
}
