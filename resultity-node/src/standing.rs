//! What a node asks of its network beside the link: to be bound to an account, and how it stands. It works whether or not the
//! Agent runs: both use the same key, and nothing here touches what the Agent has locked.

use std::path::PathBuf;
use std::time::Duration;

use resultity_core::Address;
use resultity_core::B256;
use resultity_core::clock::{Clock, Entropy};
use resultity_core::environment::Environment;
use resultity_core::openai::error::ErrorBody;
use resultity_core::signing::{Domain, KeyChain, Signature, TypedData};
use resultity_core::wire::{
    ISSUED_AT_HEADER, JoinAnswer, JoinRequest, NodeStatus, Ping, SIGNATURE_HEADER, status_request,
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::agent::{Agent, AgentError};
use crate::identity::{Identity, IdentityError, NetworkPin, PasswordSource, create_private_dir};
use crate::network_url::{remember_url, stored_url};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a consent to be bound counts.
const CONSENT: Duration = Duration::from_mins(2);
/// The most bytes of an answer.
const MAX_BYTES: usize = 1024 * 1024;

/// Why the network was not asked, or said no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StandingError {
    /// Nobody said which network.
    #[error(
        "this node has not met a {0} network yet: give its address with --io, such as wss://io.network.example.org/io/v1/ws"
    )]
    NoNetwork(Environment),
    /// The address of the network.
    #[error(transparent)]
    Address(#[from] AgentError),
    /// The key, or the pinned network.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Something of this machine.
    #[error("cannot do it: {0}")]
    Machine(String),
    /// The network cannot be reached.
    #[error("the network cannot be reached: {0}")]
    Unreachable(String),
    /// It answers something else.
    #[error("the network answers what this version does not understand: check the address, or update resultity-node")]
    OddAnswer,
    /// It shows another key than the one that was asked for.
    #[error("the network shows the key {offered}, not {wanted}: check the address")]
    OtherNetwork {
        /// The key that was asked for.
        wanted: Address,
        /// The key that the network shows.
        offered: Address,
    },
    /// The network said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        message: String,
    },
}

impl From<reqwest::Error> for StandingError {
    /// The last of its causes says most, such as that nobody listens there.
    fn from(error: reqwest::Error) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let place = error
            .url()
            .map(|url| format!(" ({})", url.origin().ascii_serialization()));
        Self::Unreachable(format!("{cause}{}", place.unwrap_or_default()))
    }
}

/// Which node asks which network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Asking {
    /// The network's node link; none: the one that the Agent used last.
    pub io_url: Option<String>,
    /// Where the node keeps its key.
    pub data_dir: PathBuf,
    /// Which network.
    pub environment: Environment,
    /// The passphrase of the node's key.
    pub password: PasswordSource,
    /// The address of the network's key; without it, the first one seen is trusted.
    pub network_key: Option<Address>,
}

