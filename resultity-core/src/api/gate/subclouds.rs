//! Subclouds: groups of nodes that jobs can be addressed to, with `x-resultity-subcloud`.
//!
//! An account owns a Subcloud and decides who may join it and who may address jobs to it; owners of nodes opt in and out.
//! Wherever one is named, its id and its name in the environment both do.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::gate::{InEnvironment, NodeLoad};
use crate::api::page::{Order, Page};
use crate::environment::Environment;
use crate::error::{ApiError, ErrorCode};
use crate::id::{NamespaceId, NodeId, SubcloudId};

/// The longest name of a Subcloud: characters.
pub const MAX_SUBCLOUD_NAME: usize = 40;

/// Whether this can be the name of a Subcloud: 1 to 40 of `a` to `z`, `0` to `9` and `-`.
pub fn is_subcloud_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_SUBCLOUD_NAME).contains(&name.len()) && name.bytes().all(is_good)
}

/// Which nodes may join.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JoinPolicy {
    /// Every node.
    #[default]
    Open,
    /// The nodes of its owner, and those of whoever has its join token.
    Closed,
}

/// Which namespaces may address jobs to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccessPolicy {
    /// Every namespace.
    #[default]
    Open,
    /// The namespaces of its owner, and those that it lists.
    Members,
}

macro_rules! named {
    ($($policy:ident: $($name:ident $text:literal)*;)*) => {$(
        impl $policy {
            /// The name, as on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl fmt::Display for $policy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $policy {
            type Err = ApiError;

            fn from_str(text: &str) -> Result<Self, ApiError> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(ApiError::new(ErrorCode::InvalidValue, concat!("expected one of:", $(" ", $text),*))),
                }
            }
        }
    )*};
}

named! {
    JoinPolicy: Open "open" Closed "closed";
    AccessPolicy: Open "open" Members "members";
}

/// A Subcloud. Everybody who has signed in may see it, to join it; its owner sees more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subcloud {
    /// Names it.
    pub id: SubcloudId,
    /// Always `subcloud`.
    pub object: String,
    /// Where it counts.
    pub environment: Environment,
    /// What callers write into `x-resultity-subcloud`.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The models that it answers for, by their names in the configuration; empty: all that its nodes serve.
    pub models: Vec<String>,
    /// Which nodes may join.
    pub join: JoinPolicy,
    /// Which namespaces may address jobs to it.
    pub access: AccessPolicy,
    /// Whether its nodes take no other jobs.
    pub isolated: bool,
    /// Whether it is the caller's.
    pub owned: bool,
    /// The namespaces that may address jobs to it beside the owner's; for its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<NamespaceId>>,
    /// Whether it has a join token; for its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_token: Option<bool>,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// A Subcloud with its join token, if it got one: it is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubcloudWithToken {
    /// The Subcloud.
    #[serde(flatten)]
    pub subcloud: Subcloud,
    /// With what nodes of others join it: `sj_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
}

impl fmt::Debug for SubcloudWithToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubcloudWithToken")
            .field("subcloud", &self.subcloud)
            .field("join_token", &self.join_token.as_ref().map(|_| "[hidden]"))
            .finish()
    }
}

/// `POST /gate/v1/subclouds`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateSubcloud {
    /// 1 to 40 of `a` to `z`, `0` to `9` and `-`; nobody else has it in the environment.
    pub name: String,
    /// Where it is to count; where the session looks if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What it is for: at most 500 characters.
    #[serde(default)]
    pub description: String,
    /// The models that it answers for, by their names in the configuration: at most 100; none: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Which nodes may join.
    #[serde(default)]
    pub join: JoinPolicy,
    /// Which namespaces may address jobs to it.
    #[serde(default)]
    pub access: AccessPolicy,
    /// The namespaces that may beside the owner's, if access is for members: at most 100.
    #[serde(default)]
    pub namespaces: Vec<NamespaceId>,
    /// Whether its nodes are to take no other jobs.
    #[serde(default)]
    pub isolated: bool,
}

impl CreateSubcloud {
    /// One that everybody may join and use.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// To count there.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// With a join token.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.join = JoinPolicy::Closed;
        self
    }

    /// For the owner's namespaces and these alone.
    #[must_use]
    pub fn members(mut self, namespaces: impl IntoIterator<Item = NamespaceId>) -> Self {
        self.access = AccessPolicy::Members;
        self.namespaces = namespaces.into_iter().collect();
        self
    }

    /// For these models alone.
    #[must_use]
    pub fn models(mut self, models: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.models = models.into_iter().map(Into::into).collect();
        self
    }

    /// Whose nodes take no other jobs.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }
}

/// `POST /gate/v1/subclouds/{subcloud}`: what is named is changed, the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateSubcloud {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The models that it answers for; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Which nodes may join. Those that are there stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinPolicy>,
    /// Which namespaces may address jobs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessPolicy>,
    /// The namespaces that may beside the owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<NamespaceId>>,
    /// Whether its nodes take no other jobs; not while nodes of others are in it, who joined for something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
}

