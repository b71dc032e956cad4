//! What administrators see and decide: inboxes, the intake, dead letters, accounts.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::Role;
use resultity_core::environment::Environment;
use resultity_core::id::{AuditId, JobId, NotificationId};
use resultity_core::job::JobState;

use super::Scenario;
use super::world::{START, World, micros};
use crate::store::admin::{AuditFilter, IntakeStop, NotificationFilter, Read};
use crate::store::admin_accounts::{AccountChange, AccountChanged, AccountFilter};
use crate::store::letters::{Claimed, LetterEnded, LetterFilter, LetterRecord, MOST_OF_A_NAMESPACE};
use crate::store::{
    Actor, Admission, AuditEntry, EventSource, Idempotency, NewJob, NewNotification, NewPayload, Release,
};

pub(super) const HERE: Environment = Environment::Testnet;

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 6] = [
    ("the intake is stopped, reopened and remembered", |world| {
        Box::pin(the_intake_is_remembered(world))
    }),
    ("the audit log is read by who, what and when", |world| {
        Box::pin(the_audit_log_is_read(world))
    }),
    ("a job in the background that failed is a dead letter", |world| {
        Box::pin(a_failed_job_is_a_dead_letter(world))
    }),
    ("a dead letter is claimed by one, and ends once", |world| {
        Box::pin(a_dead_letter_ends_once(world))
    }),
    ("the keys of a suspended account admit nothing", |world| {
        Box::pin(a_suspended_account_admits_nothing(world))
    }),
    ("an administrator stays", |world| {
        Box::pin(an_administrator_stays(world))
    }),
];

pub(super) fn audit(world: &World, action: &str) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(&world.clock, &world.entropy),
        actor: Actor::Operator,
        action: action.to_owned(),
        subject: format!("test:{action}"),
        environment: None,
        before: None,
        after: None,
        reason: "a test".to_owned(),
        now: world.now(),
    }
}

async fn lines(world: &World, filter: AuditFilter) -> Vec<AuditEntry> {
    let filter = AuditFilter { limit: 50, ..filter };
    world.store.audit_lines(filter).await.expect("the audit log")
}

async fn the_intake_is_remembered(world: &World) {
    let stop = IntakeStop {
        reason: "repairs".to_owned(),
        message: None,
        actor: Actor::Operator,
        since: world.now(),
    };
    assert_eq!(world.store.intake_stop(HERE).await.expect("an answer"), None);
    for _ in 0..2 {
        let audit = audit(world, "intake.stop");
        let stopped = world.store.set_intake(HERE, Some(stop.clone()), audit).await;
        stopped.expect("an answer");
    }
    assert_eq!(world.store.intake_stop(HERE).await.expect("an answer"), Some(stop));
    assert_eq!(
        world.store.intake_stop(Environment::Mainnet).await.expect("an answer"),
        None
    );
    for _ in 0..2 {
        let audit = audit(world, "intake.reopen");
        world.store.set_intake(HERE, None, audit).await.expect("an answer");
    }
    assert_eq!(world.store.intake_stop(HERE).await.expect("an answer"), None);
    let actions: Vec<_> = lines(world, AuditFilter::default()).await;
    let actions: Vec<_> = actions.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(
        actions,
        ["intake.reopen", "intake.stop"],
        "what changed nothing is not written"
    );
}