impl Asking {
    /// The node with its key in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>, environment: Environment) -> Self {
        Self {
            io_url: None,
            data_dir: data_dir.into(),
            environment,
            password: PasswordSource::default(),
            network_key: None,
        }
    }

    /// Binds the node to the account that made the code. A node that has no key yet gets one.
    pub async fn join(
        &self,
        code: &str,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<JoinAnswer, StandingError> {
        let asked = self.prepare(entropy).await?;
        let mut nonce = B256::ZERO;
        entropy.fill(nonce.as_mut_slice());
        let mut request = JoinRequest {
            node_id: asked.identity.key().node_id(),
            code: code.trim().to_owned(),
            environment: self.environment,
            nonce,
            expires_at: clock.now().after(CONSENT),
            signature: Signature::from_bytes([0; 65]),
        };
        request.signature = request.signed_data().sign(&asked.domain, asked.identity.key());
        let url = beside(&asked.url, &["join"])?;
        read(asked.http.post(url).json(&request)).await
    }

    /// How the node stands with the network, and why it gets no work.
    pub async fn status(&self, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<NodeStatus, StandingError> {
        let asked = self.prepare(entropy).await?;
        let (key, now) = (asked.identity.key(), clock.now());
        let signature = status_request(key.node_id(), self.environment, now).sign(&asked.domain, key);
        let mut url = beside(&asked.url, &["nodes", &key.node_id().to_string()])?;
        url.query_pairs_mut()
            .append_pair("environment", self.environment.as_str());
        let request = asked
            .http
            .get(url)
            .header(ISSUED_AT_HEADER, now.as_millis().to_string())
            .header(SIGNATURE_HEADER, signature.to_string());
        read(request).await
    }

    async fn prepare(&self, entropy: &dyn Entropy) -> Result<Prepared, StandingError> {
        let dir = self.data_dir.join(self.environment.as_str());
        let url = match &self.io_url {
            Some(url) => url.clone(),
            None => stored_url(&dir).ok_or(StandingError::NoNetwork(self.environment))?,
        };
        let url = Agent::check_url(&url)?;
        // Unlocking a keystore takes up to half a second; nothing else waits for it here.
        let identity = Identity::open(&self.data_dir, &self.password, entropy)?;
        create_private_dir(&dir)?;
        let http = crate::http_client::builder().timeout(TIMEOUT).build()?;
        let pin = match NetworkPin::load(&dir)? {
            Some(pin) => pin,
            None => {
                let mut ping = beside(&url, &["ping"])?;
                ping.query_pairs_mut()
                    .append_pair("environment", self.environment.as_str());
                let ping: Ping = read(http.get(ping)).await?;
                let pin = match self.network_key.filter(|wanted| *wanted != ping.network_key) {
                    Some(wanted) => self.follow(&url, &http, wanted, ping).await?,
                    None => NetworkPin::new(ping.network_key, ping.genesis),
                };
                pin.store(&dir)?;
                pin
            }
        };
        remember_url(&dir, url.as_str());
        Ok(Prepared {
            domain: pin.domain(self.environment),
            url,
            identity,
            http,
        })
    }
}

impl Asking {
    /// The network shows another key than the one that was asked for, which may have named it.
    async fn follow(
        &self,
        url: &Url,
        http: &reqwest::Client,
        wanted: Address,
        ping: Ping,
    ) -> Result<NetworkPin, StandingError> {
        let other = StandingError::OtherNetwork {
            wanted,
            offered: ping.network_key,
        };
        if ping.network_key == ping.genesis {
            // The first key follows from no other.
            return Err(other);
        }
        let mut keys = beside(url, &["keys"])?;
        keys.query_pairs_mut()
            .append_pair("environment", self.environment.as_str());
        let chain: KeyChain = read(http.get(keys)).await?;
        match NetworkPin::follow(&chain, wanted, ping.genesis, self.environment) {
            Ok(pin) => Ok(pin),
            Err(_) => Err(other),
        }
    }
}

struct Prepared {
    url: Url,
    identity: Identity,
    http: reqwest::Client,
    domain: Domain,
}

/// What lies beside the node link: `…/io/v1/ws` has `…/io/v1/join`.
fn beside(io_url: &Url, segments: &[&str]) -> Result<Url, StandingError> {
    let mut url = io_url.clone();
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    url.set_query(None);
    url.set_fragment(None);
    let changed = url.set_scheme(scheme).and_then(|()| {
        url.path_segments_mut()?.pop_if_empty().pop().extend(segments);
        Ok(())
    });
    changed.map_err(|()| StandingError::OddAnswer)?;
    Ok(url)
}

/// Sends a request and reads its answer.
async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, StandingError> {
    let mut response = request.send().await?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        body.extend_from_slice(&part);
        if body.len() > MAX_BYTES {
            return Err(StandingError::OddAnswer);
        }
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| StandingError::OddAnswer);
    }
    let message = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => body.error.message,
        Err(_) => format!("the network answers with HTTP status {}", status.as_u16()),
    };
    Err(StandingError::Refused {
        status: status.as_u16(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_lies_beside_the_link() {
        for (io, expected) in [
            (
                "ws://127.0.0.1:8080/io/v1/ws?environment=testnet",
                "http://127.0.0.1:8080/io/v1/nodes/x",
            ),
            (
                "wss://io.network.example.org/v1/ws/",
                "https://io.network.example.org/v1/nodes/x",
            ),
        ] {
            assert_eq!(
                beside(&io.parse().unwrap(), &["nodes", "x"]).unwrap().as_str(),
                expected
            );
        }
    }
}
