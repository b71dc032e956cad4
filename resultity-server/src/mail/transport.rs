//! How a letter leaves: as a file, or by a mail server.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use resultity_core::clock::Clock;
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::{Letter, SmtpOptions};

/// Whom letters in a directory come from.
const NOBODY: &str = "Resultity <no-reply@localhost>";

/// The longest address that mail servers take: bytes.
const MAX_ADDRESS: usize = 254;

/// Why letters can't be sent as the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The sender.
    #[error("mail: `from` must be an address such as \"Resultity <no-reply@example.org>\"")]
    From,
    /// The mail server's address.
    #[error("mail: `smtp` must be smtps://user@host or smtp://user@host, without a path")]
    Url,
    /// A password where it would be read by others.
    #[error("mail: the password must not be in the URL: put it into RESULTITY_SMTP_PASSWORD")]
    Password,
    /// TLS can't be set up on this machine.
    #[error("mail: TLS can't be set up on this machine")]
    Tls,
}

/// Why an attempt failed, without a word of the letter.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether another attempt may do better.
    pub(super) again: bool,
    reason: String,
}

impl Failure {
    pub(super) fn timeout() -> Self {
        Self {
            again: true,
            reason: "it took too long".into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        let reason = match error.status() {
            Some(code) => format!("the mail server answered {code}"),
            None if error.is_tls() => "TLS with the mail server failed".into(),
            None if error.is_timeout() => "the mail server did not answer in time".into(),
            None => "the mail server could not be reached or broke off".into(),
        };
        Self {
            again: !error.is_permanent() && !error.is_client(),
            reason,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            again: true,
            reason: format!("the file could not be written: {}", error.kind()),
        }
    }
}

enum Way {
    Directory(PathBuf, AtomicU64),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

/// How letters leave, and whom they come from.
pub(super) struct Transport {
    way: Way,
    from: Mailbox,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Directory(..) => "Transport(directory)",
            Way::Smtp(_) => "Transport(smtp)",
        })
    }
}

/// One address and nothing else.
pub(super) fn address(text: &str) -> Result<Address, MailError> {
    if text.len() > MAX_ADDRESS {
        return Err(MailError::From);
    }
    text.parse().map_err(|_| MailError::From)
}

impl Transport {
    pub(super) fn directory(directory: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            way: Way::Directory(directory, AtomicU64::new(0)),
            from: NOBODY.parse().expect("the address is one"),
            clock,
        }
    }

    pub(super) fn smtp(options: &SmtpOptions, clock: Arc<dyn Clock>, timeout: Duration) -> Result<Self, MailError> {
        Ok(Self {
            way: Way::Smtp(smtp(options, timeout)?),
            from: options.from.parse().map_err(|_| MailError::From)?,
            clock,
        })
    }

    /// The letter as it travels.
    pub(super) fn message(&self, letter: &Letter) -> Result<Message, MailError> {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or_default();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address(&letter.to)?))
            .date(UNIX_EPOCH + Duration::from_millis(now))
            // A random one is made.
            .message_id(None)
            .subject(&letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| MailError::From)
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        match &self.way {
            Way::Directory(directory, count) => {
                let name = format!(
                    "{:013}-{:06}.eml",
                    self.clock.now().as_millis(),
                    count.fetch_add(1, Ordering::Relaxed)
                );
                Ok(write(directory, &name, &message.formatted()).await?)
            }
            Way::Smtp(smtp) => {
                smtp.send(message.clone()).await?;
                Ok(())
            }
        }
    }
}

/// Writes a file that is whole as soon as it has its name.
async fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    let (path, temporary) = (directory.join(name), directory.join(format!(".{name}.tmp")));
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(&temporary).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, bytes).await?;
    tokio::io::AsyncWriteExt::flush(&mut file).await?;
    tokio::fs::rename(temporary, path).await
}

fn smtp(options: &SmtpOptions, timeout: Duration) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
    let url = &options.url;
    if url.password().is_some() {
        return Err(MailError::Password);
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(MailError::Url);
    }
    let host = url.host().ok_or(MailError::Url)?.to_string();
    let parameters = || TlsParameters::new(host.clone()).map_err(|_| MailError::Tls);
    let (port, tls) = match url.scheme() {
        "smtps" => (465, Tls::Wrapper(parameters()?)),
        // What stays on this machine needs no certificate.
        "smtp" if is_loopback(url) => (25, Tls::None),
        "smtp" => (587, Tls::Required(parameters()?)),
        _ => return Err(MailError::Url),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .timeout(Some(timeout));
    // The machine's own name is nobody's business.
    if let Some(domain) = options.from.rsplit('@').next() {
        builder = builder.hello_name(ClientId::Domain(domain.trim_end_matches('>').to_owned()));
    }
    if !url.username().is_empty() {
        let user = percent_encoding::percent_decode_str(url.username()).decode_utf8();
        let user = user.map_err(|_| MailError::Url)?.into_owned();
        let password = options.password.as_ref().map_or("", ExposeSecret::expose_secret);
        builder = builder.credentials(Credentials::new(user, password.to_owned()));
    }
    Ok(builder.build())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // The scheme is none that the standard of URLs knows: hosts are left as texts.
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