async fn the_audit_log_is_read(world: &World) {
    let stop = |reason: &str| IntakeStop {
        reason: reason.to_owned(),
        message: None,
        actor: Actor::Operator,
        since: world.now(),
    };
    for (number, environment) in [HERE, Environment::Mainnet, HERE].into_iter().enumerate() {
        let audit = AuditEntry {
            actor: if number == 2 { Actor::Network } else { Actor::Operator },
            ..audit(world, if number == 1 { "intake.stop" } else { "other.stop" })
        };
        let stop = stop(&number.to_string());
        world
            .store
            .set_intake(environment, Some(stop), audit)
            .await
            .expect("an answer");
    }
    let all = lines(world, AuditFilter::default()).await;
    assert_eq!(all.len(), 3);
    let count = |filter| async { lines(world, filter).await.len() };
    let by = AuditFilter::default;
    assert_eq!(
        count(AuditFilter {
            actor: Some(Actor::Network),
            ..by()
        })
        .await,
        1
    );
    assert_eq!(
        count(AuditFilter {
            action: Some("intake.".into()),
            ..by()
        })
        .await,
        1
    );
    assert_eq!(
        count(AuditFilter {
            action: Some("other.stop".into()),
            ..by()
        })
        .await,
        2
    );
    assert_eq!(
        count(AuditFilter {
            action: Some("other".into()),
            ..by()
        })
        .await,
        0
    );
    assert_eq!(
        count(AuditFilter {
            subject: Some("test:other.stop".into()),
            ..by()
        })
        .await,
        2
    );
    assert_eq!(
        count(AuditFilter {
            environment: Some(HERE),
            ..by()
        })
        .await,
        2
    );
    assert_eq!(
        count(AuditFilter {
            seen_from: Some(Environment::Mainnet),
            ..by()
        })
        .await,
        1
    );
    assert_eq!(
        count(AuditFilter {
            from: Some(all[0].now),
            ..by()
        })
        .await,
        1
    );
    assert_eq!(
        count(AuditFilter {
            until: Some(all[0].now),
            ..by()
        })
        .await,
        2
    );
    assert_eq!(
        count(AuditFilter {
            after: Some(all[0].id),
            ..by()
        })
        .await,
        2
    );
    let oldest = AuditFilter {
        ascending: true,
        ..by()
    };
    assert_eq!(lines(world, oldest).await.first().map(|line| line.id), Some(all[2].id));
}

fn kept(world: &World, events: Option<EventSource>, key: Option<&str>) -> NewJob {
    let expires_at = world.now().after(Duration::from_hours(24));
    NewJob {
        payload: Some(NewPayload {
            request: r#"{"asked":1}"#.into(),
            work: r#"{"work":1}"#.into(),
            expires_at,
            most_bytes: None,
            detached: true,
            events,
            idempotency: key.map(|key| Idempotency {
                key: key.into(),
                request_hash: B256::repeat_byte(9),
                expires_at,
            }),
        }),
        ..world.new_job(micros(100))
    }
}

async fn failed(world: &World, job: NewJob, repeatable: bool) -> JobId {
    let id = job.id;
    let admitted = world.store.reserve_and_enqueue(job, None).await.expect("an answer");
    assert_eq!(admitted, Admission::Admitted);
    let release = Release {
        repeatable,
        ..world.release_of(id, JobState::Failed)
    };
    world.store.release(release).await.expect("an end");
    id
}

async fn letters(world: &World) -> Vec<LetterRecord> {
    let filter = LetterFilter {
        environment: HERE,
        model: None,
        after: None,
        ascending: true,
        limit: 500,
    };
    world.store.dead_letters(filter).await.expect("dead letters")
}

