//! Letters to people: codes that prove an address, news of their credits and nodes.
//!
//! A letter is queued at once and sent by [`Mail::run`], again and again for some minutes if the post office is away. Letters
//! are not kept: whoever waits for a code asks for another one. Neither addresses nor texts are ever logged.

mod transport;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::Clock;
use resultity_core::error::{ApiError, ErrorCode};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use transport::MailError;
use transport::Transport;

/// How many letters may wait.
const QUEUE: usize = 512;

/// How many are sent at once.
const AT_ONCE: usize = 4;

/// The pauses after each failed attempt. A code is worth nothing after a quarter of an hour.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_mins(1),
    Duration::from_mins(4),
];

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long letters that wait may take when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How letters leave.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum MailOptions {
    /// Not at all: whatever needs a letter is refused.
    #[default]
    None,
    /// As files in this directory, one a letter, named by their time: for trying things.
    Directory(PathBuf),
    /// By a mail server.
    Smtp(SmtpOptions),
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// `smtps://user@host[:465]` (TLS), or `smtp://user@host[:587]` (STARTTLS, which is insisted on unless the host is this
    /// machine). No password.
    pub url: Url,
    /// Whom letters come from, such as `Resultity <no-reply@example.org>`.
    pub from: String,
    /// The user's password.
    pub password: Option<SecretString>,
}

/// A letter. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The address of whom it is for.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Letter([hidden])")
    }
}

/// A letter that was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// There is no way to send letters.
    #[error("this network sends no e-mail: use a wallet instead")]
    NoMail,
    /// The address is none.
    #[error("expected an e-mail address such as name@example.org")]
    Address,
    /// Too many letters wait.
    #[error("too many letters wait to be sent: try again in a minute")]
    Full,
}

impl From<PostError> for ApiError {
    fn from(error: PostError) -> Self {
        let message = error.to_string();
        match error {
            PostError::NoMail => Self::new(ErrorCode::NotImplemented, message),
            PostError::Address => Self::new(ErrorCode::InvalidValue, message).with_param("email"),
            PostError::Full => Self::new(ErrorCode::NoCapacity, message).with_retry_after(Duration::from_mins(1)),
        }
    }
}

/// What sends letters.
#[derive(Debug)]
pub struct Mail {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    transport: Arc<Transport>,
    queue: mpsc::Sender<lettre::Message>,
    /// Until somebody runs it.
    waiting: Mutex<Option<mpsc::Receiver<lettre::Message>>>,
}

impl Mail {
    /// Sets it up; nothing is connected to yet.
    ///
    /// # Errors
    /// The options can't be: an address or URL that is none, a password in the URL.
    pub fn new(options: MailOptions, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        let transport = match options {
            MailOptions::None => return Ok(Self::none()),
            MailOptions::Directory(directory) => Transport::directory(directory, clock),
            MailOptions::Smtp(options) => Transport::smtp(&options, clock, TIMEOUT)?,
        };
        let (queue, waiting) = mpsc::channel(QUEUE);
        Ok(Self {
            open: Some(Open {
                transport: Arc::new(transport),
                queue,
                waiting: Mutex::new(Some(waiting)),
            }),
        })
    }

    /// One that sends nothing.
    pub const fn none() -> Self {
        Self { open: None }
    }

    /// Whether letters can be sent at all.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether this can be written to: one address, without a name or comments, at most 254 bytes.
    pub fn is_address(text: &str) -> bool {
        transport::address(text).is_ok()
    }

    /// Queues a letter. It is sent soon; that it arrives is not known to anybody.
    ///
    /// # Errors
    /// There is no mail, the address is none, or too many letters wait.
    pub fn post(&self, letter: &Letter) -> Result<(), PostError> {
        let open = self.open.as_ref().ok_or(PostError::NoMail)?;
        let message = open.transport.message(letter).map_err(|_| PostError::Address)?;
        open.queue.try_send(message).map_err(|_| PostError::Full)
    }

    /// Sends what is queued until it is told to stop; what waits then may still leave within seconds. To be run once.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Some(open) = &self.open else { return };
        let waiting = open.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let mut under_way: JoinSet<()> = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = under_way.join_next() => {}
                Some(letter) = waiting.recv(), if under_way.len() < AT_ONCE => {
                    under_way.spawn(send(Arc::clone(&open.transport), letter));
                }
            }
        }
        waiting.close();
        let mut left: VecDeque<lettre::Message> = std::iter::from_fn(|| waiting.try_recv().ok()).collect();
        let last = async {
            while !left.is_empty() || !under_way.is_empty() {
                while under_way.len() < AT_ONCE
                    && let Some(letter) = left.pop_front()
                {
                    under_way.spawn(send(Arc::clone(&open.transport), letter));
                }
                under_way.join_next().await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
            tracing::warn!("letters were not sent before the server stopped");
        }
    }
}

/// Sends a letter, again if that may help.
async fn send(transport: Arc<Transport>, letter: lettre::Message) {
    let mut pauses = PAUSES.into_iter();
    loop {
        let failure = match tokio::time::timeout(TIMEOUT, transport.send(&letter)).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => transport::Failure::timeout(),
        };
        // Never what the mail server said: it likes to repeat the address.
        match pauses.next().filter(|_| failure.again) {
            Some(pause) => {
                tracing::warn!(reason = %failure, ?pause, "a letter could not be sent: it is tried again");
                tokio::time::sleep(pause).await;
            }
            None => {
                tracing::error!(reason = %failure, "a letter could not be sent");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
