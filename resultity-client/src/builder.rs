//! How a client is set up.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use resultity_core::clock::SystemClock;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::cloud::CloudClient;
use crate::error::ConfigError;
use crate::gate::GateClient;
use crate::infernet::InfernetClient;
use crate::retry::RetryPolicy;
use crate::status::StatusClient;
use crate::transport::Transport;

/// Where `resultity-server dev` listens unless it is told otherwise.
const DEFAULT_CLOUD: &str = "http://127.0.0.1:8080/v1";
const DEFAULT_GATE: &str = "http://127.0.0.1:8080/gate/v1";
const DEFAULT_STATUS: &str = "http://127.0.0.1:8080/status/v1";

/// Where `resultity-node infernet` listens unless it is told otherwise.
pub(crate) const DEFAULT_NODE: &str = "http://127.0.0.1:4000";

/// What a node may take: a call only waits for the node itself, a stream for all containers but the last.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_mins(2);
pub(crate) const NODE_IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// Sets up a client: [`CloudClient::builder`], [`GateClient::builder`] and [`InfernetClient::builder`] give one.
///
/// ```
/// use std::time::Duration;
/// use resultity_client::CloudClient;
///
/// let client = CloudClient::builder()
///     .base_url("https://cloud.example.org/v1")
///     .api_key("rk_test_0123")
///     .timeout(Duration::from_secs(120))
///     .max_retries(4)
///     .build();
/// # drop(client);
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder<C> {
    base_url: Option<String>,
    api_key: Option<SecretString>,
    timeout: Duration,
    connect_timeout: Duration,
    idle_timeout: Duration,
    retry: RetryPolicy,
    user_agent: Option<String>,
    client: PhantomData<fn() -> C>,
}

impl<C> fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("base_url", &self.base_url)
            .field("api_key", &self.api_key.as_ref().map(|_| "[hidden]"))
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl<C> ClientBuilder<C> {
    pub(crate) fn new() -> Self {
        Self {
            base_url: None,
            api_key: None,
            timeout: Duration::from_mins(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            retry: RetryPolicy::default(),
            user_agent: None,
            client: PhantomData,
        }
    }

    /// Where the API is, with its version, such as `https://cloud.example.org/v1`; a slash at the end does not matter.
    /// Default: where `resultity-server dev` listens, `http://127.0.0.1:8080`; of a node's own API, `http://127.0.0.1:4000`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// The secret that names the caller. Default: none is sent. It is never shown and never logged.
    pub fn api_key(mut self, key: impl Into<SecretString>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The most that one call may take, repeats and pauses included; for a stream, until it begins. Default: 10 minutes; of a
    /// node's own API, 2 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most that it may take to connect. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest silence in a stream; a server shows every 15 seconds that it is still there. Default: 60 seconds; of a
    /// node's own API, where nothing comes before the last container speaks, 10 minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How often a failed request is tried again where that is safe; 0 turns it off. Default: 2.
    pub fn max_retries(mut self, retries: usize) -> Self {
        self.retry.max_retries = retries;
        self
    }

    /// The first pause before a repeat, and the longest: they double in between, and up to the same again is added at
    /// random. A server's `Retry-After` makes a pause longer. Default: 0.5 and 8 seconds.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.retry.first_delay = first;
        self.retry.longest_delay = longest.max(first);
        self
    }

    /// What the client calls itself. Default: `resultity-client/` and its version.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = Some(name.into());
        self
    }

    fn transport<E>(self, default_url: &str) -> Result<Transport<E>, ConfigError> {
        let base_url = parse_base_url(self.base_url.unwrap_or_else(|| default_url.to_owned()))?;
        if let Some(key) = &self.api_key
            && (key.expose_secret().is_empty() || HeaderValue::from_str(key.expose_secret()).is_err())
        {
            return Err(ConfigError::ApiKey);
        }
        let user_agent = self
            .user_agent
            .unwrap_or_else(|| concat!("resultity-client/", env!("CARGO_PKG_VERSION")).into());
        let user_agent = HeaderValue::from_str(&user_agent).map_err(|_| ConfigError::UserAgent)?;
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&base_url)?)
            // With Nagle's algorithm a small request can wait 40 ms for an acknowledgement.
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            // The key must not travel to a place that nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(user_agent);
        if is_loopback(&base_url) {
            http = http.no_proxy();
        } else if base_url.scheme() == "http" && self.api_key.is_some() {
            tracing::warn!(base_url = %base_url, "the API key is sent unencrypted; use https where others share the network");
        }
        Ok(Transport {
            http: http.build().map_err(ConfigError::Http)?,
            base_url,
            api_key: self.api_key,
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            retry: self.retry,
            clock: Arc::new(SystemClock),
            errors: PhantomData,
        })
    }
}

