//! A store with one tenant that has credits, and makers for everything that the verbs take.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::{Clock, ManualClock, SeededEntropy, Timestamp};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, JobId, KeyId, LeaseToken, NamespaceId, NodeId};
use resultity_core::job::{Attempt, Endpoint, JobKind, JobState, Priority};
use resultity_core::openai::chat::Usage;
use resultity_core::signing::{Outcome, Signature};
use resultity_core::{Address, B256};

use crate::store::{
    Actor, Admission, AuditEntry, Balance, Grant, Granted, JobRecord, KeyLimits, KeyRecord, LeaseRef, Leased, NewJob,
    NewLease, NewTenant, Release, Settle, Store,
};

/// What the tenant of a new world has.
pub const START: Credits = Credits::from_whole(100);

/// The node's share that [`World::settle_of`] asks for: 80 %.
pub const NODE_SHARE: u16 = 8_000;

/// A store and what a scenario needs around it.
#[derive(Debug)]
pub struct World {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// The tenant's key.
    pub key: KeyRecord,
    /// The time.
    pub clock: ManualClock,
    /// Where ids come from.
    pub entropy: SeededEntropy,
}

impl World {
    /// Makes the tenant and gives it [`START`].
    pub async fn new(store: Arc<dyn Store>) -> Self {
        let clock = ManualClock::new(Timestamp::from_millis(1_800_000_000_000));
        let entropy = SeededEntropy::new(1);
        let tenant = tenant("main", &clock, &entropy);
        let key = store.ensure_tenant(tenant).await.expect("a tenant");
        let world = Self {
            store,
            key,
            clock,
            entropy,
        };
        assert_eq!(world.grant("start", START).await, Granted::Balance(START));
        world
    }

    /// The time, a millisecond later at every call.
    pub fn now(&self) -> Timestamp {
        self.clock.advance(Duration::from_millis(1));
        self.clock.now()
    }

    /// Another tenant, to be made.
    pub fn tenant(&self, name: &str) -> NewTenant {
        tenant(name, &self.clock, &self.entropy)
    }

    /// Gives the tenant credits.
    pub async fn grant(&self, id: &str, amount: Credits) -> Granted {
        let grant = Grant {
            idempotency_key: id.to_owned(),
            namespace: self.key.namespace,
            amount,
            reason: "test".to_owned(),
            now: self.now(),
        };
        self.store.grant(grant).await.expect("a grant")
    }

    /// A line of the audit log, to be written.
    pub fn audit_line(&self) -> AuditEntry {
        AuditEntry {
            id: AuditId::new(&self.clock, &self.entropy),
            actor: Actor::Operator,
            action: "test".to_owned(),
            subject: "test".to_owned(),
            environment: None,
            before: None,
            after: None,
            reason: "test".to_owned(),
            now: self.now(),
        }
    }

    /// What the tenant has.
    pub async fn balance(&self) -> Balance {
        self.store
            .balance(self.key.namespace)
            .await
            .expect("a balance")
            .expect("the tenant's namespace")
    }

    /// A job of the tenant, to be admitted.
    pub fn new_job(&self, hold: Credits) -> NewJob {
        let now = self.now();
        NewJob {
            id: JobId::new(&self.clock, &self.entropy),
            environment: self.key.environment,
            namespace: self.key.namespace,
            key: self.key.id,
            kind: JobKind::ChatCompletion,
            model: "test-model".to_owned(),
            model_version: "1".to_owned(),
            stream: false,
            hold,
            request_hash: B256::repeat_byte(1),
            now,
            deadline: now.after(Duration::from_mins(1)),
            endpoint: Endpoint::ChatCompletions,
            asked_model: "test-model".to_owned(),
            priority: Priority::Normal,
            payload: None,
        }
    }

    /// A lease for [`node`]`(1)`, to be given.
    pub fn new_lease(&self) -> NewLease {
        let deadline = self.now().after(Duration::from_secs(30));
        NewLease {
            node: node(1),
            token: LeaseToken::new(&self.clock, &self.entropy),
            deadline,
        }
    }

    /// A queued job.
    pub async fn queued(&self, hold: Credits) -> JobId {
        let job = self.new_job(hold);
        let id = job.id;
        assert_eq!(
            self.store.reserve_and_enqueue(job, None).await.expect("an answer"),
            Admission::Admitted
        );
        id
    }

    /// A job that is leased from the start.
    pub async fn leased(&self, hold: Credits) -> LeaseRef {
        let (job, lease) = (self.new_job(hold), self.new_lease());
        let lease_ref = LeaseRef {
            job: job.id,
            attempt: Attempt::FIRST,
            token: lease.token,
        };
        assert_eq!(
            self.store
                .reserve_and_enqueue(job, Some(lease))
                .await
                .expect("an answer"),
            Admission::Admitted
        );
        lease_ref
    }

    /// Leases a queued job.
    pub async fn lease(&self, job: JobId) -> LeaseRef {
        let lease = self.new_lease();
        match self.store.lease(job, lease, self.now()).await.expect("an answer") {
            Leased::Attempt(attempt) => LeaseRef {
                job,
                attempt,
                token: lease.token,
            },
            other => unreachable!("the job is queued, so that it can be leased, but: {other:?}"),
        }
    }

    /// A whole result of [`node`]`(1)`, to be paid for.
    pub fn settle_of(&self, lease: LeaseRef, cost: Credits) -> Settle {
        Settle {
            lease,
            node: node(1),
            cost,
            node_share: NODE_SHARE,
            usage: Usage::new(10, 5),
            finish_reason: "stop".to_owned(),
            outcome: Outcome::Complete,
            request_hash: B256::repeat_byte(1),
            transcript_hash: B256::repeat_byte(2),
            output_hash: B256::repeat_byte(3),
            signature: Signature::from_bytes([7; 65]),
            answer: None,
            now: self.now(),
        }
    }

    /// An end without a payment, to be written.
    pub fn release_of(&self, job: JobId, state: JobState) -> Release {
        Release {
            job,
            state,
            error_code: "node_failed",
            error_message: "the node failed".to_owned(),
            error_param: None,
            repeatable: true,
            now: self.now(),
        }
    }

    /// What the store knows of a job that it has.
    pub async fn job(&self, id: JobId) -> JobRecord {
        self.store.job(id).await.expect("an answer").expect("the job")
    }
}

/// Node number `number`.
pub fn node(number: u8) -> NodeId {
    NodeId::from_address(Address::repeat_byte(number))
}

/// An amount in micro-credits.
pub fn micros(amount: i64) -> Credits {
    Credits::from_micros(amount)
}

fn tenant(name: &str, clock: &ManualClock, entropy: &SeededEntropy) -> NewTenant {
    NewTenant {
        account: AccountId::new(clock, entropy),
        account_name: name.to_owned(),
        namespace: NamespaceId::new(clock, entropy),
        namespace_name: "default".to_owned(),
        environment: Environment::Testnet,
        key: KeyId::new(clock, entropy),
        key_hash: B256::left_padding_from(name.as_bytes()),
        key_label: "first".to_owned(),
        key_hint: "rk_test_…0001".to_owned(),
        key_limits: KeyLimits::default(),
        now: clock.now(),
    }
}
