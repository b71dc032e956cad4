//! Subclouds: the owner's side, and nodes that join and leave.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccessPolicy, CreateSubcloud, InEnvironment, JoinPolicy, JoinSubcloud, NodeLoad, Scope, Subcloud, SubcloudDeleted,
    SubcloudLeft, SubcloudNode, SubcloudNodesQuery, SubcloudQuery, SubcloudWithToken, SubcloudsApi, UpdateSubcloud,
    is_subcloud_name,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NamespaceId, NodeId, SubcloudId};

use super::callers::new_token;
use super::{GateSession, failed, not_found, reason};
use crate::flow::Flow;
use crate::flow::fleet::shown_state;
use crate::session::jobs::page_size;
use crate::store::subclouds::{
    Joining, Leaver, SubcloudChange, SubcloudChanged, SubcloudJoined, SubcloudMade, SubcloudNodeRecord, SubcloudRecord,
    SubcloudRef, TokenSet,
};
use crate::store::webhooks::PageOf;

/// What every join token begins with.
const TOKEN_PREFIX: &str = "sj_";

/// The most Subclouds of an account in an environment.
const MOST: u32 = 100;

/// In how many Subclouds a node may be.
const MOST_OF_NODE: u32 = 20;

/// The most models or namespaces that a Subcloud lists.
const MOST_LISTED: usize = 100;

/// The longest description: characters.
const LONGEST_DESCRIPTION: usize = 500;

#[async_trait]
impl SubcloudsApi for GateSession {
    async fn subclouds(&self, query: SubcloudQuery) -> Result<Page<Subcloud>, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let size = page_size(query.limit)?;
        let page = PageOf {
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let found = self.gate.store.subclouds(account, environment, page).await;
        let found = found.map_err(failed)?.into_iter().map(|record| shown(record, account));
        Ok(Page::of(found.collect(), size, |one: &Subcloud| one.id.to_string()))
    }

