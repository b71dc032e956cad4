//! Namespaces of the account.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CreateNamespace, InEnvironment, Namespace, NamespaceDeleted, NamespaceQuery, NamespacesApi, Retention, Scope,
    UpdateNamespace,
};
use resultity_core::api::page::Page;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NamespaceId};

use super::{GateSession, failed, not_found};
use crate::session::webhooks::page_of;
use crate::store::tenancy::{
    NamespaceChange, NamespaceChanged, NamespaceDeletion, NamespaceMade, NamespaceRecord, NewNamespace,
};
use crate::store::{Actor, AuditEntry};

/// The most namespaces of an account in one environment.
const MOST: u32 = 50;

/// The longest name.
const LONGEST_NAME: usize = 64;

/// What the namespace is called that is meant where none is named.
pub(super) const DEFAULT: &str = "default";

#[async_trait]
impl NamespacesApi for GateSession {
    async fn create_namespace(&self, request: CreateNamespace) -> Result<Namespace, ApiError> {
        let account = self.account(Scope::Keys)?;
        let environment = self.flow(request.environment)?.environment;
        let name = checked_name(request.name)?;
        Ok(shown(self.new_namespace(account, environment, name).await?))
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<Page<Namespace>, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let (page, size) = page_of(&query.page())?;
        let now = self.gate.clock.now();
        let records = self.gate.store.namespaces(account, environment, page, now).await;
        let namespaces = records.map_err(failed)?.into_iter().map(shown).collect();
        Ok(Page::of(namespaces, size, |namespace| namespace.id.to_string()))
    }

    async fn namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<Namespace, ApiError> {
        let account = self.account(Scope::Read)?;
        Ok(shown(self.own_namespace(account, id, within).await?))
    }

    async fn update_namespace(
        &self,
        id: NamespaceId,
        within: InEnvironment,
        request: UpdateNamespace,
    ) -> Result<Namespace, ApiError> {
        let account = self.account(Scope::Keys)?;
        let namespace = self.own_namespace(account, id, within).await?;
        check_days(&request, namespace.retention)?;
        let change = NamespaceChange {
            name: request.name.map(checked_name).transpose()?,
            retention: request.retention,
            retention_days: request.retention_days,
        };
        let keeps_otherwise = change.retention.is_some() || change.retention_days.is_some();
        let action = if keeps_otherwise {
            "namespace.retention"
        } else {
            "namespace.rename"
        };
        let audit = self.audit_of_namespace(account, action, id);
        let changed = self.gate.store.update_namespace(account, id, change, audit);
        let changed = match changed.await.map_err(failed)? {
            NamespaceChanged::Changed(namespace) => namespace,
            NamespaceChanged::Busy => {
                let message = "the namespace has a job in the background or a batch under way, which has to be kept until it \
                               ends: wait for it, or cancel it";
                return Err(ApiError::new(ErrorCode::Conflict, message).with_param("retention"));
            }
            NamespaceChanged::NameTaken => return Err(name_taken()),
            NamespaceChanged::Unknown => return Err(not_found("namespace")),
        };
        if keeps_otherwise {
            self.gate.keys.forget_account(account);
            self.flow(Some(changed.environment))?.tidy_now();
            tracing::info!(namespace.id = %id, retention = %changed.retention, "retention was set");
        }
        Ok(shown(changed))
    }

    async fn delete_namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<NamespaceDeleted, ApiError> {
        let account = self.account(Scope::Keys)?;
        let known = self.own_namespace(account, id, within).await?;
        let audit = self.audit_of_namespace(account, "namespace.delete", id);
        let deleted = self.gate.store.delete_namespace(account, id, audit).await;
        match deleted.map_err(failed)? {
            NamespaceDeletion::Deleted { keys, hashes } => {
                self.gate.keys.forget_all(hashes);
                self.flow(Some(known.environment))?.tidy_now();
                tracing::info!(namespace.id = %id, "namespace deleted");
                Ok(NamespaceDeleted {
                    id,
                    object: "namespace.deleted".into(),
                    deleted: true,
                    keys_revoked: keys,
                })
            }
            NamespaceDeletion::NotEmpty { balance } => {
                let message = if balance.available > Credits::ZERO {
                    format!(
                        "the namespace has {} credits: move them to another one first",
                        balance.available
                    )
                } else {
                    "the namespace has a job or batch under way: wait for it, or cancel it".into()
                };
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
            NamespaceDeletion::Unknown => Err(not_found("namespace")),
        }
    }
}

impl GateSession {
    /// A namespace of this account, if the caller sees its environment and that is the one that is asked for. Everything else
    /// is not found.
    pub(super) async fn own_namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        within: InEnvironment,
    ) -> Result<NamespaceRecord, ApiError> {
        let record = self.gate.store.namespace(account, id, self.gate.clock.now()).await;
        record
            .map_err(failed)?
            .filter(|namespace| self.sees(namespace.environment))
            .filter(|namespace| within.environment.is_none_or(|asked| asked == namespace.environment))
            .ok_or_else(|| not_found("namespace"))
    }

