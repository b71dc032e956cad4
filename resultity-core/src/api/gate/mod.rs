//! The Gate API, `/gate/v1`: accounts and their credentials, namespaces, API keys, credits, nodes, the network's
//! configuration. One file a resource, each with its trait and its types; [`GateApi`] is all of them for a caller who has
//! signed in, [`DoorApi`] what anybody may ask to get in.
//!
//! Objects of other people are not found rather than forbidden. Whatever counts in one environment names it; lists take
//! `environment`, by default the one that the session looks at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::error::{ApiError, ErrorCode};

mod account;
mod admin_accounts;
mod audit;
mod change;
mod configuration;
mod corrections;
mod credits;
mod dead_letters;
mod grant;
mod intake;
mod keys;
mod logins;
mod namespaces;
mod nodes;
mod notifications;
mod overview;
mod payments;
mod plans;
mod queue;
mod reports;
mod second_factor;
mod sign_in;
mod subclouds;
mod tokens;
mod vouchers;
mod wallets;

pub use account::{Account, AccountApi, ChangeEmail, ChangePassword, ConfirmEmail, SignInEvent, UpdateAccount};
pub use admin_accounts::{AccountsQuery, AdminAccount, AdminAccountsApi, ChangeAccount};
pub use audit::{AuditApi, AuditLine, AuditQuery};
pub use change::Change;
pub use configuration::{
    ApproveModel, ConfigurationApi, DeprecateModel, DiffSnapshots, NetworkKeyRotated, PriceModel, Publication,
    PublishSnapshot, PublishedSnapshot, RollBackSnapshot, RotateNetworkKey, SnapshotDiff, SnapshotQuery,
    SnapshotSummary,
};
pub use corrections::{Correction, CorrectionEntry, CorrectionsApi, NewCorrection};
pub use credits::{
    AccountCredits, AskFaucet, CreditAlert, CreditHold, CreditQuery, CreditTransfer, CreditsApi, CreditsReceived,
    LedgerLine, NamespaceCredits, NewTransfer, SetCreditAlert,
};
pub use dead_letters::{DeadLetter, DeadLetterAction, DeadLetterDropped, DeadLetterQuery, DeadLettersApi, Requeued};
pub use grant::{CreditGrant, CreditGranted, GrantApi};
pub use intake::{Intake, IntakeApi, SetIntake};
pub use keys::{ApiKey, ApiKeyWithSecret, CreateKey, KeyQuery, KeyStatus, KeysApi, RotateKey, UpdateKey};
pub use logins::{Login, LoginKind, LoginsApi, LoginsEnded, Session, SignInMethod, SwitchEnvironment, UnknownName};
pub use namespaces::{
    CreateNamespace, Namespace, NamespaceDeleted, NamespaceQuery, NamespacesApi, Retention, UnknownRetention,
    UpdateNamespace,
};
pub use nodes::{
    AdminNode, AdminNodesApi, AdminNodesQuery, Appeal, AppealDecision, AppealPenalty, AppealsQuery, AskBinding,
    BindChallenge, BindNode, CheckFinding, ControlNode, CreateJoinCode, DayOfNode, DecideAppeal, FlagNode, JoinCode,
    ModelOfNode, ModelOnNode, Node, NodeAction, NodeCheck, NodeChecksQuery, NodeEarnings, NodeFlag, NodeFlagged,
    NodeGpu, NodeHardware, NodeJob, NodeJobsQuery, NodeLoad, NodeLog, NodeLogsQuery, NodePaidOut, NodePseudonym,
    NodeReputation, NodeRuntime, NodeUnbound, NodeWhy, NodeWork, NodeWorkQuery, NodesApi, NodesQuery, PayOutNode,
    PenaliseNode, PenaltiesQuery, Penalty, PenaltyState, PseudonymResolved, ResolvePseudonym, UnflagNode, UpdateNode,
    join_code_hash, new_join_code,
};
pub use notifications::{Notification, NotificationQuery, NotificationsApi, ReadNotifications, UnreadNotifications};
pub use overview::{AccountCounts, CreditTotals, Overview, OverviewApi};
pub use payments::{Payment, PaymentsApi, SignedPayment};
pub use plans::{AccountPlan, ChoosePlan, Plan, PlanDeleted, Plans, PlansApi, PutPlan};
pub use queue::{JobDecision, JobWhy, ModelQueue, NodesForJob, QueueApi, QueueCounts, QueueHealth, Throughput};
pub use reports::{AccountUsage, AccountUsageQuery, AccountUsageRow, Activity, NodeRewards, ReportsApi, Rewards};
pub use second_factor::{ConfirmTotp, RecoveryCodes, SecondFactor, SecondFactorApi, SecondFactorStatus, TotpSetup};
pub use sign_in::{CodeSent, ConfirmReset, ConfirmSignUp, ResetPassword, SignIn, SignInApi, SignUp, SignedIn};
pub use subclouds::{
    AccessPolicy, CreateSubcloud, JoinPolicy, JoinSubcloud, MAX_SUBCLOUD_NAME, Subcloud, SubcloudDeleted, SubcloudLeft,
    SubcloudNode, SubcloudNodesQuery, SubcloudQuery, SubcloudWithToken, SubcloudsApi, UpdateSubcloud, is_subcloud_name,
};
pub use tokens::{AccessToken, CreateToken, TokenWithSecret, TokensApi};
pub use vouchers::{CreateVoucher, RedeemVoucher, Voucher, VoucherWithCode, VouchersApi};
pub use wallets::{
    AskWallet, LinkWallet, Wallet, WalletChallenge, WalletSignIn, WalletSignInApi, WalletUnlinked, WalletsApi,
};

