//! Binding nodes: a code that a node joins with, or a message that a wallet of the account signs.

use std::time::Duration;

use resultity_core::api::gate::{
    AskBinding, BindChallenge, BindNode, CreateJoinCode, JoinCode, Node, Scope, join_code_hash, new_join_code,
};
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, AuditId, NodeId, NotificationId};
use resultity_core::signing::{Signature, eip191_hash};
use resultity_core::{Address, B256};

use super::{NODES_PER_ACCOUNT, checked_name, conflict, shown};
use crate::session::gate::throttle::Attempted;
use crate::session::gate::{Gate, GateSession, failed, not_found};
use crate::store::fleet::{Joined, NewBinding, NodeOffer, OwnerNotice};
use crate::store::{Actor, AuditEntry};

/// How long a code or message counts.
const LIFETIME: Duration = Duration::from_mins(15);

/// The most codes and messages of an account that have not expired.
const MOST: u32 = 20;

/// The longest message that may be one of ours, in bytes.
const MAX_MESSAGE: usize = 1000;

impl GateSession {
    pub(super) async fn new_join_code(&self, request: CreateJoinCode) -> Result<JoinCode, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let environment = self.flow(request.environment)?.environment;
        let name = checked_name(&request.name.unwrap_or_default())?;
        let code = new_join_code(&*self.gate.entropy);
        let hash = join_code_hash(&code).ok_or_else(|| ApiError::new(ErrorCode::Internal, "no code could be made"))?;
        let expires = self.offer(hash, account, environment, None, name.clone()).await?;
        Ok(JoinCode {
            object: "node.join_code".into(),
            code,
            environment,
            name: Some(name).filter(|name| !name.is_empty()),
            expires_at: expires.as_seconds(),
        })
    }

    pub(super) async fn binding_message(&self, request: AskBinding) -> Result<BindChallenge, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let environment = self.flow(request.environment)?.environment;
        let name = checked_name(&request.name.unwrap_or_default())?;
        let mut nonce = [0; 16];
        self.gate.entropy.fill(&mut nonce);
        let now = self.gate.clock.now();
        let message = message(account, request.node, environment, &nonce, now);
        let hash = sha256(&message);
        let expires = self.offer(hash, account, environment, Some(request.node), name).await?;
        Ok(BindChallenge {
            message,
            expires_at: expires.as_seconds(),
        })
    }

    /// The message is one that this account got, by its hash, so there is nothing in it to be read; who signed it has to be
    /// a wallet of the account.
    pub(super) async fn bind_by_wallet(&self, request: BindNode) -> Result<Node, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let throttle = &self.gate.throttle;
        throttle.attempt(Attempted::JoinCode, &account.to_string(), self.caller.address)?;
        let unknown = || {
            let message = "this message was not made for this account, or was used, or is older than 15 minutes";
            ApiError::new(ErrorCode::InvalidValue, message).with_param("message")
        };
        if request.message.len() > MAX_MESSAGE {
            return Err(unknown());
        }
        let signer = signer(&request)?;
        let wallets = self.gate.store.wallets(account).await.map_err(failed)?;
        if !wallets.iter().any(|wallet| wallet.address == signer) {
            let message = "the signature is by no wallet of this account: link the wallet first";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param("signature"));
        }
        let now = self.gate.clock.now();
        let store = &self.gate.store;
        // The token may see another environment than the one that the message is for.
        let seen = Environment::ALL.into_iter();
        let seen = seen
            .filter(|environment| self.flow(Some(*environment)).is_ok())
            .collect();
        let binding = self
            .gate
            .binding("A message that a wallet of your account signed binds this node to it.");
        let message = sha256(&request.message);
        let claimed = store.claim_node(message, account, seen, binding.clone()).await;
        let (mut joined, place) = claimed.map_err(failed)?;
        let Some((node, environment)) = place else {
            return Err(unknown());
        };
        let flow = self.flow(Some(environment))?;
        if joined == Joined::UnknownOffer && flow.fleet.node(node).is_some_and(|view| view.is_connected()) {
            // Nothing is kept of a node that nobody has bound; its link knows it.
            store.register_node(node, environment, now).await.map_err(failed)?;
            let claimed = store.claim_node(message, account, vec![environment], binding).await;
            (joined, _) = claimed.map_err(failed)?;
        }
        match joined {
            Joined::Bound { .. } => {
                throttle.succeeded(Attempted::JoinCode, &account.to_string(), self.caller.address);
                tracing::info!(node.id = %node, account.id = %account, "a node was bound by a wallet");
                flow.fleet_changed(node);
                let record = store.fleet_node(node, environment, now).await.map_err(failed)?;
                let record = record.ok_or_else(|| not_found("node"))?;
                Ok(shown::node(flow, &record, now))
            }
            Joined::TooMany => Err(conflict(format!(
                "the account has {NODES_PER_ACCOUNT} nodes, which is the most"
            ))),
            // One answer, so that nobody learns which nodes others have.
            Joined::UnknownOffer | Joined::Taken | Joined::Banned => Err(ApiError::new(
                ErrorCode::NotFound,
                "there is no such node that can be bound: it has to have been connected, and to be nobody else's",
            )),
        }
    }

    async fn offer(
        &self,
        hash: B256,
        account: AccountId,
        environment: Environment,
        node: Option<NodeId>,
        name: String,
    ) -> Result<Timestamp, ApiError> {
        let now = self.gate.clock.now();
        let offer = NodeOffer {
            hash,
            account,
            environment,
            node,
            name,
            expires: now.after(LIFETIME),
            now,
        };
        let expires = offer.expires;
        if !self.gate.store.offer_node(offer, MOST).await.map_err(failed)? {
            return Err(conflict(format!(
                "there are {MOST} codes that have not expired, which is the most: use one, or wait"
            )));
        }
        Ok(expires)
    }
}