    /// The account's namespace that is meant where none is named; made if it is not there.
    pub(super) async fn default_namespace(
        &self,
        account: AccountId,
        environment: Environment,
    ) -> Result<NamespaceId, ApiError> {
        let store = &self.gate.store;
        let known = store.namespace_named(account, environment, DEFAULT).await;
        if let Some(known) = known.map_err(failed)? {
            return Ok(known);
        }
        match self.new_namespace(account, environment, DEFAULT.into()).await {
            Ok(made) => Ok(made.id),
            // Two asked at once.
            Err(error) if error.code == ErrorCode::Conflict => {
                let known = store.namespace_named(account, environment, DEFAULT).await;
                known.map_err(failed)?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn new_namespace(
        &self,
        account: AccountId,
        environment: Environment,
        name: String,
    ) -> Result<NamespaceRecord, ApiError> {
        let id = NamespaceId::new(&*self.gate.clock, &*self.gate.entropy);
        let audit = self.audit_of_namespace(account, "namespace.create", id);
        let namespace = NewNamespace {
            id,
            account,
            name,
            environment,
            now: self.gate.clock.now(),
        };
        let made = self.gate.store.create_namespace(namespace, MOST, audit).await;
        match made.map_err(failed)? {
            NamespaceMade::Made(namespace) => Ok(namespace),
            NamespaceMade::NameTaken => Err(name_taken()),
            NamespaceMade::TooMany => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("there are {MOST} namespaces in {environment} already, which is the most: delete one first"),
            )),
            NamespaceMade::UnknownAccount => Err(not_found("account")),
        }
    }

    fn audit_of_namespace(&self, account: AccountId, action: &str, id: NamespaceId) -> AuditEntry {
        self.audit(Actor::Account(account), action, format!("namespace:{id}"), "")
    }
}

fn shown(record: NamespaceRecord) -> Namespace {
    Namespace {
        id: record.id,
        object: "namespace".into(),
        name: record.name,
        environment: record.environment,
        keys: record.keys,
        retention: record.retention,
        retention_days: (record.retention == Retention::Full).then_some(record.retention_days),
        kept_bytes: record.kept_bytes,
        created_at: record.created.as_seconds(),
    }
}

/// Names stand in addresses and commands, so they are plain.
fn checked_name(name: String) -> Result<String, ApiError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && name.len() <= LONGEST_NAME && name.bytes().all(is_plain) {
        return Ok(name);
    }
    let message = format!(
        "name must have 1 to {LONGEST_NAME} letters (a to z), digits, dots, hyphens or underscores, a letter or digit first"
    );
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("name"))
}

/// Days count where everything is kept, and there are bounds for them.
fn check_days(request: &UpdateNamespace, known: Retention) -> Result<(), ApiError> {
    let Some(days) = request.retention_days else {
        return Ok(());
    };
    let message = if request.retention.unwrap_or(known) != Retention::Full {
        "retention_days counts only where retention is full".to_owned()
    } else if !(1..=Retention::MOST_DAYS).contains(&days) {
        format!(
            "retention_days must be from 1 to {}, but is {days}",
            Retention::MOST_DAYS
        )
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("retention_days"))
}

fn name_taken() -> ApiError {
    let message = "there is a namespace of this name already in this environment";
    ApiError::new(ErrorCode::Conflict, message).with_param("name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("default", true)]
    #[case("My-app_2.0", true)]
    #[case("", false)]
    #[case(".hidden", false)]
    #[case("a b", false)]
    #[case("a/b", false)]
    #[case("a (b)", false)]
    #[case("ä", false)]
    #[case("a\n", false)]
    fn names_are_plain(#[case] name: &str, #[case] is_good: bool) {
        assert_eq!(checked_name(name.into()).is_ok(), is_good);
    }

    #[test]
    fn names_have_a_longest_length() {
        assert!(checked_name("a".repeat(LONGEST_NAME)).is_ok());
        assert!(checked_name("a".repeat(LONGEST_NAME + 1)).is_err());
    }
}
