//! Nodes as their owners and administrators manage them: who owns them, what keeps them from work, what they did.

use std::str::FromStr;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, NodeId, NotificationId, PenaltyId};
use resultity_core::job::JobState;
use resultity_core::wire::{Hardware, NodeModel, RuntimeInfo};
use serde::{Deserialize, Serialize};

pub use crate::store::penalties::{AppealRecord, Appealed, Decided, Decision, NewPenalty, PenaltyRecord};
use crate::store::subclouds::SubcloudMembership;
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, StoreError};

/// What a node said of itself last, in its hello or a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFacts {
    /// The Agent's version.
    pub agent_version: String,
    /// What makes the answers.
    pub runtime: RuntimeInfo,
    /// What it runs on.
    pub hardware: Hardware,
    /// What it can answer for.
    pub models: Vec<NodeModel>,
    /// Where it is, as it says.
    pub region: Option<String>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// The snapshot that it works by.
    pub config_digest: Option<B256>,
}

/// What an administrator put on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagRecord {
    /// What.
    pub flag: NodeFlag,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Since when.
    pub created: Timestamp,
}

/// What decides whether a node may work: all that the link has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStanding {
    /// The node.
    pub node: NodeId,
    /// Where it counts.
    pub environment: Environment,
    /// Who bound it.
    pub account: Option<AccountId>,
    /// What its owner calls it; empty: nothing.
    pub name: String,
    /// Whether it may not connect.
    pub banned: bool,
    /// Since when its owner has it paused.
    pub paused: Option<Timestamp>,
    /// Whether the account that bound it is suspended.
    pub suspended: bool,
    /// What administrators put on it. May hold some that are over: see [`flag`](Self::flag).
    pub flags: Vec<FlagRecord>,
    /// The penalties that were in force when this was read. Some may be over by now.
    pub penalties: Vec<PenaltyRecord>,
    /// The Subclouds that it is in.
    pub subclouds: Vec<SubcloudMembership>,
}

impl NodeStanding {
    /// What an administrator put on it and is not over.
    pub fn flag(&self, flag: NodeFlag, now: Timestamp) -> Option<&FlagRecord> {
        let found = self.flags.iter().find(|record| record.flag == flag);
        found.filter(|record| record.until.is_none_or(|until| until > now))
    }

    /// Whether the network asks it how honest other nodes are.
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        self.flag(NodeFlag::Trusted, now).is_some()
    }

    /// The penalty that lasts longest, of those in force.
    pub fn penalty(&self, now: Timestamp) -> Option<&PenaltyRecord> {
        let in_force = self.penalties.iter().filter(|penalty| penalty.is_in_force(now));
        in_force.max_by_key(|penalty| penalty.until.map_or(i64::MAX, Timestamp::as_millis))
    }

    /// Whether it may get jobs: bound, and nothing that keeps it from work.
    pub fn may_work(&self, now: Timestamp) -> bool {
        self.account.is_some()
            && !self.banned
            && !self.suspended
            && self.paused.is_none()
            && NodeFlag::ALL
                .into_iter()
                .all(|flag| !flag.keeps_from_work() || self.flag(flag, now).is_none())
            && self.penalty(now).is_none()
    }

    /// When the first thing that keeps it from work ends by itself: the standing has to be looked at again then.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let flags = self.flags.iter().filter_map(|flag| flag.until);
        let penalties = self.penalties.iter().filter_map(|penalty| penalty.until);
        flags.chain(penalties).filter(|until| *until > now).min()
    }
}

/// A node with all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRecord {
    /// Whether it may work, and whose it is.
    pub standing: NodeStanding,
    /// When it came first.
    pub created: Timestamp,
    /// When it was bound.
    pub bound: Option<Timestamp>,
    /// By what; none also for a node that the server bound by itself.
    pub bound_by: Option<BoundBy>,
    /// When it was heard of last.
    pub seen: Option<Timestamp>,
    /// What it said then.
    pub facts: Option<NodeFacts>,
}

/// By what a node was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundBy {
    /// A code of the account that the node signed with its key: it has consented.
    Code,
    /// A message that a wallet of the account signed: the node was not asked, and its own word counts more.
    Wallet,
}

impl BoundBy {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Wallet => "wallet",
        }
    }
}

