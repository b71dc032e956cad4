//! `resultity keys`.

use std::num::NonZeroU32;

use clap::{Args, Subcommand, ValueEnum};
use resultity_client::core::api::gate::{
    ApiKey, ApiKeyWithSecret, Change, CreateKey, KeyQuery, KeyStatus, KeysApi, RotateKey, UpdateKey,
};
use resultity_client::core::api::usage::UsageQuery;
use resultity_client::core::clock::{Clock, SystemClock};
use resultity_client::core::credits::Credits;
use resultity_client::core::environment::Environment;
use resultity_client::core::id::KeyId;

use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{age, if_any, json, list, moment, thing};
use crate::usage::table as usage_table;

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity keys
  resultity keys create --label ci --expires 90d --spend-limit 10
  export RESULTITY_API_KEY=$(resultity keys create --label laptop)
  resultity keys rotate ci --overlap 1h   the old secret works for an hour more
  resultity keys update ci --model smollm2-135m --ip 192.0.2.0/24
  resultity keys revoke ci                at once")]
pub(crate) struct KeysArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List them
    List {
        /// Of this namespace alone: its name or id
        #[arg(long)]
        namespace: Option<String>,
        /// Those that are revoked or have expired, too
        #[arg(long)]
        all: bool,
    },
    /// Make one; its secret is shown this once, alone on standard output
    Create {
        /// Whose credits it spends: name or id [default: the namespace `default`]
        #[arg(long)]
        namespace: Option<String>,
        /// What people call it
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show one
    Show {
        /// Its label or id
        key: String,
    },
    /// Change what one may do
    Update {
        /// Its label or id
        key: String,
        /// What people call it
        #[arg(long)]
        label: Option<String>,
        /// Take a limit away; may be repeated
        #[arg(long, value_enum, value_name = "LIMIT")]
        clear: Vec<Field>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Give one a new secret
    Rotate {
        /// Its label or id
        key: String,
        /// How long the old secret works, such as 1h, 0s
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        overlap: Option<u64>,
    },
    /// End one, at once and for good
    Revoke {
        /// Its label or id
        key: String,
    },
    /// What one has used and spent
    Usage {
        /// Its label or id
        key: String,
        /// The first day (UTC), such as 2026-11-01 [default: 30 days ago]
        #[arg(long, value_name = "DAY")]
        start: Option<String>,
        /// The last day [default: today]
        #[arg(long, value_name = "DAY")]
        end: Option<String>,
    },
}

/// A limit that can be taken away.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Expires,
    RequestsPerMinute,
    TokensPerMinute,
    SpendLimit,
    Model,
    Ip,
}

#[derive(Args)]
struct Limits {
    /// When it ends: a time from now, such as 90d, or 12h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    /// Requests a minute
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute
    #[arg(long, value_name = "NUMBER")]
    tokens_per_minute: Option<NonZeroU32>,
    /// How much it may spend in all
    #[arg(long, value_name = "CREDITS")]
    spend_limit: Option<Credits>,
    /// A model that it may ask; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// An address or network that it may be used from; may be repeated [default: all]
    #[arg(long, value_name = "CIDR")]
    ip: Vec<String>,
}

pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let duration = resultity_client::core::limits::parse_duration(text).filter(|_| text.ends_with(char::is_alphabetic));
    duration
        .map(|duration| duration.as_secs())
        .ok_or_else(|| "expected a time such as 90d, 12h or 30m".to_owned())
}

/// A time from now: seconds since the Unix epoch.
pub(super) fn from_now(seconds: u64) -> i64 {
    SystemClock
        .now()
        .as_seconds()
        .saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX))
}

