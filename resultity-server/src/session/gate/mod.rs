//! The Gate API for one caller: who that is, and what holds for all of its parts. One file a resource.

use std::net::IpAddr;
use std::sync::Arc;

use resultity_core::api::gate::{Role, Scope};
use resultity_core::clock::{Clock, Entropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, AuditId, LoginId, NotificationId, TokenId};
use resultity_core::webhook::SigningSecret;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::flow::{Flow, Flows};
use crate::mail::{Mail, MailOptions};
use crate::publish::Publisher;
use crate::seal::Sealer;
use crate::session::Keys;
use crate::store::{Actor, AuditEntry, NewNotification, Store, StoreError};

mod account;
mod admin_accounts;
mod alerts;
mod audit;
mod callers;
mod codes;
mod configuration;
mod corrections;
mod credits;
mod dead_letters;
mod environments;
mod grant;
mod intake;
mod join;
mod keys;
mod logins;
mod namespaces;
mod nodes;
mod notifications;
mod options;
mod passwords;
mod payments;
mod plans;
mod postbox;
mod queue;
mod reason;
mod reports;
mod second_factor;
mod sign_in;
mod subclouds;
mod throttle;
mod tokens;
mod vouchers;
mod wallets;

use postbox::Postbox;

pub use alerts::write_alerts;
pub use callers::csrf_token;
pub use codes::checked_email;
pub use options::AccountOptions;
pub use passwords::Passwords;
pub use throttle::{Attempted, Throttle};
pub use wallets::WalletOptions;

/// What an operator decides about accounts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GateOptions {
    /// How long somebody stays signed in, and how often an account may call.
    pub accounts: AccountOptions,
    /// How letters leave.
    pub mail: MailOptions,
    /// Which messages of wallets count.
    pub wallets: WalletOptions,
    /// What the testnet's faucet gives an account a day; 0: there is none. 100 credits if nothing is said.
    pub faucet: Option<Credits>,
    /// What the payment provider signs its messages with; without it no payment is taken.
    pub payment_secret: Option<SigningSecret>,
    /// Whether nobody can make an account: those that are there, and those of the server's shell, are all.
    pub no_sign_up: bool,
}

/// What a [`Gate`] is made of.
#[derive(Debug)]
pub struct GateParts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The environments that are served.
    pub flows: Flows,
    /// Who holds which API key: what is revoked is forgotten here at once.
    pub keys: Keys,
    /// What publishes the network's configuration.
    pub publisher: Arc<Publisher>,
    /// What sends letters.
    pub mail: Arc<Mail>,
    /// What keeps the secrets of accounts.
    pub sealer: Sealer,
    /// What the operator decides.
    pub options: GateOptions,
}

/// Accounts and all that they manage: what the sessions share.
#[derive(Debug)]
pub struct Gate {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) flows: Flows,
    pub(crate) keys: Keys,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) mail: Arc<Mail>,
    pub(crate) sealer: Sealer,
    pub(crate) throttle: Throttle,
    pub(crate) postbox: Postbox,
    pub(crate) passwords: Passwords,
    pub(crate) options: GateOptions,
    /// What changes something, each act in a task of its own: a stop waits for them.
    pub(crate) acts: TaskTracker,
}

impl Gate {
    /// A gate on this store.
    pub fn new(parts: GateParts) -> Self {
        Self {
            acts: TaskTracker::new(),
            throttle: Throttle::new(Arc::clone(&parts.clock)),
            postbox: Postbox::default(),
            passwords: Passwords::default(),
            store: parts.store,
            clock: parts.clock,
            entropy: parts.entropy,
            flows: parts.flows,
            keys: parts.keys,
            publisher: parts.publisher,
            mail: parts.mail,
            sealer: parts.sealer,
            options: parts.options,
        }
    }

    /// Whether anybody may make an account.
    fn check_sign_up(&self) -> Result<(), ApiError> {
        if self.options.no_sign_up {
            let message = "nobody can sign up here: ask whoever runs this network for an account";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
        Ok(())
    }

    /// Something that an account is to be told.
    pub(super) fn note(
        &self,
        account: AccountId,
        kind: &str,
        subject: impl Into<String>,
        message: &str,
    ) -> NewNotification {
        NewNotification {
            id: NotificationId::new(&*self.clock, &*self.entropy),
            account,
            environment: None,
            kind: kind.to_owned(),
            subject: subject.into(),
            message: message.to_owned(),
            now: self.clock.now(),
        }
    }
}

/// By what a caller is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Signed in, in a browser or with the command.
    Login(LoginId),
    /// An access token.
    Token {
        /// Which.
        id: TokenId,
        /// What it may do.
        scopes: Vec<Scope>,
        /// The one environment that it sees; none: all.
        environment: Option<Environment>,
    },
    /// The operator's token, or the server's shell: an administrator without an account.
    Operator,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account; none for the operator.
    pub account: Option<AccountId>,
    /// What it is in the network.
    pub role: Role,
    /// By what it is known.
    pub authority: Authority,
    /// The environment that is meant where nothing is said.
    pub environment: Environment,
    /// Where the call comes from.
    pub address: IpAddr,
}

