//! `key`: API keys from the shell, on a server that runs or not.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use resultity_core::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, KeyId};
use resultity_core::networks::Networks;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{CommandError, StoreArguments, existing_store};
use crate::session::new_key;
use crate::store::tenancy::{KeyDetails, KeyFilter, TenancyStore};
use crate::store::webhooks::PageOf;
use crate::store::{Actor, AuditEntry, KeyLimits, Store};
use crate::tenant::{self, Tenant};

/// How many keys are read at once.
const PAGE: u32 = 500;

/// `key`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  resultity-server key --data-dir ./resultity-data --account alice --credits 100\n  resultity-server key --data-dir ./resultity-data --account alice --spend-limit 5 --expires 30d --model llama\n  resultity-server key list --data-dir ./resultity-data --account alice\n  resultity-server key revoke --data-dir ./resultity-data 0198…"
)]
pub struct KeyArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    create: Option<CreateArguments>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the keys of an account, without their secrets
    List(ListArguments),
    /// Revoke a key for good: what was accepted with it ends as it would, nothing new is
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
struct CreateArguments {
    // Not flattened: clap would not see that they are there.
    /// The data directory of the server
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The database, if the server's configuration names another one
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// The account's name; made if it is not there
    #[arg(long)]
    account: String,
    /// The namespace in the account; made if it is not there
    #[arg(long, default_value = "default")]
    namespace: String,
    /// What to call the key
    #[arg(long, default_value = "")]
    label: String,
    /// Which network
    #[arg(long, default_value = "testnet")]
    environment: Environment,
    /// Credits to give with it
    #[arg(long)]
    credits: Option<Credits>,
    /// Requests a minute, instead of what the server allows each key
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, instead of what the server allows each key
    #[arg(long, value_name = "NUMBER")]
    tokens_per_minute: Option<NonZeroU32>,
    /// The most that may ever be spent with it
    #[arg(long, value_name = "CREDITS")]
    spend_limit: Option<Credits>,
    /// When it ends: a time (2027-01-31T12:00:00Z), a day (2027-01-31, at its begin in UTC) or how long from now (30d, 12h)
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// A model that it may ask; without this, all (repeatable)
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// An address or network that it may be used from, such as 203.0.113.0/24; without this, all (repeatable)
    #[arg(long, value_name = "NETWORK")]
    ip_address: Vec<String>,
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The account's name
    #[arg(long)]
    account: String,
    /// Which network
    #[arg(long, default_value = "testnet")]
    environment: Environment,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RevokeArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The key's id, as `key list` shows it
    key: KeyId,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    reason: String,
}

/// When a key ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expiry {
    At(Timestamp),
    In(Duration),
}

impl Expiry {
    pub(super) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::In(duration) => now.after(duration),
        }
    }
}

impl FromStr for Expiry {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Timestamp::from_millis(time.as_millisecond())));
        }
        let day = text.parse::<jiff::civil::Date>();
        if let Some(time) = day.ok().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok()) {
            return Ok(Self::At(Timestamp::from_millis(time.timestamp().as_millisecond())));
        }
        let duration = resultity_core::limits::parse_duration(text).filter(|_| text.ends_with(char::is_alphabetic));
        duration.map(Self::In).ok_or(
            "expected a time such as 2027-01-31T12:00:00Z, a day such as 2027-01-31, or a duration such as 30d or 12h",
        )
    }
}

/// Does what is asked.
pub(super) async fn run(arguments: KeyArguments) -> Result<ExitCode, CommandError> {
    match (arguments.action, arguments.create) {
        (Some(Action::List(arguments)), _) => list(arguments).await,
        (Some(Action::Revoke(arguments)), _) => revoke(arguments).await,
        (None, Some(arguments)) => create(arguments).await,
        (None, None) => Err("say which account is to have a key: --data-dir DIR --account NAME".into()),
    }
}

async fn create(arguments: CreateArguments) -> Result<ExitCode, CommandError> {
    let store = existing_store(&StoreArguments {
        data_dir: arguments.data_dir,
        database: arguments.database,
    })?;
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let key = new_key(arguments.environment, &entropy);
    let tenant = Tenant {
        account: &arguments.account,
        namespace: &arguments.namespace,
        key_label: &arguments.label,
        environment: arguments.environment,
    };
    let now = clock.now();
    let addresses = Networks::parse(&arguments.ip_address).map_err(|error| format!("--ip-address: {error}"))?;
    let limits = KeyLimits {
        requests_per_minute: arguments.requests_per_minute,
        tokens_per_minute: arguments.tokens_per_minute,
        spend_limit: arguments.spend_limit,
        expires_at: arguments.expires.map(|expiry| expiry.after(now)),
        models: Some(arguments.model).filter(|models| !models.is_empty()),
        addresses: Some(addresses).filter(|addresses| !addresses.is_empty()),
        is_capped: false,
        ..KeyLimits::default()
    };
    if limits.spend_limit.is_some_and(|limit| limit < Credits::ZERO) {
        return Err("--spend-limit must not be negative".into());
    }
    if limits.is_expired(now) {
        return Err("--expires is in the past".into());
    }
    let record = tenant::ensure_limited(&store, tenant, limits, &key, &clock, &entropy).await?;
    if let Some(credits) = arguments.credits {
        tenant::grant_once(&store, &record, credits, format!("shell:{}", record.id), &clock).await?;
    }
    // Beside the key, so that `$(…)` takes the key alone. Usage and logs name it by its id.
    let (account, namespace) = (&arguments.account, &arguments.namespace);
    writeln!(
        std::io::stderr().lock(),
        "key {} of {account}/{namespace} in {}; it is not shown again:",
        record.id,
        arguments.environment
    )?;
    // The one time that it is shown: only its hash is kept.
    writeln!(std::io::stdout().lock(), "{}", key.expose_secret())?;
    Ok(ExitCode::SUCCESS)
}

