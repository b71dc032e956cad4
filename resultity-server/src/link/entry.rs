//! A node at the door: challenge, hello, how it stands; in, or refused with a reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use resultity_core::B256;
use resultity_core::id::{AccountId, AuditId, NodeId, SessionId};
use resultity_core::signing::PublicKey;
use resultity_core::wire::{Challenge, Hello, MAX_HELLO_BYTES, NodeFrame, Reject, RejectCode, ServerFrame};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::flow::Flow;
use crate::flow::fleet::nobodys;
use crate::link::actor::{Actor, Arrival};
use crate::link::entrance::Entering;
use crate::link::fallback::Fallback;
use crate::link::handshake::{check_hello, is_signed};
use crate::link::socket::{close, close_frame};
use crate::store::fleet::NodeStanding;
use crate::store::{AuditEntry, StoreError, admin};

/// How long a node has, from the challenge until its hello was checked.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Rules of this server for nodes.
#[derive(Debug, Clone, Default)]
pub struct LinkPolicy {
    /// Whom nodes that dial in from this machine are bound to (`dev`); others stay idle until an account binds them.
    pub bind_loopback_to: Option<AccountId>,
}

/// Serves one node until its link ends.
pub async fn serve(
    flow: Arc<Flow>,
    policy: LinkPolicy,
    fallback: Arc<Fallback>,
    mut socket: WebSocket,
    (peer, entering): (SocketAddr, Entering),
    stop: CancellationToken,
) {
    let mut nonce = B256::ZERO;
    flow.entropy.fill(nonce.as_mut_slice());
    let challenge = Challenge {
        session_id: SessionId::new(&*flow.clock, &*flow.entropy),
        nonce,
        server_time: flow.clock.now(),
        environment: flow.environment,
        network_key: flow.network_key().address(),
        genesis: flow.genesis,
        min_agent_version: flow.snapshot().min_agent_version.clone(),
    };
    let shaken = timeout(HELLO_TIMEOUT, handshake(&flow, &challenge, &mut socket)).await;
    let (hello, key) = match shaken.unwrap_or_else(|_| Err(no_hello("there was no hello in time"))) {
        Ok(hello) => hello,
        Err(refusal) => {
            entering.failed();
            tracing::info!(%peer, reason = %refusal.message, "a node was not let in");
            refuse(&mut socket, refusal).await;
            return;
        }
    };
    let node = hello.node_id;
    match admit(&flow, &policy, node, peer).await {
        Ok(standing) => match entering.let_in(standing.account.is_some()) {
            Ok(linked) => {
                let arrival = Arrival {
                    hello,
                    key,
                    session: challenge.session_id,
                    standing,
                    linked,
                    fallback,
                };
                let (actor, frames) = Actor::attach(flow, arrival);
                actor.run(socket, frames, stop).await;
            }
            Err(_) => refuse(&mut socket, busy()).await,
        },
        Err(refusal) => {
            if refusal.code == RejectCode::Banned {
                entering.failed();
                remember(&flow, &hello, &refusal).await;
            }
            refuse(&mut socket, refusal).await;
        }
    }
}

async fn handshake(flow: &Flow, challenge: &Challenge, socket: &mut WebSocket) -> Result<(Hello, PublicKey), Reject> {
    let text = ServerFrame::from(challenge.clone()).encode();
    socket
        .send(Message::Text(text.into()))
        .await
        .map_err(|_| no_hello("the link dropped"))?;
    let text = loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(no_hello("there was no hello, or it was too large")),
        }
    };
    // A read takes more than what is left at once.
    if text.len() > MAX_HELLO_BYTES {
        return Err(no_hello("the hello is too large"));
    }
    match NodeFrame::parse(&text) {
        Ok(NodeFrame::Hello(hello)) => match check_hello(challenge, &hello, &text, &flow.domain, flow.clock.now()) {
            Ok(key) => Ok((hello, key)),
            Err(reject) => {
                if is_signed(challenge, &hello, &text, &flow.domain).is_ok() {
                    remember(flow, &hello, &reject).await;
                }
                Err(reject)
            }
        },
        Ok(frame) => Err(no_hello(&format!("a hello was due, but a {} came", frame.kind()))),
        Err(error) => Err(no_hello(&error.to_string())),
    }
}

fn no_hello(message: &str) -> Reject {
    Reject {
        code: RejectCode::Other,
        message: message.into(),
        retry_after_ms: Some(1000),
    }
}

/// How the node stands. Nothing is written of one that is nobody's: anybody may connect, with as many keys as they like.
pub(super) async fn admit(
    flow: &Flow,
    policy: &LinkPolicy,
    node: NodeId,
    peer: SocketAddr,
) -> Result<NodeStanding, Reject> {
    let later = |error: StoreError| {
        tracing::error!(node.id = %node, %error, "could not see how a node stands");
        busy()
    };
    let (store, environment, now) = (&flow.store, flow.environment, flow.clock.now());
    let there = store.node_standing(node, environment, now).await.map_err(later)?;
    let is_free = there
        .as_ref()
        .is_none_or(|standing| standing.account.is_none() && !standing.banned);
    let standing = match policy.bind_loopback_to {
        Some(account) if is_free && peer.ip().is_loopback() => {
            store.register_node(node, environment, now).await.map_err(later)?;
            store.bind_node(node, environment, account, now).await.map_err(later)?;
            let line = AuditEntry {
                id: AuditId::new(&*flow.clock, &*flow.entropy),
                actor: admin::Actor::Network,
                action: "node.bind".to_owned(),
                subject: format!("node:{node}"),
                environment: Some(environment),
                before: None,
                after: Some(serde_json::json!({ "account": account })),
                reason: "a node of this machine".to_owned(),
                now,
            };
            store.keep_audit_line(line).await.map_err(later)?;
            let bound = store.node_standing(node, environment, now).await;
            bound.map_err(later)?.ok_or_else(busy)?
        }
        _ => there.unwrap_or_else(|| nobodys(node, environment)),
    };
    if standing.banned {
        return Err(Reject {
            code: RejectCode::Banned,
            message: "this node is excluded".into(),
            retry_after_ms: None,
        });
    }
    Ok(standing)
}

fn busy() -> Reject {
    Reject {
        code: RejectCode::Other,
        message: "the network is busy".into(),
        retry_after_ms: Some(5000),
    }
}

/// The owner of a node that is not let in can see why. Only what is signed by the node counts as said by it, and only of
/// nodes that somebody has bound anything is remembered.
pub(super) async fn remember(flow: &Flow, hello: &Hello, reject: &Reject) {
    let now = flow.clock.now();
    match flow.store.node_standing(hello.node_id, flow.environment, now).await {
        Ok(Some(standing)) if standing.account.is_some() => {
            flow.fleet.refused(standing, &hello.agent_version, reject.clone(), now);
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(node.id = %hello.node_id, %error, "could not see whose node was refused"),
    }
}

async fn refuse(socket: &mut WebSocket, reject: Reject) {
    let reason: String = reject.message.chars().take(100).collect();
    let text = ServerFrame::from(reject).encode();
    let goodbye = async {
        socket.send(Message::Text(text.into())).await?;
        socket
            .send(Message::Close(Some(close_frame(close::POLICY, &reason))))
            .await
    };
    // Whether it still listens does not matter.
    let _ = timeout(HELLO_TIMEOUT, goodbye).await;
}
