//! The link comes and goes: opened, lost, opened again after a while.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::FutureExt;
use tokio::time::Instant;

use super::AgentError;
use super::actor::Actor;
use super::event::Input;
use super::link::{self, Link, LinkError, Socket};

/// A link that lived so long starts the backoff anew.
const GOOD_LINK: Duration = Duration::from_secs(5);

pub(super) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter()
        .build()
}

impl Actor {
    pub(super) fn connect(&mut self, wait: Duration) {
        self.generation += 1;
        let url = self.parts.url.clone();
        let connecting = async move {
            tokio::time::sleep(wait).await;
            link::connect(&url).await
        };
        self.connecting = Some(connecting.boxed());
    }

    pub(super) fn opened(&mut self, opened: Result<Socket, LinkError>) -> Result<(), AgentError> {
        self.connecting = None;
        match opened {
            Ok(socket) => {
                self.link = Some(Link::start(socket, self.generation, self.sender.clone()));
                self.link_since = Some(Instant::now());
                self.met = true;
                self.handle(Input::LinkUp);
            }
            Err(LinkError::NoLinkThere(status)) if !self.met && (400..500).contains(&status) && status != 429 => {
                return Err(AgentError::NoLinkThere {
                    url: self.parts.url.to_string(),
                    status,
                });
            }
            Err(error) => {
                let wait = self.pause();
                tracing::warn!(%error, network = %self.parts.url, retry_in = ?wait, "the network cannot be reached");
                self.connect(wait);
                self.handle(Input::Unreachable);
            }
        }
        Ok(())
    }

    /// The link broke.
    pub(super) fn lost(&mut self, reason: &str) {
        self.link = None;
        if self.link_since.take().is_some_and(|since| since.elapsed() >= GOOD_LINK) {
            self.backoff = backoff();
        }
        let wait = self.pause();
        tracing::warn!(link.reason = reason, retry_in = ?wait, "the link to the network is lost");
        self.handle(Input::LinkDown);
        self.connect(wait);
    }

    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(Duration::from_secs(30))
    }
}