/// The Gate API, bound to a caller who was checked before.
#[derive(Debug, Clone)]
pub struct GateSession {
    pub(super) gate: Arc<Gate>,
    pub(super) caller: Caller,
}

impl GateSession {
    /// A session of this caller.
    pub fn new(gate: Arc<Gate>, caller: Caller) -> Self {
        Self { gate, caller }
    }

    /// The caller's account, if the caller may do this.
    pub(super) fn account(&self, scope: Scope) -> Result<AccountId, ApiError> {
        let account = self.caller.account.ok_or_else(|| {
            let message = "this is for accounts: the operator's token has none, so sign in";
            ApiError::new(ErrorCode::PermissionDenied, message)
        })?;
        self.may(scope)?;
        Ok(account)
    }

    /// The caller's account, if somebody is signed in: no access token changes how its account is signed in to, or it could
    /// make a session of itself.
    pub(super) fn signed_in(&self) -> Result<AccountId, ApiError> {
        let account = self.account(Scope::Account)?;
        match self.caller.authority {
            Authority::Login(_) => Ok(account),
            Authority::Token { .. } | Authority::Operator => {
                let message =
                    "this changes how the account is signed in to: sign in for it, an access token is not enough";
                Err(ApiError::new(ErrorCode::PermissionDenied, message))
            }
        }
    }

    /// Whether the caller's token, if it is one, has this scope.
    pub(super) fn may(&self, scope: Scope) -> Result<(), ApiError> {
        match &self.caller.authority {
            Authority::Token { scopes, .. } if !scopes.contains(&scope) => {
                let message = format!("this access token has no scope `{scope}`: make one that has it");
                Err(ApiError::new(ErrorCode::PermissionDenied, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the caller may act as an administrator.
    pub fn check_administrator(&self) -> Result<(), ApiError> {
        self.administrator().map(drop)
    }

    /// The caller as an administrator, if it is one and may act as one.
    pub(super) fn administrator(&self) -> Result<Actor, ApiError> {
        match (&self.caller.authority, self.caller.account) {
            (Authority::Operator, _) => Ok(Actor::Operator),
            (_, Some(account)) if self.caller.role == Role::Admin => {
                self.may(Scope::Admin)?;
                Ok(Actor::Account(account))
            }
            _ => Err(ApiError::new(ErrorCode::PermissionDenied, "this is for administrators")),
        }
    }

    /// Whether objects of this environment are there for the caller. Those that are not are not found.
    pub(super) fn sees(&self, environment: Environment) -> bool {
        let of_token = match &self.caller.authority {
            Authority::Token { environment, .. } => *environment,
            Authority::Login(_) | Authority::Operator => None,
        };
        of_token.is_none_or(|only| only == environment)
    }

    /// The environment that is asked for, or the one that the session looks at, if it is served here.
    pub(super) fn flow(&self, asked: Option<Environment>) -> Result<&Arc<Flow>, ApiError> {
        let environment = asked.unwrap_or(self.caller.environment);
        let flow = self.gate.flows.get(environment).filter(|_| self.sees(environment));
        flow.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("{environment} is not served here")).with_param("environment")
        })
    }

    /// A line for the audit log.
    pub(super) fn audit(
        &self,
        actor: Actor,
        action: &str,
        subject: impl Into<String>,
        reason: impl Into<String>,
    ) -> AuditEntry {
        AuditEntry {
            id: AuditId::new(&*self.gate.clock, &*self.gate.entropy),
            actor,
            action: action.to_owned(),
            subject: subject.into(),
            environment: None,
            before: None,
            after: None::<Value>,
            reason: reason.into(),
            now: self.gate.clock.now(),
        }
    }
}

/// The Gate API for whoever has not signed in.
#[derive(Debug, Clone)]
pub struct GateDoor {
    pub(super) gate: Arc<Gate>,
    pub(super) address: IpAddr,
    pub(super) user_agent: String,
}

impl GateDoor {
    /// For a caller at this address, with what its program calls itself.
    pub fn new(gate: Arc<Gate>, address: IpAddr, user_agent: String) -> Self {
        Self {
            gate,
            address,
            user_agent,
        }
    }
}

/// Whatever is not there, or is somebody else's.
pub(super) fn not_found(what: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no such {what}"))
}

/// The store failed: nothing was changed.
pub(super) fn failed(error: StoreError) -> ApiError {
    tracing::error!(%error, "the store failed");
    ApiError::new(ErrorCode::Internal, "the server could not do it; nothing was changed").with_source(error)
}

/// What people call something: `least` to 100 characters, in one line, without spaces around.
pub(super) fn checked_name(name: &str, least: usize) -> Result<String, ApiError> {
    let name = name.trim();
    let is_good = (least..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_good {
        return Ok(name.to_owned());
    }
    let message = format!("name must have {least} to 100 characters, in one line");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("name"))
}
