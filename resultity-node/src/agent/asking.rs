//! What the session asks over HTTP, while there is no socket that works.

use std::time::Duration;

use futures::StreamExt;
use resultity_core::environment::Environment;
use resultity_core::wire::{
    BODY_HASH_HEADER, DeliveredResults, ISSUED_AT_HEADER, KnockAnswer, NODE_HEADER, SIGNATURE_HEADER,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use super::event::{Answer, Ask};
use super::sync::beside;
use super::{AgentError, Text};

/// The server waits for what becomes of results for some seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const MAX_BYTES: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the network answers with HTTP status {0}")]
    Status(u16),
    #[error("the answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the answer is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl AskError {
    /// The status of the answer that says no.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            _ => None,
        }
    }
}

/// Asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    http: reqwest::Client,
    nodes: Url,
    heartbeat: Url,
    results: Url,
}

impl Asker {
    /// For the network whose node link is at `io_url`.
    pub(super) fn new(io_url: &Url, environment: Environment) -> Result<Self, AgentError> {
        let http = crate::http_client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            http: http.map_err(|error| AgentError::Start {
                what: "the HTTP client",
                reason: error.to_string(),
            })?,
            nodes: beside(io_url, "nodes", environment)?,
            heartbeat: beside(io_url, "heartbeat", environment)?,
            results: beside(io_url, "results", environment)?,
        })
    }

    /// Asks one thing.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        Ok(match ask {
            Ask::Challenge => knocked(self.post(&self.nodes, "{}".to_owned()).await?),
            Ask::Hello(session, nonce, hello) => {
                let head = json!({"session_id": session.to_string(), "nonce": nonce});
                knocked(self.post(&self.nodes, with(head, "hello", &hello)).await?)
            }
            Ask::Heartbeat(node, session, heartbeat) => {
                let head = json!({"node_id": node.to_string(), "session_id": session.to_string()});
                Answer::Heartbeat(self.post(&self.heartbeat, with(head, "heartbeat", &heartbeat)).await?)
            }
            Ask::Results(delivery) => {
                let request = self
                    .request(&self.results, delivery.body)
                    .header(NODE_HEADER, delivery.node.to_string())
                    .header(ISSUED_AT_HEADER, delivery.issued_at.as_millis().to_string())
                    .header(BODY_HASH_HEADER, delivery.body_hash.to_string())
                    .header(SIGNATURE_HEADER, delivery.signature.to_string());
                let delivered: DeliveredResults = read(request).await?;
                Answer::Results(delivered.acks)
            }
        })
    }

    fn request(&self, url: &Url, body: String) -> reqwest::RequestBuilder {
        self.http
            .post(url.clone())
            .header("content-type", "application/json")
            .body(body)
    }

    async fn post<T: DeserializeOwned>(&self, url: &Url, body: String) -> Result<T, AskError> {
        read(self.request(url, body)).await
    }
}

fn knocked(answer: KnockAnswer) -> Answer {
    match answer {
        KnockAnswer::Challenge(challenge) => Answer::Challenge(Box::new(challenge)),
        KnockAnswer::Welcome(welcome) => Answer::Welcome(Box::new(welcome)),
    }
}

/// An object with one more field, whose text stays as it is: it is signed.
fn with(head: serde_json::Value, name: &str, frame: &Text) -> String {
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    format!(r#"{open},"{name}":{}}}"#, frame.as_str())
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, AskError> {
    let response = request.send().await?;
    if !response.status().is_success() {
        return Err(AskError::Status(response.status().as_u16()));
    }
    let mut body = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part?);
        if bytes.len() > MAX_BYTES {
            return Err(AskError::TooLarge);
        }
    }
    Ok(serde_json::from_slice(&bytes)?)
}
