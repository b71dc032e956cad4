//! What goes into the session machine and what comes out of it.

use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{NodeId, SessionId};
use resultity_core::signing::{Domain, Keypair, Signature};
use resultity_core::wire::{
    Ack, Challenge, Hardware, HeartbeatAck, Job, LogField, LogLevel, NodeFrame, NodeModel, RuntimeInfo, ServerFrame,
    Welcome,
};
use resultity_core::{Address, B256};

use super::journal::Record;
use super::{JobKey, Refusal, Text};
use crate::identity::NetworkPin;

/// WebSocket close code (RFC 6455): the node goes away.
pub(super) const GOING_AWAY: u16 = 1001;
/// WebSocket close code (RFC 6455): the server broke the protocol.
pub(super) const PROTOCOL_ERROR: u16 = 1002;

/// What does not change while a node runs.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// The node's key.
    pub(super) key: Keypair,
    /// The network that it means to join.
    pub(super) environment: Environment,
    /// Where it says it is.
    pub(super) region: Option<String>,
    /// How many jobs it takes at once.
    pub(super) slots: u32,
    /// The network key that was pinned, else the one that the operator gave.
    pub(super) network_key: Option<Address>,
    /// The genesis address that was pinned.
    pub(super) genesis: Option<Address>,
    /// How long running jobs may go on after a stop.
    pub(super) drain_timeout: Duration,
    /// Whether its owner may see at the network what happens on it.
    pub(super) ships_logs: bool,
}

/// What is asked of the network over HTTP while there is no socket that works.
#[derive(Debug)]
pub(super) enum Ask {
    /// A challenge.
    Challenge,
    /// To be let in: the challenge's session and nonce, and the `hello` frame.
    Hello(SessionId, B256, Text),
    /// To be known and keep its leases: the session, and the `heartbeat` frame.
    Heartbeat(NodeId, SessionId, Text),
    /// To take the end of a job.
    Results(Delivery),
}

/// The end of a job with what comes before it, signed as a whole.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) node: NodeId,
    pub(super) issued_at: Timestamp,
    pub(super) body_hash: B256,
    pub(super) signature: Signature,
    pub(super) body: String,
}

/// What the network says to that.
#[derive(Debug)]
pub(super) enum Answer {
    /// To [`Ask::Challenge`].
    Challenge(Box<Challenge>),
    /// To [`Ask::Hello`].
    Welcome(Box<Welcome>),
    /// To [`Ask::Heartbeat`].
    Heartbeat(HeartbeatAck),
    /// To [`Ask::Results`].
    Results(Vec<Ack>),
    /// Nothing that could be used: the HTTP status, if there was an answer at all.
    Nothing(Option<u16>),
}

/// What the node can do right now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The models of the snapshot that its Runtime has.
    pub(super) models: Vec<NodeModel>,
    /// Its Runtime.
    pub(super) runtime: RuntimeInfo,
    /// What it runs on.
    pub(super) hardware: Hardware,
    /// The snapshot that it works by.
    pub(super) config_digest: Option<B256>,
    /// How often that says to report.
    pub(super) heartbeat_interval: Option<Duration>,
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A socket is open.
    LinkUp,
    /// It is gone.
    LinkDown,
    /// The server sent a frame.
    Frame(ServerFrame),
    /// The server sent a frame of a type that this version does not know.
    UnknownFrame(String),
    /// The server sent something else.
    Malformed(String),
    /// A running job has a chunk: the frame, encoded.
    Chunk(JobKey, Text),
    /// A job is over: the signed result or failure, encoded.
    Finished(JobKey, Text),
    /// The job was dropped as it was told to: nothing follows.
    Dropped(JobKey),
    /// What the node can do has changed.
    Offer(Offer),
    /// A fetch of the snapshot ended, well or not.
    Fetched,
    /// The network has changed its key, as was proven.
    Followed(NetworkPin),
    /// The key that the server shows does not follow from the one that is trusted: both.
    Strayed(Address, Address),
    /// The Runtime was started anew, or could not be.
    Restarted,
    /// The socket can't be opened.
    Unreachable,
    /// What came over HTTP for what was asked last.
    Answered(Answer),
    /// Something happened outside of the session that the node's owner may see.
    Note(LogLevel, &'static str, Vec<(&'static str, LogField)>),
    /// Time has passed.
    Tick,
    /// Take no new jobs, finish the running ones, then leave.
    Drain,
}

/// How a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Answer with what there is.
    Cancel,
    /// Fail it as interrupted: the node goes away.
    Interrupt,
    /// Say nothing: nobody waits for it.
    Drop,
}

/// Something to do.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "they live for a moment; a box for each would cost more than the copy"
)]
pub(super) enum Output {
    /// Send this frame.
    Send(NodeFrame),
    /// Send this frame, which is encoded already.
    SendText(Text),
    /// Remember the network.
    Pin(NetworkPin),
    /// See whether the key that the server shows follows from the one that is trusted.
    Follow {
        /// What is trusted.
        trusted: Address,
        /// What the server shows.
        offered: Address,
        /// The network's first key.
        genesis: Address,
    },
    /// Write it into the journal, before anything that follows.
    Record(Record),
    /// Work on this.
    Start(Job, Domain),
    /// Stop working on this.
    Stop(JobKey, Stop),
    /// Fetch the snapshot with this digest.
    Fetch(B256),
    /// Ask this over HTTP; one at a time.
    Ask(Ask),
    /// Start the Runtime anew. Nothing runs on it.
    RestartRuntime,
    /// Close the link; unless it is the end, connect again after `wait`, or when the backoff says so.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// For people.
        reason: String,
        /// When to come back.
        wait: Option<Duration>,
    },
    /// The Agent is done.
    End(Result<(), Refusal>),
}
