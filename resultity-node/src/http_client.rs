//! The one place where HTTP clients of this crate begin.

use std::time::Duration;

/// How long a connection may take to come about. Short, so that a host that cannot be reached is given up quickly.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A builder with TLS by `rustls` and `ring`, `TCP_NODELAY`, and no wait without an end.
///
/// reqwest panics at its first request if no provider of cryptography is installed, so this installs ours, unless the
/// program has installed one already.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // An error means that a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("resultity-node/", env!("CARGO_PKG_VERSION")))
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
}