impl FromStr for BoundBy {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "code" => Ok(Self::Code),
            "wallet" => Ok(Self::Wallet),
            _ => Err(StoreError::Corrupt(format!("no node is bound by `{text}`"))),
        }
    }
}

/// What is written beside a binding.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBinding {
    /// The most nodes that the account may have in the environment.
    pub most: u32,
    /// For the audit log; who, what to and where, `before` and `after` are filled in.
    pub audit: AuditEntry,
    /// What the account is told.
    pub notice: OwnerNotice,
    /// What the account is told that had the node, if it is another one.
    pub farewell: OwnerNotice,
}

/// What binds a node to an account, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOffer {
    /// SHA-256 of the code or message.
    pub hash: B256,
    /// To whom.
    pub account: AccountId,
    /// Where.
    pub environment: Environment,
    /// Which node; none: any that knows the code.
    pub node: Option<NodeId>,
    /// What it is to be called; empty: as before.
    pub name: String,
    /// Until when.
    pub expires: Timestamp,
    /// When.
    pub now: Timestamp,
}

/// What became of the wish to bind a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It is this account's, now or since earlier. The offer is used up.
    Bound {
        /// Whose.
        account: AccountId,
        /// What it is called.
        name: String,
    },
    /// No such offer: unknown, used, expired, or of the other environment.
    UnknownOffer,
    /// Another account has it, which has to unbind it first. The offer is still there.
    Taken,
    /// It may not connect. The offer is still there.
    Banned,
    /// The account has as many nodes as it may. The offer is still there.
    TooMany,
}

/// Which nodes to list.
#[derive(Debug, Clone)]
pub struct NodeFilter {
    /// Where.
    pub environment: Environment,
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only those that nobody has bound.
    pub unbound: bool,
    /// Only those with this flag in force.
    pub flag: Option<NodeFlag>,
    /// Which part, in the order of their ids.
    pub page: PageOf<NodeId>,
    /// The time, for what is in force.
    pub now: Timestamp,
}

/// What an owner changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// What it is called.
    pub name: Option<String>,
    /// Whether it is paused.
    pub paused: Option<bool>,
}

/// What became of the wish to unbind a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbound {
    /// It is nobody's.
    Done,
    /// It has earnings that would be lost to its owner.
    HasEarnings(Credits),
    /// It works on jobs, whose earnings would be lost to its owner.
    Busy,
    /// It is not this account's.
    UnknownNode,
}

/// What the node's owner is told of a change, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerNotice {
    /// Names it.
    pub id: NotificationId,
    /// Such as `node.penalty`.
    pub kind: String,
    /// A sentence or two.
    pub message: String,
}

/// A flag to be put on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFlag {
    /// Which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// What. One that is there is replaced.
    pub flag: NodeFlag,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// For the audit log; `before` is filled in.
    pub audit: AuditEntry,
    /// What the owner is told.
    pub notice: Option<OwnerNotice>,
}

/// One attempt of a job on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeJobRecord {
    /// The job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// The endpoint's path.
    pub endpoint: String,
    /// The model's name in the snapshot.
    pub model: String,
    /// The tokens of the request, if it was paid for.
    pub prompt_tokens: Option<u64>,
    /// The tokens of the answer, if it was paid for.
    pub completion_tokens: Option<u64>,
    /// How the job ended for this node; `Failed` if it got it without a result.
    pub state: JobState,
    /// Why there is no result.
    pub reason: Option<String>,
    /// When the job was accepted.
    pub created: Timestamp,
    /// When this attempt ended.
    pub ended: Timestamp,
    /// What the node got for it.
    pub earned: Credits,
}

/// What a node did in a day with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeWorkRecord {
    /// Days since the Unix epoch, in UTC.
    pub day: i64,
    /// The model's name in the snapshot.
    pub model: String,
    /// Jobs that were paid.
    pub jobs: u64,
    /// The tokens of their requests.
    pub prompt_tokens: u64,
    /// The tokens of their answers.
    pub completion_tokens: u64,
    /// What the node got for them.
    pub earned: Credits,
}

/// Nodes as their owners and administrators manage them.
#[async_trait]
pub trait FleetStore: Send + Sync {
    /// Keeps an offer, unless the account has `most` that have not expired. Those that have expired are forgotten.
    async fn offer_node(&self, offer: NodeOffer, most: u32) -> Result<bool, StoreError>;