pub(crate) async fn run(
    arguments: KeysArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

async fn act(arguments: KeysArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let GateArguments {
        environment,
        json: as_json,
    } = arguments.gate.clone();
    let within = arguments.gate.within();
    let action = arguments.action.unwrap_or(Action::List {
        namespace: None,
        all: false,
    });
    match action {
        Action::List { namespace, all } => {
            let namespace = match &namespace {
                Some(name) => Some(gate.namespace(Some(name), environment).await?.id),
                None => None,
            };
            let query = KeyQuery {
                environment,
                namespace,
                status: (!all).then_some(KeyStatus::Active),
                limit: Some(100),
                ..KeyQuery::default()
            };
            let page = gate.client.keys(query).await.map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&page)?);
            }
            if page.data.is_empty() {
                output.note("There is none yet: `resultity keys create` makes one.");
                return Ok(());
            }
            output.write_line(&table(&page.data))
        }
        Action::Create {
            namespace,
            label,
            limits,
        } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let mut request = CreateKey::of(namespace.id);
            request.environment = environment;
            request.label = label;
            request.expires_at = limits.expires.map(from_now);
            request.requests_per_minute = limits.requests_per_minute;
            request.tokens_per_minute = limits.tokens_per_minute;
            request.spend_limit = limits.spend_limit;
            request.models = some(limits.model);
            request.ip_addresses = some(limits.ip);
            let made = gate
                .client
                .create_key(request)
                .await
                .map_err(|error| gate.explain(error))?;
            show_secret(&made, as_json, output)
        }
        Action::Show { key } => {
            let key = find(gate, &key, environment).await?;
            show(&key, as_json, output)
        }
        Action::Update {
            key,
            label,
            clear,
            limits,
        } => {
            let key = find(gate, &key, environment).await?;
            let clears = |field: Field| clear.contains(&field);
            let mut request = UpdateKey::default();
            request.label = label;
            request.expires_at = change(limits.expires.map(from_now), clears(Field::Expires));
            request.requests_per_minute = change(limits.requests_per_minute, clears(Field::RequestsPerMinute));
            request.tokens_per_minute = change(limits.tokens_per_minute, clears(Field::TokensPerMinute));
            request.spend_limit = change(limits.spend_limit, clears(Field::SpendLimit));
            request.models = change(some(limits.model), clears(Field::Model));
            request.ip_addresses = change(some(limits.ip), clears(Field::Ip));
            let changed = gate.client.update_key(key.id, within, request).await;
            show(&changed.map_err(|error| gate.explain(error))?, as_json, output)
        }
        Action::Rotate { key, overlap } => {
            let key = find(gate, &key, environment).await?;
            let mut request = RotateKey::default();
            request.overlap_seconds = overlap;
            let rotated = gate.client.rotate_key(key.id, within, request).await;
            show_secret(&rotated.map_err(|error| gate.explain(error))?, as_json, output)
        }
        Action::Revoke { key } => {
            let key = find(gate, &key, environment).await?;
            let revoked = gate
                .client
                .revoke_key(key.id, within)
                .await
                .map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&revoked)?);
            }
            output.write_line(&format!("{} is revoked.", name(&revoked)))
        }
        Action::Usage { key, start, end } => {
            let key = find(gate, &key, environment).await?;
            let query = UsageQuery {
                start,
                end,
                ..UsageQuery::default()
            };
            let report = gate.client.key_usage(key.id, within, query).await;
            let report = report.map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&report)?);
            }
            output.write_line(&usage_table(&report, "day,model"))
        }
    }
}

fn change<T>(value: Option<T>, clears: bool) -> Change<T> {
    match value {
        Some(value) => Change::Set(value),
        None if clears => Change::Clear,
        None => Change::Keep,
    }
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

/// The key with this id, or the one that works with this label.
async fn find(gate: &Gate, wanted: &str, environment: Option<Environment>) -> Result<ApiKey, Failure> {
    if let Ok(id) = wanted.parse::<KeyId>() {
        let within = environment.map(Into::into).unwrap_or_default();
        return gate.client.key(id, within).await.map_err(|error| gate.explain(error));
    }
    let query = KeyQuery {
        environment,
        limit: Some(100),
        ..KeyQuery::default()
    };
    let page = gate.client.keys(query).await.map_err(|error| gate.explain(error))?;
    let mut found: Vec<ApiKey> = page.data.into_iter().filter(|key| key.label == wanted).collect();
    if found.len() > 1 {
        found.retain(|key| key.status == KeyStatus::Active);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(format!("there is no key {wanted:?}")).hint("`resultity keys list --all` shows them.")),
        _ => Err(Failure::new(format!("several keys are called {wanted:?}")).hint("Name one by its id.")),
    }
}

fn name(key: &ApiKey) -> String {
    if key.label.is_empty() {
        key.id.to_string()
    } else {
        key.label.clone()
    }
}

fn table(keys: &[ApiKey]) -> String {
    let rows = keys.iter().map(|key| {
        vec![
            key.label.clone(),
            key.hint.clone(),
            key.environment.to_string(),
            key.status.as_str().to_owned(),
            if_any(key.spent),
            age(key.created_at),
            key.id.to_string(),
        ]
    });
    list(&["LABEL", "KEY", "ENVIRONMENT", "STATUS", "SPENT", "AGE", "ID"], rows)
}

fn show(key: &ApiKey, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(key)?);
    }
    let joined = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", ")).unwrap_or_default();
    output.write_line(&thing([
        ("label", key.label.clone()),
        ("key", key.hint.clone()),
        ("id", key.id.to_string()),
        ("environment", key.environment.to_string()),
        ("namespace", key.namespace.to_string()),
        ("status", key.status.as_str().to_owned()),
        ("made", moment(key.created_at)),
        ("expires", key.expires_at.map(moment).unwrap_or_default()),
        (
            "old secret until",
            key.previous_secret_expires_at.map(moment).unwrap_or_default(),
        ),
        ("requests a minute", if_any(key.requests_per_minute)),
        ("tokens a minute", if_any(key.tokens_per_minute)),
        ("may spend", if_any(key.spend_limit)),
        ("has spent", if_any(key.spent)),
        ("models", joined(&key.models)),
        ("addresses", joined(&key.ip_addresses)),
    ]))
}

/// The secret alone on standard output, so that `$(…)` takes it; what it is for on standard error.
fn show_secret(made: &ApiKeyWithSecret, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(made)?);
    }
    output.note(&format!(
        "Key {} in {}. This is its secret; it is not shown again:",
        name(&made.key),
        made.key.environment
    ));
    output.write_line(&made.secret)
}