async fn a_failed_job_is_a_dead_letter(world: &World) {
    let job = Some(EventSource::Job);
    let dead = failed(world, kept(world, job, Some("key:a")), true).await;
    failed(world, kept(world, job, None), false).await;
    failed(world, kept(world, None, Some("batch:b:1")), true).await;
    failed(world, world.new_job(micros(1)), true).await;
    let found = letters(world).await;
    assert_eq!(found.iter().map(|letter| letter.job).collect::<Vec<_>>(), [dead]);
    let letter = &found[0];
    assert_eq!((letter.account, letter.key), (world.key.account, world.key.id));
    assert_eq!((letter.error_code.as_str(), letter.attempts), ("node_failed", 0));
    // Its key stands for nothing any more, but is remembered with the letter.
    let known = world
        .store
        .idempotent_job(world.key.namespace, "key:a", world.now())
        .await;
    assert_eq!(known.expect("an answer"), None);
    let (now, until) = (world.now(), world.now().after(Duration::from_mins(1)));
    let claimed = world.store.claim_dead_letter(dead, None, now, until).await;
    let Claimed::Yours(work) = claimed.expect("an answer") else {
        unreachable!("nobody has it");
    };
    assert_eq!(
        (work.request.as_str(), work.work.as_str()),
        (r#"{"asked":1}"#, r#"{"work":1}"#)
    );
    assert_eq!(work.idempotency, Some(("key:a".to_owned(), B256::repeat_byte(9))));
    assert!(work.key_is_good && work.events == job);
    // One namespace can't fill the place.
    for _ in 0..MOST_OF_A_NAMESPACE + 5 {
        failed(world, kept(world, job, None), true).await;
    }
    assert_eq!(letters(world).await.len(), MOST_OF_A_NAMESPACE as usize);
    // They go with what is kept of their jobs.
    world.clock.advance(Duration::from_hours(25));
    world.store.purge(world.now()).await.expect("a purge");
    assert_eq!(letters(world).await.len(), 0);
}

async fn a_dead_letter_ends_once(world: &World) {
    let first = failed(world, kept(world, Some(EventSource::Response), None), true).await;
    let second = failed(world, kept(world, Some(EventSource::Job), None), true).await;
    let claim = |job, environment| {
        let (now, until) = (world.now(), world.now().after(Duration::from_mins(1)));
        let store = &world.store;
        async move {
            let claimed = store.claim_dead_letter(job, environment, now, until).await;
            claimed.expect("an answer")
        }
    };
    let elsewhere = Some(Environment::Mainnet);
    assert!(matches!(claim(first, elsewhere).await, Claimed::Unknown));
    assert!(matches!(claim(first, Some(HERE)).await, Claimed::Yours(_)));
    assert!(matches!(claim(first, None).await, Claimed::Taken));
    let drop_it = |job, environment| {
        let audit = audit(world, "job.drop");
        let store = &world.store;
        async move {
            store
                .drop_dead_letter(job, environment, audit)
                .await
                .expect("an answer")
        }
    };
    assert_eq!(drop_it(first, None).await, LetterEnded::Taken);
    world.store.give_back_dead_letter(first).await.expect("an answer");
    assert!(matches!(claim(first, None).await, Claimed::Yours(_)));
    // A claim of somebody who was lost runs out.
    world.clock.advance(Duration::from_mins(2));
    assert!(matches!(claim(first, None).await, Claimed::Yours(_)));
    let notification = NewNotification {
        id: NotificationId::new(&world.clock, &world.entropy),
        account: world.key.account,
        environment: Some(HERE),
        kind: "job.requeued".to_owned(),
        subject: first.to_string(),
        message: "It runs again.".to_owned(),
        now: world.now(),
    };
    let requeued = world
        .store
        .dead_letter_requeued(first, audit(world, "job.requeue"), notification.clone())
        .await;
    requeued.expect("an answer");
    assert!(matches!(claim(first, None).await, Claimed::Unknown));
    assert_eq!(drop_it(second, elsewhere).await, LetterEnded::Unknown);
    assert_eq!(drop_it(second, Some(HERE)).await, LetterEnded::Gone);
    assert_eq!(drop_it(second, None).await, LetterEnded::Unknown);
    assert_eq!(letters(world).await.len(), 0);
    assert_eq!(lines(world, AuditFilter::default()).await.len(), 2);
    an_inbox_is_counted(world, notification).await;
}

async fn an_inbox_is_counted(world: &World, expected: NewNotification) {
    let account = world.key.account;
    let filter = |unread| NotificationFilter {
        account,
        environment: Some(HERE),
        unread,
        after: None,
        ascending: false,
        limit: 10,
    };
    let found = world.store.notifications(filter(true)).await.expect("an inbox");
    let found: Vec<_> = found
        .into_iter()
        .map(|record| (record.notification, record.read_at))
        .collect();
    assert_eq!(found, [(expected.clone(), None)]);
    let unread = |environment| {
        let store = &world.store;
        async move { store.unread_notifications(account, environment).await.expect("a count") }
    };
    let read = Read::These(vec![expected.id]);
    for (environment, left) in [(Some(Environment::Mainnet), 1), (None, 0)] {
        let read = world
            .store
            .read_notifications(account, environment, read.clone(), world.now());
        read.await.expect("an answer");
        assert_eq!(unread(None).await, left);
    }
    assert_eq!(
        world.store.notifications(filter(true)).await.expect("an inbox").len(),
        0
    );
    assert_eq!(
        world.store.notifications(filter(false)).await.expect("an inbox").len(),
        1
    );
}

async fn change(world: &World, suspended: Option<bool>, role: Option<Role>) -> AccountChanged {
    let change = AccountChange {
        id: world.key.account,
        suspended,
        role,
        audit: audit(world, "account.change"),
    };
    world.store.change_account(change).await.expect("an answer")
}

async fn a_suspended_account_admits_nothing(world: &World) {
    let admit = || async {
        let job = world.new_job(micros(1));
        world.store.reserve_and_enqueue(job, None).await.expect("an answer")
    };
    let suspended = || async {
        let tenant = world.tenant("main");
        let key = world.store.key(tenant.key_hash).await.expect("an answer");
        let key = key.expect("the key");
        assert!(!key.revoked);
        key.suspended
    };
    let running = world.leased(micros(10)).await;
    for _ in 0..2 {
        assert!(matches!(change(world, Some(true), None).await, AccountChanged::Done(_)));
    }
    assert_eq!((admit().await, suspended().await), (Admission::AccountSuspended, true));
    // What is under way goes on.
    let settle = world.settle_of(running, micros(4));
    world.store.settle(settle).await.expect("an end");
    let filter = |suspended| AccountFilter {
        suspended: Some(suspended),
        search: Some("MAIN".to_owned()),
        limit: 10,
        ..AccountFilter::default()
    };
    assert_eq!(world.store.accounts(filter(true)).await.expect("accounts").len(), 1);
    assert_eq!(world.store.accounts(filter(false)).await.expect("accounts").len(), 0);
    assert!(matches!(
        change(world, Some(false), None).await,
        AccountChanged::Done(_)
    ));
    assert_eq!((admit().await, suspended().await), (Admission::Admitted, false));
    assert_eq!(lines(world, AuditFilter::default()).await.len(), 2);
}

async fn an_administrator_stays(world: &World) {
    let is_admin = |changed| matches!(changed, AccountChanged::Done(account) if account.role == Role::Admin);
    assert!(is_admin(change(world, None, Some(Role::Admin)).await));
    let last = AccountChanged::LastAdministrator;
    assert_eq!(change(world, Some(true), None).await, last);
    assert_eq!(change(world, None, Some(Role::User)).await, last);
    let other = world
        .store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant");
    let promote = AccountChange {
        id: other.account,
        suspended: None,
        role: Some(Role::Admin),
        audit: audit(world, "account.role"),
    };
    assert!(is_admin(world.store.change_account(promote).await.expect("an answer")));
    assert!(is_admin(change(world, Some(true), None).await));
    let demote = AccountChange {
        id: other.account,
        suspended: None,
        role: Some(Role::User),
        audit: audit(world, "account.role"),
    };
    let demoted = world.store.change_account(demote).await.expect("an answer");
    assert_eq!(demoted, last, "one who is suspended is none");
    let totals = world.store.totals(HERE, world.now()).await.expect("totals");
    assert_eq!((totals.accounts, totals.suspended, totals.administrators), (2, 1, 2));
    assert_eq!((totals.issued, totals.available), (START, START));
}