/// What an account is in its network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It owns namespaces, keys and nodes.
    #[default]
    User,
    /// It runs the network, too.
    Admin,
}

impl Role {
    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let found = [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| ApiError::new(ErrorCode::InvalidValue, "expected a role: user or admin").with_param("role"))
    }
}

/// What an access token may do. A session of a browser or of the command may do all that its account may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// See everything that the account has, but no secret.
    Read,
    /// Make, change and revoke namespaces and API keys.
    Keys,
    /// Move credits, redeem vouchers, pay earnings out.
    Credits,
    /// Bind, control and unbind nodes; Subclouds.
    Nodes,
    /// Change the account: credentials, second factor, sessions, tokens.
    Account,
    /// What an administrator may do; of use to an administrator's account alone.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Keys,
        Self::Credits,
        Self::Nodes,
        Self::Account,
        Self::Admin,
    ];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Keys => "keys",
            Self::Credits => "credits",
            Self::Nodes => "nodes",
            Self::Account => "account",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            ApiError::new(ErrorCode::InvalidValue, format!("expected a scope: {names}")).with_param("scopes")
        })
    }
}

/// Which environment is meant; the one that the session looks at if nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct InEnvironment {
    /// `testnet` or `mainnet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

impl From<Environment> for InEnvironment {
    fn from(environment: Environment) -> Self {
        Self {
            environment: Some(environment),
        }
    }
}

macro_rules! all_parts {
    ($($(#[$doc:meta])* $name:ident: $($part:ident)*;)*) => {$(
        $(#[$doc])*
        pub trait $name: Send + Sync $(+ $part)* {}

        impl<T: Send + Sync + ?Sized $(+ $part)*> $name for T {}
    )*};
}

// One part a line, in the order of the alphabet.
all_parts! {
    /// What may be asked by whoever has not signed in: signing up and in.
    DoorApi:
        PaymentsApi
        SignInApi
        WalletSignInApi;
    /// Everything that a caller who has signed in may ask. Each part is a trait of its own.
    GateApi:
        AccountApi
        AdminAccountsApi
        AdminNodesApi
        AuditApi
        ConfigurationApi
        DeadLettersApi
        CorrectionsApi
        CreditsApi
        ReportsApi
        VouchersApi
        GrantApi
        NodesApi
        IntakeApi
        KeysApi
        LoginsApi
        NamespacesApi
        NotificationsApi
        OverviewApi
        PlansApi
        QueueApi
        SecondFactorApi
        SubcloudsApi
        TokensApi
        WalletsApi;
}