impl ClientBuilder<CloudClient> {
    /// Builds the client. Nothing is sent yet.
    pub fn build(self) -> Result<CloudClient, ConfigError> {
        Ok(CloudClient::new(self.transport(DEFAULT_CLOUD)?))
    }
}

impl ClientBuilder<GateClient> {
    /// The token that names an administrator: the same as [`api_key`](Self::api_key).
    pub fn admin_token(self, token: impl Into<SecretString>) -> Self {
        self.api_key(token)
    }

    /// Builds the client. Nothing is sent yet.
    pub fn build(self) -> Result<GateClient, ConfigError> {
        Ok(GateClient::new(self.transport(DEFAULT_GATE)?))
    }
}

impl ClientBuilder<StatusClient> {
    /// Builds the client. Nothing is sent yet.
    pub fn build(self) -> Result<StatusClient, ConfigError> {
        Ok(StatusClient::new(self.transport(DEFAULT_STATUS)?))
    }
}

impl ClientBuilder<InfernetClient> {
    /// Builds the client. Nothing is sent yet.
    pub fn build(self) -> Result<InfernetClient, ConfigError> {
        Ok(InfernetClient::new(self.transport(DEFAULT_NODE)?))
    }
}

fn parse_base_url(text: String) -> Result<Url, ConfigError> {
    let check = || -> Result<Url, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "it must begin with http:// or https:// and a host")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must end with its path, without ? or #");
        }
        Ok(url)
    };
    // A password in it must not end up in a log.
    check().map_err(|reason| {
        let url = if text.contains('@') {
            "…@…".to_owned()
        } else {
            text.clone()
        };
        ConfigError::BaseUrl { url, reason }
    })
}

/// TLS by rustls with ring. The provider is handed over rather than installed, so that the process may have another; and
/// the system's certificates are only asked for where they are needed, because some systems have none.
fn tls(base_url: &Url) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConfigError::Certificates)?;
    let config = if base_url.scheme() == "https" {
        config.with_platform_verifier().map_err(ConfigError::Certificates)?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    Ok(config.with_no_client_auth())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use resultity_core::error::ApiError;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1:8080/v1")]
    #[case("http://127.0.0.1:8080/v1/")]
    #[case(" http://[::1]:1/v1 ")]
    #[case("https://cloud.example.org/v1")]
    fn a_base_url_leads_to_the_same_places(#[case] base_url: &str) {
        let transport = CloudClient::builder()
            .base_url(base_url)
            .api_key("k")
            .transport::<ApiError>(DEFAULT_CLOUD);
        // A machine without certificates cannot build an https client; that is the error for it.
        if let Err(ConfigError::Certificates(_)) = transport {
            assert!(base_url.starts_with("https"));
        } else {
            let url = transport.unwrap().base_url;
            assert!(url.path().starts_with("/v1"), "{url}");
        }
    }

    #[rstest]
    #[case("127.0.0.1:8080")]
    #[case("ftp://example.org/v1")]
    #[case("http://user:secret@example.org/v1")]
    #[case("http://example.org/v1?x=1")]
    #[case("")]
    fn what_is_no_base_url_is_refused_without_a_secret_in_the_error(#[case] base_url: &str) {
        let error = CloudClient::builder().base_url(base_url).build().unwrap_err();
        assert!(matches!(error, ConfigError::BaseUrl { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[rstest]
    #[case("")]
    #[case("rk_test\nsecret")]
    fn a_key_that_cannot_be_sent_is_refused(#[case] key: &str) {
        let error = CloudClient::builder().api_key(key).build().unwrap_err();
        assert!(matches!(error, ConfigError::ApiKey));
    }

    #[test]
    fn the_key_is_never_shown() {
        let builder = CloudClient::builder().api_key("rk_test_secret");
        assert!(!format!("{builder:?}").contains("secret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("secret"));
    }

    #[rstest]
    #[case("http://localhost:1/v1", true)]
    #[case("http://127.9.9.9/v1", true)]
    #[case("http://[::1]/v1", true)]
    #[case("http://example.org/v1", false)]
    #[case("http://10.0.0.1/v1", false)]
    fn loopback_is_known(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected);
    }
}
