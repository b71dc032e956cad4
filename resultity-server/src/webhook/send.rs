//! One attempt: a signed message by HTTP, and what its receiver answers.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use resultity_core::clock::Timestamp;
use resultity_core::webhook::{Event, ID_HEADER, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER};

use crate::store::webhooks::{DueDelivery, WebhookRecord};
use crate::webhook::{ForbiddenTarget, SealError, WebhookOptions, Webhooks, is_public};

/// How much of an answer is read, so that the connection can be used again. What it says does not matter.
const MAX_ANSWER: usize = 4 * 1024;

/// Why an attempt failed: shown to whoever owns the webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Target(#[from] ForbiddenTarget),
    #[error(transparent)]
    Secret(#[from] SealError),
    #[error("the receiver did not answer in time")]
    Timeout,
    #[error("the receiver could not be connected to")]
    Connect,
    #[error("the receiver did not answer as HTTP has it")]
    Protocol,
    #[error("the receiver answered {0}: a redirect is not followed")]
    Redirect(u16),
    #[error("the receiver answered {0}")]
    Refused(u16),
    #[error("the receiver answered 410: it wants no more events")]
    Gone,
}

impl SendError {
    /// What the receiver answered.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Redirect(status) | Self::Refused(status) => Some(*status),
            Self::Gone => Some(410),
            _ => None,
        }
    }

    /// Whether the same would happen again.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Target(_) | Self::Secret(_) | Self::Gone)
    }
}

/// Sends messages.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    webhooks: Arc<Webhooks>,
}

impl Sender {
    /// # Errors
    /// TLS can't be set up, because this machine has no certificates of authorities.
    pub(super) fn new(webhooks: Arc<Webhooks>) -> Result<Self, reqwest::Error> {
        // An error means that a provider is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let WebhookOptions {
            allow_private, timeout, ..
        } = webhooks.options;
        let client = Client::builder()
            .user_agent(concat!("resultity-webhooks/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would connect to addresses that are not checked here.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .pool_max_idle_per_host(2)
            .build()?;
        Ok(Self { client, webhooks })
    }

    /// Sends it; gives the status with which the receiver took it.
    pub(super) async fn send(&self, due: &DueDelivery, now: Timestamp) -> Result<u16, SendError> {
        // Again: the operator may have become stricter, and an address that is no name is not asked for.
        let url = self.webhooks.check_url(&due.webhook.url)?;
        let delivery = &due.delivery;
        let event = Event::new(delivery.event, delivery.kind, &delivery.data_id, delivery.created_at);
        let body = serde_json::to_vec(&event).expect("an event is texts and numbers");
        let (id, timestamp) = (event.id.to_string(), now.as_seconds());
        let signatures = self.secrets(&due.webhook, now)?;
        let signatures: Vec<String> = signatures
            .iter()
            .map(|secret| secret.sign(&id, timestamp, &body))
            .collect();
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signatures.join(" "))
            .body(body);
        let response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        drain(response).await;
        if status.is_success() {
            Ok(status.as_u16())
        } else if status == StatusCode::GONE {
            Err(SendError::Gone)
        } else if status.is_redirection() {
            Err(SendError::Redirect(status.as_u16()))
        } else {
            Err(SendError::Refused(status.as_u16()))
        }
    }

    /// What is signed with: the current secret, and the one before for as long as both count.
    fn secrets(&self, webhook: &WebhookRecord, now: Timestamp) -> Result<Vec<SigningSecret>, SealError> {
        let previous = webhook.previous.as_ref().filter(|(_, until)| *until > now);
        std::iter::once(&webhook.secret)
            .chain(previous.map(|(sealed, _)| sealed))
            .map(|sealed| self.webhooks.open(webhook.id, sealed))
            .collect()
    }
}

/// Reads a little of the answer. The status has come already, so that nothing here is a failure.
async fn drain(mut response: Response) {
    let mut read = 0;
    while read < MAX_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            _ => return,
        }
    }
}

/// What went wrong, without what only concerns the operator.
fn failure(error: &reqwest::Error) -> SendError {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(source) = cause {
        if let Some(forbidden) = source.downcast_ref::<ForbiddenTarget>() {
            return (*forbidden).into();
        }
        cause = source.source();
    }
    if error.is_timeout() {
        SendError::Timeout
    } else if error.is_connect() {
        SendError::Connect
    } else {
        SendError::Protocol
    }
}

