//! Subclouds: groups of nodes that jobs can be addressed to, and which nodes are in them.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::{AccessPolicy, JoinPolicy};
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId, NodeId, SubcloudId};

use crate::store::StoreError;
use crate::store::fleet::FleetRecord;
use crate::store::webhooks::PageOf;

/// That a node is in a Subcloud: what its link has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubcloudMembership {
    /// Which.
    pub subcloud: SubcloudId,
    /// Whether its nodes take no other jobs.
    pub isolated: bool,
}

/// By what a Subcloud is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubcloudRef {
    /// Its id.
    Id(SubcloudId),
    /// Its name there.
    Name(Environment, String),
}

/// A Subcloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubcloudRecord {
    /// Names it.
    pub id: SubcloudId,
    /// Where it counts.
    pub environment: Environment,
    /// Whose it is.
    pub account: AccountId,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The models that it answers for; empty: all.
    pub models: Vec<String>,
    /// Which nodes may join.
    pub join: JoinPolicy,
    /// SHA-256 of the join token. An open one has none.
    pub token_hash: Option<B256>,
    /// Which namespaces may address jobs to it.
    pub access: AccessPolicy,
    /// Those that may beside its owner's.
    pub namespaces: Vec<NamespaceId>,
    /// Whether its nodes take no other jobs.
    pub isolated: bool,
    /// When it was made.
    pub created: Timestamp,
}

impl SubcloudRecord {
    /// Whether this namespace of this account may address jobs to it.
    pub fn admits(&self, account: AccountId, namespace: NamespaceId) -> bool {
        match self.access {
            AccessPolicy::Open => true,
            AccessPolicy::Members => self.account == account || self.namespaces.contains(&namespace),
        }
    }

    /// Whether it answers for this model.
    pub fn answers_for(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|known| known == model)
    }
}

/// What is changed of a Subcloud; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubcloudChange {
    /// What it is called.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The models that it answers for.
    pub models: Option<Vec<String>>,
    /// Which nodes may join. One that is opened loses its token.
    pub join: Option<JoinPolicy>,
    /// Which namespaces may address jobs to it.
    pub access: Option<AccessPolicy>,
    /// Those that may beside its owner's.
    pub namespaces: Option<Vec<NamespaceId>>,
    /// Whether its nodes take no other jobs.
    pub isolated: Option<bool>,
}

/// What became of the wish to make a Subcloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubcloudMade {
    /// It is there.
    Made,
    /// Another one in the environment has the name.
    NameTaken,
    /// The account has as many as it may.
    TooMany,
}

/// What became of the wish to change a Subcloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubcloudChanged {
    /// It is so now; with its nodes, if that matters to them.
    Done(Box<SubcloudRecord>, Vec<NodeId>),
    /// It is not this account's.
    Unknown,
    /// Another one in the environment has the name.
    NameTaken,
    /// It has nodes of others, who joined for something else.
    HasNodesOfOthers,
}

/// What became of the wish to give a Subcloud another join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSet {
    /// It has it.
    Done(Box<SubcloudRecord>),
    /// It is not this account's.
    Unknown,
    /// It is open: no token is needed.
    Open,
}

/// A node that is to be in a Subcloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joining {
    /// Which Subcloud.
    pub subcloud: SubcloudId,
    /// Which node.
    pub node: NodeId,
    /// Whose it is.
    pub account: AccountId,
    /// SHA-256 of the token that was shown.
    pub token_hash: Option<B256>,
    /// In how many Subclouds a node may be.
    pub most: u32,
    /// When.
    pub now: Timestamp,
}

/// What became of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubcloudJoined {
    /// It is in, now or since earlier.
    Joined,
    /// There is no such Subcloud.
    UnknownSubcloud,
    /// The account has no such node in the Subcloud's environment.
    UnknownNode,
    /// The Subcloud is closed, and this is not its token.
    WrongToken,
    /// The node is in as many as it may.
    TooMany,
}

/// Who takes a node out of a Subcloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaver {
    /// The node's owner.
    OfNode(AccountId),
    /// The Subcloud's owner.
    OfSubcloud(AccountId),
}

/// A node in a Subcloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubcloudNodeRecord {
    /// The node.
    pub record: FleetRecord,
    /// When it joined.
    pub joined: Timestamp,
}

/// Subclouds.
#[async_trait]
pub trait SubcloudStore: Send + Sync {
    /// Makes one, unless the account has `most` in its environment.
    async fn create_subcloud(&self, subcloud: SubcloudRecord, most: u32) -> Result<SubcloudMade, StoreError>;

    /// One, whoever owns it.
    async fn subcloud(&self, subcloud: SubcloudRef) -> Result<Option<SubcloudRecord>, StoreError>;

    /// Those of an account, by their ids.
    async fn subclouds(
        &self,
        account: AccountId,
        environment: Environment,
        page: PageOf<SubcloudId>,
    ) -> Result<Vec<SubcloudRecord>, StoreError>;

    /// Changes one of this account's.
    async fn update_subcloud(
        &self,
        account: AccountId,
        id: SubcloudId,
        change: SubcloudChange,
    ) -> Result<SubcloudChanged, StoreError>;

    /// Gives a closed one of this account's another join token, by its hash.
    async fn set_subcloud_token(
        &self,
        account: AccountId,
        id: SubcloudId,
        token_hash: B256,
    ) -> Result<TokenSet, StoreError>;

    /// Deletes one of this account's; gives the nodes that were in it. None: it is not its own.
    async fn delete_subcloud(&self, account: AccountId, id: SubcloudId) -> Result<Option<Vec<NodeId>>, StoreError>;

    /// Puts a node into a Subcloud. Nodes of the Subcloud's owner need no token.
    async fn join_subcloud(&self, joining: Joining) -> Result<SubcloudJoined, StoreError>;

    /// Takes a node out of a Subcloud. False: it was not in, or whoever wants it has no say.
    async fn leave_subcloud(&self, subcloud: SubcloudId, node: NodeId, by: Leaver) -> Result<bool, StoreError>;

    /// The nodes of a Subcloud, by their ids.
    async fn subcloud_nodes(
        &self,
        subcloud: SubcloudId,
        page: PageOf<NodeId>,
        now: Timestamp,
    ) -> Result<Vec<SubcloudNodeRecord>, StoreError>;

    /// The Subclouds that a node is in, by their ids.
    async fn node_subclouds(&self, node: NodeId, environment: Environment) -> Result<Vec<SubcloudRecord>, StoreError>;
}