    async fn create_subcloud(&self, request: CreateSubcloud) -> Result<SubcloudWithToken, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let flow = self.flow(request.environment)?;
        let models = checked_models(flow, request.models)?;
        let namespaces = checked_namespaces(request.access, request.namespaces)?;
        let join_token = match request.join {
            JoinPolicy::Open => None,
            JoinPolicy::Closed => Some(new_token(TOKEN_PREFIX, &*self.gate.entropy)),
        };
        let record = SubcloudRecord {
            id: SubcloudId::new(&*self.gate.clock, &*self.gate.entropy),
            environment: flow.environment,
            account,
            name: checked_name(request.name)?,
            description: reason::text("description", &request.description, LONGEST_DESCRIPTION)?,
            models,
            join: request.join,
            token_hash: join_token.as_ref().map(sha256),
            access: request.access,
            namespaces,
            isolated: request.isolated,
            created: self.gate.clock.now(),
        };
        let made = self.gate.store.create_subcloud(record.clone(), MOST).await;
        match made.map_err(failed)? {
            SubcloudMade::Made => Ok(SubcloudWithToken {
                subcloud: shown(record, account),
                join_token,
            }),
            SubcloudMade::NameTaken => Err(name_taken()),
            SubcloudMade::TooMany => Err(conflict(format!(
                "there are {MOST} Subclouds of this account already, which is the most: delete one first"
            ))),
        }
    }

    async fn subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<Subcloud, ApiError> {
        let account = self.account(Scope::Read)?;
        let (_, record) = self.named_subcloud(subcloud, place).await?;
        Ok(shown(record, account))
    }

    async fn update_subcloud(
        &self,
        subcloud: &str,
        place: InEnvironment,
        request: UpdateSubcloud,
    ) -> Result<Subcloud, ApiError> {
        let (flow, account, record) = self.own_subcloud(Scope::Nodes, subcloud, place).await?;
        let access = request.access.unwrap_or(record.access);
        let namespaces = match request.namespaces {
            Some(namespaces) => Some(checked_namespaces(access, namespaces)?),
            // Those of before would say nothing any more.
            None => (access == AccessPolicy::Open).then(Vec::new),
        };
        let description = request.description.as_deref();
        let change = SubcloudChange {
            name: request.name.map(checked_name).transpose()?,
            description: description
                .map(|text| reason::text("description", text, LONGEST_DESCRIPTION))
                .transpose()?,
            models: request.models.map(|models| checked_models(flow, models)).transpose()?,
            join: request.join,
            access: request.access,
            namespaces,
            isolated: request.isolated,
        };
        let changed = self.gate.store.update_subcloud(account, record.id, change).await;
        match changed.map_err(failed)? {
            SubcloudChanged::Done(record, concerned) => {
                look_again(flow, &concerned);
                Ok(shown(*record, account))
            }
            SubcloudChanged::Unknown => Err(no_subcloud()),
            SubcloudChanged::NameTaken => Err(name_taken()),
            SubcloudChanged::HasNodesOfOthers => Err(conflict(
                "nodes of others are in it, who joined for something else: take them out first, or make another one",
            )
            .with_param("isolated")),
        }
    }

    async fn delete_subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudDeleted, ApiError> {
        let (flow, account, record) = self.own_subcloud(Scope::Nodes, subcloud, place).await?;
        let deleted = self.gate.store.delete_subcloud(account, record.id).await;
        let concerned = deleted.map_err(failed)?.ok_or_else(no_subcloud)?;
        flow.subcloud_gone(record.id);
        look_again(flow, &concerned);
        Ok(SubcloudDeleted {
            id: record.id,
            object: "subcloud.deleted".into(),
            deleted: true,
        })
    }

    async fn rotate_subcloud_token(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudWithToken, ApiError> {
        let (_, account, record) = self.own_subcloud(Scope::Nodes, subcloud, place).await?;
        let token = new_token(TOKEN_PREFIX, &*self.gate.entropy);
        let store = &self.gate.store;
        let set = store.set_subcloud_token(account, record.id, sha256(&token)).await;
        match set.map_err(failed)? {
            TokenSet::Done(record) => Ok(SubcloudWithToken {
                subcloud: shown(*record, account),
                join_token: Some(token),
            }),
            TokenSet::Unknown => Err(no_subcloud()),
            TokenSet::Open => Err(conflict("every node may join it: set join to closed first")),
        }
    }

    async fn subcloud_nodes(&self, subcloud: &str, query: SubcloudNodesQuery) -> Result<Page<SubcloudNode>, ApiError> {
        let place = InEnvironment {
            environment: query.environment,
        };
        let (flow, account, record) = self.own_subcloud(Scope::Read, subcloud, place).await?;
        let size = page_size(query.limit)?;
        let page = PageOf {
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let now = self.gate.clock.now();
        let nodes = self.gate.store.subcloud_nodes(record.id, page, now).await;
        let nodes = nodes.map_err(failed)?;
        let nodes = nodes.iter().map(|node| node_shown(flow, node, account, now)).collect();
        Ok(Page::of(nodes, size, |one: &SubcloudNode| one.node.to_string()))
    }

    async fn remove_subcloud_node(
        &self,
        subcloud: &str,
        node: NodeId,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError> {
        let (flow, account, record) = self.own_subcloud(Scope::Nodes, subcloud, place).await?;
        self.left(flow, record.id, node, Leaver::OfSubcloud(account)).await
    }

    async fn node_subclouds(&self, node: NodeId, place: InEnvironment) -> Result<Page<Subcloud>, ApiError> {
        let (flow, account, _) = self.own_node(Scope::Read, node, place.environment).await?;
        let found = self.gate.store.node_subclouds(node, flow.environment).await;
        let found = found.map_err(failed)?.into_iter().map(|record| shown(record, account));
        Ok(Page::of(found.collect(), MOST_OF_NODE, |one: &Subcloud| {
            one.id.to_string()
        }))
    }

    async fn join_subcloud(
        &self,
        node: NodeId,
        place: InEnvironment,
        request: JoinSubcloud,
    ) -> Result<Subcloud, ApiError> {
        let (flow, account, _) = self.own_node(Scope::Nodes, node, place.environment).await?;
        let named = self.named_subcloud(&request.subcloud, flow.environment.into()).await;
        let (_, record) = named.map_err(|error| error.with_param("subcloud"))?;
        let joining = Joining {
            subcloud: record.id,
            node,
            account,
            token_hash: request.token.as_ref().map(sha256),
            most: MOST_OF_NODE,
            now: self.gate.clock.now(),
        };
        match self.gate.store.join_subcloud(joining).await.map_err(failed)? {
            SubcloudJoined::Joined => {
                tracing::info!(node.id = %node, subcloud.id = %record.id, "a node joined a Subcloud");
                flow.fleet_changed(node);
                Ok(shown(record, account))
            }
            SubcloudJoined::UnknownSubcloud => Err(no_subcloud().with_param("subcloud")),
            SubcloudJoined::UnknownNode => Err(not_found("node")),
            SubcloudJoined::WrongToken => {
                let message = "this Subcloud is closed: give its join token, which its owner has";
                Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param("token"))
            }
            SubcloudJoined::TooMany => Err(conflict(format!(
                "the node is in {MOST_OF_NODE} Subclouds already, which is the most: leave one first"
            ))),
        }
    }

    async fn leave_subcloud(
        &self,
        node: NodeId,
        subcloud: &str,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError> {
        let (flow, account, _) = self.own_node(Scope::Nodes, node, place.environment).await?;
        let (_, record) = self.named_subcloud(subcloud, flow.environment.into()).await?;
        self.left(flow, record.id, node, Leaver::OfNode(account)).await
    }
}

impl GateSession {
    /// The Subcloud with this id or name, if the caller sees its environment.
    async fn named_subcloud(&self, named: &str, place: InEnvironment) -> Result<(&Flow, SubcloudRecord), ApiError> {
        let wanted = match named.parse() {
            Ok(id) => SubcloudRef::Id(id),
            Err(_) if is_subcloud_name(named) => {
                SubcloudRef::Name(self.flow(place.environment)?.environment, named.to_owned())
            }
            Err(_) => return Err(no_subcloud()),
        };
        let found = self.gate.store.subcloud(wanted).await.map_err(failed)?;
        let is_meant = |record: &SubcloudRecord| place.environment.is_none_or(|asked| asked == record.environment);
        let record = found.filter(is_meant).ok_or_else(no_subcloud)?;
        let flow = self.flow(Some(record.environment)).map_err(|_| no_subcloud())?;
        Ok((flow, record))
    }

    /// The same, if it is the caller's.
    async fn own_subcloud(
        &self,
        scope: Scope,
        named: &str,
        place: InEnvironment,
    ) -> Result<(&Flow, AccountId, SubcloudRecord), ApiError> {
        let account = self.account(scope)?;
        let (flow, record) = self.named_subcloud(named, place).await?;
        if record.account != account {
            return Err(no_subcloud());
        }
        Ok((flow, account, record))
    }

    async fn left(
        &self,
        flow: &Flow,
        subcloud: SubcloudId,
        node: NodeId,
        by: Leaver,
    ) -> Result<SubcloudLeft, ApiError> {
        let left = self.gate.store.leave_subcloud(subcloud, node, by).await;
        if !left.map_err(failed)? {
            return Err(not_found("node in this Subcloud"));
        }
        tracing::info!(node.id = %node, subcloud.id = %subcloud, "a node left a Subcloud");
        flow.fleet_changed(node);
        Ok(SubcloudLeft {
            node,
            subcloud,
            object: "subcloud.left".into(),
            left: true,
        })
    }
}

/// The links of these nodes look at what they are in now.
fn look_again(flow: &Flow, nodes: &[NodeId]) {
    for node in nodes {
        flow.fleet_changed(*node);
    }
}

fn shown(record: SubcloudRecord, viewer: AccountId) -> Subcloud {
    let owned = record.account == viewer;
    Subcloud {
        id: record.id,
        object: "subcloud".into(),
        environment: record.environment,
        name: record.name,
        description: record.description,
        models: record.models,
        join: record.join,
        access: record.access,
        isolated: record.isolated,
        owned,
        namespaces: owned.then_some(record.namespaces),
        has_token: owned.then_some(record.token_hash.is_some()),
        created_at: record.created.as_seconds(),
    }
}

fn node_shown(flow: &Flow, node: &SubcloudNodeRecord, viewer: AccountId, now: Timestamp) -> SubcloudNode {
    let standing = &node.record.standing;
    let state = shown_state(standing, now);
    let view = flow.fleet.node(standing.node).filter(|view| view.is_connected());
    let ready = view.iter().flat_map(|view| view.ready_models());
    SubcloudNode {
        node: standing.node,
        object: "subcloud.node".into(),
        owned: standing.account == Some(viewer),
        state: state.to_owned(),
        connected: view.is_some(),
        in_rotation: state == "active" && view.as_ref().is_some_and(|view| view.in_rotation(now)),
        load: view.as_ref().map(|view| NodeLoad {
            running: view.load.running,
            queued: view.load.queued,
            slots: view.load.slots,
        }),
        models: ready.map(|model| model.id.clone()).collect(),
        joined_at: node.joined.as_seconds(),
    }
}

fn checked_name(name: String) -> Result<String, ApiError> {
    if is_subcloud_name(&name) {
        return Ok(name);
    }
    Err(invalid("name", "name must have 1 to 40 of a to z, 0 to 9 and -"))
}

/// The models by their names in the configuration.
fn checked_models(flow: &Flow, models: Vec<String>) -> Result<Vec<String>, ApiError> {
    if models.len() > MOST_LISTED {
        return Err(invalid("models", format!("models may name {MOST_LISTED}")));
    }
    let named = models.iter().enumerate().map(|(index, name)| {
        let model = flow.model(name);
        let model = model.map_err(|error| invalid(&format!("models[{index}]"), error.message))?;
        Ok(model.name)
    });
    let mut names = named.collect::<Result<Vec<_>, ApiError>>()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn checked_namespaces(access: AccessPolicy, mut namespaces: Vec<NamespaceId>) -> Result<Vec<NamespaceId>, ApiError> {
    if namespaces.len() > MOST_LISTED {
        return Err(invalid("namespaces", format!("namespaces may name {MOST_LISTED}")));
    }
    if access == AccessPolicy::Open && !namespaces.is_empty() {
        return Err(invalid(
            "namespaces",
            "every namespace may address jobs to it: set access to members to choose them",
        ));
    }
    namespaces.sort_unstable();
    namespaces.dedup();
    Ok(namespaces)
}

fn no_subcloud() -> ApiError {
    not_found("Subcloud")
}

fn name_taken() -> ApiError {
    conflict("another Subcloud of this environment has this name").with_param("name")
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Conflict, message)
}

fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}
