//! What an account is told: its inbox.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::{DEFAULT_PAGE, MAX_PAGE, Order, Page};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::NotificationId;

/// Something that the account is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Notification {
    /// Names it.
    pub id: NotificationId,
    /// What kind, such as `credits.low` or `node.penalty`.
    pub kind: String,
    /// Where, if it is about one environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What it is about, such as the id of a namespace or a node.
    pub subject: String,
    /// A sentence or two.
    pub message: String,
    /// When it was left: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it was read: seconds since the Unix epoch.
    pub read_at: Option<i64>,
}

/// Which notifications, newest first: those of the environment, and those that are about none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NotificationQuery {
    /// Only those that were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    /// `testnet` or `mainnet`; the one that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<NotificationId>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl NotificationQuery {
    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// `POST /gate/v1/notifications/read`: exactly one of `ids` and `up_to`. What was read before stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadNotifications {
    /// These: at most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<NotificationId>>,
    /// This one and all before it, of every environment that the caller sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<NotificationId>,
}

impl ReadNotifications {
    /// These were read.
    pub fn these(ids: impl IntoIterator<Item = NotificationId>) -> Self {
        Self {
            ids: Some(ids.into_iter().collect()),
            up_to: None,
        }
    }

    /// This one and all before it were read.
    pub const fn up_to(id: NotificationId) -> Self {
        Self {
            ids: None,
            up_to: Some(id),
        }
    }
}

/// How many notifications wait to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnreadNotifications {
    /// How many, over all environments that the caller sees.
    pub unread: u64,
}

/// What the account is told.
#[async_trait]
pub trait NotificationsApi: Send + Sync {
    /// A page of it.
    async fn notifications(&self, query: NotificationQuery) -> Result<Page<Notification>, ApiError>;

    /// How much of it was not read.
    async fn unread_notifications(&self) -> Result<UnreadNotifications, ApiError>;

    /// Some of it was read; ids of others' are left out silently. Gives what is left.
    async fn read_notifications(&self, request: ReadNotifications) -> Result<UnreadNotifications, ApiError>;
}