impl Gate {
    /// What is written beside a binding: the store knows who, what and where.
    pub(in crate::session::gate) fn binding(&self, told: &str) -> NewBinding {
        NewBinding {
            most: NODES_PER_ACCOUNT,
            audit: AuditEntry {
                id: AuditId::new(&*self.clock, &*self.entropy),
                actor: Actor::Network,
                action: "node.bind".to_owned(),
                subject: String::new(),
                environment: None,
                before: None,
                after: None,
                reason: String::new(),
                now: self.clock.now(),
            },
            notice: self.owner_notice("node.bound", told),
            farewell: self.owner_notice(
                "node.unbound",
                "This node has joined another account with its own key. Yours had bound it by a wallet alone, which the node \
                 had not agreed to. What it earned and was not paid out went with it.",
            ),
        }
    }

    /// What an owner is told about a node.
    pub(super) fn owner_notice(&self, kind: &str, message: &str) -> OwnerNotice {
        OwnerNotice {
            id: NotificationId::new(&*self.clock, &*self.entropy),
            kind: kind.to_owned(),
            message: message.to_owned(),
        }
    }
}

fn message(account: AccountId, node: NodeId, environment: Environment, nonce: &[u8; 16], now: Timestamp) -> String {
    format!(
        "Bind a node to a Resultity account. Only sign this if both are yours. It costs nothing and moves nothing.\n\n\
         Account: {account}\nNode: {node}\nEnvironment: {environment}\nNonce: {}\nIssued At: {now}\n\
         Expiration Time: {}",
        B256::left_padding_from(nonce),
        now.after(LIFETIME)
    )
}

fn signer(request: &BindNode) -> Result<Address, ApiError> {
    let wrong = || {
        let message = "signature must be the wallet's signature of the message: 0x and 130 hexadecimal digits";
        ApiError::new(ErrorCode::InvalidValue, message).with_param("signature")
    };
    let signature: Signature = request.signature.parse().map_err(|_| wrong())?;
    let key = signature.recover(eip191_hash(&request.message)).map_err(|_| wrong())?;
    Ok(key.address())
}