/// Which of the account's Subclouds, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct SubcloudQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<SubcloudId>,
    /// Which end comes first: `desc` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// Which nodes of a Subcloud, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct SubcloudNodesQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<NodeId>,
    /// Which end comes first: `desc` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// A node of a Subcloud, as the Subcloud's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubcloudNode {
    /// Which.
    pub node: NodeId,
    /// Always `subcloud.node`.
    pub object: String,
    /// Whether it is the caller's own.
    pub owned: bool,
    /// Where it stands, as its owner sees it.
    pub state: String,
    /// Whether its link is up.
    pub connected: bool,
    /// Whether it gets jobs.
    pub in_rotation: bool,
    /// How busy it says it is; null while its link is down.
    pub load: Option<NodeLoad>,
    /// The models that it is ready with, while its link is up.
    pub models: Vec<String>,
    /// When it joined: seconds since the Unix epoch.
    pub joined_at: i64,
}

/// `POST /gate/v1/nodes/{node}/subclouds`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JoinSubcloud {
    /// Which: its id or name.
    pub subcloud: String,
    /// Its join token, if it is closed and somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl JoinSubcloud {
    /// This one: its id or name.
    pub fn new(subcloud: impl Into<String>) -> Self {
        Self {
            subcloud: subcloud.into(),
            token: None,
        }
    }

    /// With its join token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
}

impl fmt::Debug for JoinSubcloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSubcloud")
            .field("subcloud", &self.subcloud)
            .field("token", &self.token.as_ref().map(|_| "[hidden]"))
            .finish()
    }
}

/// That a node is in a Subcloud no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubcloudLeft {
    /// Which node.
    pub node: NodeId,
    /// Which Subcloud.
    pub subcloud: SubcloudId,
    /// Always `subcloud.left`.
    pub object: String,
    /// Always true.
    pub left: bool,
}

/// That a Subcloud is there no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubcloudDeleted {
    /// Which.
    pub id: SubcloudId,
    /// Always `subcloud.deleted`.
    pub object: String,
    /// Always true.
    pub deleted: bool,
}

/// Subclouds, and which nodes are in them.
#[async_trait]
pub trait SubcloudsApi: Send + Sync {
    /// A page of the account's own.
    async fn subclouds(&self, query: SubcloudQuery) -> Result<Page<Subcloud>, ApiError>;

    /// Makes one. A name that is taken is a [`ErrorCode::Conflict`]. Only this answer has the join token of a closed one.
    async fn create_subcloud(&self, request: CreateSubcloud) -> Result<SubcloudWithToken, ApiError>;

    /// One, whoever owns it.
    async fn subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<Subcloud, ApiError>;

    /// Changes one of the account's.
    async fn update_subcloud(
        &self,
        subcloud: &str,
        place: InEnvironment,
        request: UpdateSubcloud,
    ) -> Result<Subcloud, ApiError>;

    /// Deletes one of the account's; its nodes go on without it. Jobs that wait for it find no node any more.
    async fn delete_subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudDeleted, ApiError>;

    /// Gives a closed one of the account's a new join token; the old one is worth nothing any more. Nodes that are in stay.
    async fn rotate_subcloud_token(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudWithToken, ApiError>;

    /// A page of the nodes in one of the account's.
    async fn subcloud_nodes(&self, subcloud: &str, query: SubcloudNodesQuery) -> Result<Page<SubcloudNode>, ApiError>;

    /// Takes a node out of one of the account's, whoever owns the node.
    async fn remove_subcloud_node(
        &self,
        subcloud: &str,
        node: NodeId,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError>;

    /// The Subclouds that a node of the account is in: all of them, which are few.
    async fn node_subclouds(&self, node: NodeId, place: InEnvironment) -> Result<Page<Subcloud>, ApiError>;

    /// Puts a node of the account into a Subcloud. One that is there stays.
    async fn join_subcloud(
        &self,
        node: NodeId,
        place: InEnvironment,
        request: JoinSubcloud,
    ) -> Result<Subcloud, ApiError>;

    /// Takes a node of the account out of a Subcloud.
    async fn leave_subcloud(
        &self,
        node: NodeId,
        subcloud: &str,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "gpu-farm-1", "-", &"x".repeat(40)] {
            assert!(is_subcloud_name(good), "{good}");
        }
        for bad in ["", "A", "a_b", "a b", "ä", "sub_1", &"x".repeat(41)] {
            assert!(!is_subcloud_name(bad), "{bad}");
        }
    }

    #[test]
    fn tokens_are_not_shown() {
        let request = JoinSubcloud::new("farm").token("sj_secret");
        assert!(!format!("{request:?}").contains("sj_secret"));
    }
}