/// Asks what a name stands for and leaves out what is not public: what is connected to is what was checked.
struct Resolver {
    allow_private: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = allowed(found, allow_private)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn allowed(found: impl Iterator<Item = SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, ForbiddenTarget> {
    let allowed: Vec<SocketAddr> = found
        .filter(|address| allow_private || is_public(address.ip()))
        .collect();
    if allowed.is_empty() {
        Err(ForbiddenTarget::Private)
    } else {
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::webhooks::DeliveryRecord;
    use resultity_core::api::webhooks::DeliveryState;
    use resultity_core::clock::{Clock, SeededEntropy, SystemClock};
    use resultity_core::id::{DeliveryId, EventId, WebhookId};
    use resultity_core::signing::Keypair;
    use resultity_core::webhook::EventType;
    use rstest::rstest;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_name_that_stands_for_a_private_address_is_refused_before_connecting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network_key = Keypair::generate(&SeededEntropy::new(1));
        let webhooks = Arc::new(Webhooks::new(WebhookOptions::default(), &network_key));
        let sender = Sender::new(webhooks).unwrap();
        // Past the check of the address as a text: the resolver is what refuses.
        let refused = sender.client.post(format!("http://localhost:{port}/")).send().await;
        assert_eq!(
            failure(&refused.unwrap_err()),
            SendError::Target(ForbiddenTarget::Private)
        );
        assert!(
            futures::FutureExt::now_or_never(listener.accept()).is_none(),
            "nobody connected"
        );
    }

    /// A receiver that hears what is said, answers this and then nothing more.
    async fn receiver(answer: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _ = socket.read(&mut [0; 4096]).await.unwrap();
                socket.write_all(answer).await.unwrap();
                open.push(socket);
            }
        });
        url
    }

    #[rstest]
    #[case::silent(b"", Err(SendError::Timeout))]
    #[case::endless(b"HTTP/1.1 204 No Content\r\nx: ", Err(SendError::Timeout))]
    #[case::not_http(b"220 mail.example ESMTP\r\n", Err(SendError::Protocol))]
    #[case::never_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\nwell", Ok(200))]
    #[case::refused(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Err(SendError::Refused(404)))]
    #[tokio::test]
    async fn a_receiver_is_not_waited_for(#[case] answer: &'static [u8], #[case] outcome: Result<u16, SendError>) {
        let options = WebhookOptions {
            allow_private: true,
            timeout: Duration::from_secs(3),
            ..WebhookOptions::default()
        };
        let (clock, entropy) = (SystemClock, SeededEntropy::new(1));
        let webhooks = Arc::new(Webhooks::new(options, &Keypair::generate(&entropy)));
        let sender = Sender::new(Arc::clone(&webhooks)).unwrap();
        let id = WebhookId::new(&clock, &entropy);
        let secret = webhooks.seal(id, &SigningSecret::generate(&entropy), &entropy);
        let due = DueDelivery {
            webhook: WebhookRecord {
                id,
                url: receiver(answer).await,
                description: String::new(),
                events: Vec::new(),
                enabled: true,
                secret,
                previous: None,
                created_at: clock.now(),
            },
            delivery: DeliveryRecord {
                id: DeliveryId::new(&clock, &entropy),
                webhook: id,
                event: EventId::new(&clock, &entropy),
                kind: EventType::JobFailed,
                data_id: "job".to_owned(),
                created_at: clock.now(),
                state: DeliveryState::Pending,
                attempts: 0,
                step: 0,
                next_attempt_at: None,
                last_attempt_at: None,
                last_status: None,
                last_error: None,
            },
        };
        assert_eq!(sender.send(&due, clock.now()).await, outcome);
    }

    #[test]
    fn of_several_addresses_the_public_ones_are_left() {
        let addresses = || {
            ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"]
                .map(|text| text.parse().unwrap())
                .into_iter()
        };
        assert_eq!(allowed(addresses(), false).unwrap(), ["8.8.8.8:0".parse().unwrap()]);
        assert_eq!(allowed(addresses(), true).unwrap().len(), 3);
        assert_eq!(allowed(addresses().take(1), false), Err(ForbiddenTarget::Private));
    }
}