async fn list(arguments: ListArguments) -> Result<ExitCode, CommandError> {
    let store = existing_store(&arguments.store)?;
    let account = store.account(&arguments.account).await?;
    let account = account.ok_or_else(|| format!("there is no account {:?}", arguments.account))?;
    let now = SystemClock.now();
    let mut out = std::io::stdout();
    if !arguments.json {
        writeln!(out, "{:36}  {:8}  {:16}  LABEL", "ID", "STATUS", "KEY")?;
    }
    for key in all_keys(&store, account, arguments.environment, now).await? {
        let status = key.status(now).as_str();
        if arguments.json {
            let line = json!({
                "id": key.id, "namespace": key.namespace, "environment": key.environment, "label": key.label,
                "hint": key.hint, "status": status, "created_at": key.created.as_seconds(),
                "expires_at": key.limits.expires_at.map(Timestamp::as_seconds),
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{:36}  {status:8}  {:16}  {}",
                key.id.to_string(),
                key.hint,
                key.label
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn all_keys(
    store: &impl Store,
    account: AccountId,
    environment: Environment,
    now: Timestamp,
) -> Result<Vec<KeyDetails>, CommandError> {
    let filter = KeyFilter {
        account,
        environment,
        namespace: None,
        status: None,
        now,
    };
    let mut keys: Vec<KeyDetails> = Vec::new();
    loop {
        let page = PageOf {
            after: keys.last().map(|key| key.id),
            ascending: true,
            limit: PAGE,
        };
        let more = store.keys(filter.clone(), page).await?;
        let is_last = more.len() < PAGE as usize;
        keys.extend(more);
        if is_last {
            return Ok(keys);
        }
    }
}

async fn revoke(arguments: RevokeArguments) -> Result<ExitCode, CommandError> {
    let store = existing_store(&arguments.store)?;
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let audit = AuditEntry {
        id: AuditId::new(&clock, &entropy),
        actor: Actor::Operator,
        action: "key.revoke".to_owned(),
        subject: format!("key:{}", arguments.key),
        environment: None,
        before: None,
        after: None,
        reason: arguments.reason,
        now: clock.now(),
    };
    let key = store.revoke_key_of(None, arguments.key, audit).await?;
    let key = key.ok_or_else(|| format!("there is no key {}", arguments.key))?;
    writeln!(
        std::io::stdout().lock(),
        "{} ({}) of {} is revoked: no request is accepted with it any more",
        key.id,
        key.hint,
        key.environment
    )?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_end_at_a_time_on_a_day_or_after_a_while() {
        let now = Timestamp::from_millis(1_000);
        for (text, millis) in [
            ("1970-01-02T00:00:00Z", 86_400_000),
            ("1970-01-02T01:00:00+01:00", 86_400_000),
            ("1970-01-02", 86_400_000),
            ("12h", 43_201_000),
            ("1d12h", 129_601_000),
        ] {
            let expiry: Expiry = text.parse().unwrap();
            assert_eq!(expiry.after(now).as_millis(), millis, "{text}");
        }
        for text in ["", "tomorrow", "30", "-1d", "2027-02-30"] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        key: KeyArguments,
    }

    #[test]
    fn a_key_is_made_unless_something_else_is_asked() {
        use clap::Parser as _;
        let parse = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.key);
        let made = parse("key --data-dir d --account a --ip-address ::1").unwrap();
        assert!(made.action.is_none(), "{made:?}");
        let made = made.create.expect("what it is to be");
        assert_eq!(made.ip_address, ["::1"]);
        let listed = parse("key list --data-dir d --account a").unwrap();
        assert!(matches!(listed.action, Some(Action::List(_))));
        let id = "0198b1d2-0000-7000-8000-000000000001";
        let revoked = parse(&format!("key revoke --data-dir d {id}")).unwrap();
        assert!(matches!(revoked.action, Some(Action::Revoke(arguments)) if arguments.key.to_string() == id));
        for line in [
            "key",
            "key --data-dir d",
            "key --account a",
            "key --data-dir d list",
            "key revoke --data-dir d x",
        ] {
            let refused = parse(line).map(|key| (key.action.is_some(), key.create.is_some()));
            assert!(
                refused.is_err() || refused.is_ok_and(|found| found == (false, false)),
                "{line}"
            );
        }
    }
}