    /// Binds a node that knows the code with this hash, and whose own signature the caller has seen; registers it if it was
    /// never here. A node that another account has bound by a wallet alone moves: out of its Subclouds, not paused, with
    /// what it earned and was not paid out.
    async fn join_node(
        &self,
        code_hash: B256,
        node: NodeId,
        environment: Environment,
        binding: NewBinding,
    ) -> Result<Joined, StoreError>;

    /// Binds the node that a message with this hash names, which this account got for one of these environments. The node
    /// has to be registered.
    async fn claim_node(
        &self,
        message_hash: B256,
        account: AccountId,
        environments: Vec<Environment>,
        binding: NewBinding,
    ) -> Result<(Joined, Option<(NodeId, Environment)>), StoreError>;

    /// Forgets at most so many nodes that are nobody's, were not heard of since then, and that nothing else is known of: no
    /// job, no credits, no flag, no penalty. How many.
    async fn forget_nodes(
        &self,
        environment: Environment,
        unseen_since: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError>;

    /// Whether a node may work.
    async fn node_standing(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<Option<NodeStanding>, StoreError>;

    /// Keeps what a node said of itself last. False: it is not registered.
    async fn saw_node(
        &self,
        node: NodeId,
        environment: Environment,
        facts: NodeFacts,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A node, whoever owns it.
    async fn fleet_node(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<Option<FleetRecord>, StoreError>;

    /// Nodes by their ids.
    async fn fleet_nodes(&self, filter: NodeFilter) -> Result<Vec<FleetRecord>, StoreError>;

    /// Changes a node of this account. None: it is not its own.
    async fn update_node(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        change: NodeChange,
        now: Timestamp,
    ) -> Result<Option<FleetRecord>, StoreError>;

    /// Gives a node of this account up, if it has no earnings left. Its name and pause go with the owner, flags and
    /// penalties stay.
    async fn unbind_node(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        audit: AuditEntry,
        notice: OwnerNotice,
    ) -> Result<Unbound, StoreError>;

    /// Puts a flag on a node. None: no such node.
    async fn flag_node(&self, flag: NewFlag) -> Result<Option<FleetRecord>, StoreError>;

    /// Takes a flag off a node. None: there is no such node, or it has no such flag.
    async fn unflag_node(
        &self,
        node: NodeId,
        environment: Environment,
        flag: NodeFlag,
        audit: AuditEntry,
        notice: Option<OwnerNotice>,
    ) -> Result<Option<FleetRecord>, StoreError>;

    /// Gives a node a penalty. None: no such node.
    async fn penalise_node(&self, penalty: NewPenalty) -> Result<Option<PenaltyRecord>, StoreError>;

    /// Penalties of a node: those that this account got, and those in force whoever got them. No account: all.
    async fn node_penalties(
        &self,
        node: NodeId,
        environment: Environment,
        account: Option<AccountId>,
        page: PageOf<PenaltyId>,
        now: Timestamp,
    ) -> Result<Vec<PenaltyRecord>, StoreError>;

    /// Files an appeal against a penalty of a node of this account, once.
    async fn appeal_penalty(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        penalty: PenaltyId,
        text: String,
        now: Timestamp,
    ) -> Result<Appealed, StoreError>;

    /// Penalties with an appeal; with `open`, those alone that are not decided.
    async fn appeals(
        &self,
        environment: Environment,
        open: bool,
        page: PageOf<PenaltyId>,
    ) -> Result<Vec<PenaltyRecord>, StoreError>;

    /// Decides an appeal in one of these environments, once. To lift a penalty ends it.
    async fn decide_appeal(&self, environments: Vec<Environment>, decision: Decision) -> Result<Decided, StoreError>;

    /// What a node did since then, by attempts: the last first unless ascending.
    async fn node_jobs(
        &self,
        node: NodeId,
        environment: Environment,
        since: Timestamp,
        page: PageOf<(JobId, u32)>,
    ) -> Result<Vec<NodeJobRecord>, StoreError>;

    /// What a node earned with results in this time, by day and model.
    async fn node_work(
        &self,
        node: NodeId,
        environment: Environment,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<NodeWorkRecord>, StoreError>;

    /// What a node has earned and was not paid out.
    async fn node_balance(&self, node: NodeId, environment: Environment) -> Result<Credits, StoreError>;
}
