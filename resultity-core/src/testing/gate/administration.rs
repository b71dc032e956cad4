//! The contract of what administrators see and decide, and of what every account has beside its own objects: an inbox and a
//! plan.

use std::num::NonZeroU32;

use crate::api::gate::{
    AccountsQuery, AuditQuery, ChangeAccount, ChoosePlan, DeadLetterAction, DeadLetterQuery, GateApi, InEnvironment,
    NotificationQuery, PutPlan, ReadNotifications, Role, SetIntake,
};
use crate::credits::Credits;
use crate::environment::Environment;
use crate::error::{ApiError, ErrorCode};
use crate::id::{AccountId, JobId};

/// What an account without power may do: nothing of an administrator's. Panics if it may.
pub async fn refused(api: &dyn GateApi) {
    eprintln!("contract: administration: refused");
    let here = InEnvironment::default();
    let job = JobId::from_uuid(uuid::Uuid::nil());
    let somebody = AccountId::from_uuid(uuid::Uuid::nil());
    let because = || DeadLetterAction::because("a test");
    let plan = PutPlan::new(Environment::Testnet, "mine", "Mine");
    let answers = [
        api.audit_log(AuditQuery::default()).await.err(),
        api.intake(here).await.err(),
        api.set_intake(SetIntake::stop(Environment::Testnet, "a test"))
            .await
            .err(),
        api.queue_health(here).await.err(),
        api.job_why(job, here).await.err(),
        api.overview(here).await.err(),
        api.dead_letters(DeadLetterQuery::default()).await.err(),
        api.requeue_dead_letter(job, because()).await.err(),
        api.drop_dead_letter(job, because()).await.err(),
        api.accounts(AccountsQuery::default()).await.err(),
        api.account_of(somebody).await.err(),
        api.change_account(somebody, ChangeAccount::suspend("a test"))
            .await
            .err(),
        api.put_plan(plan).await.err(),
        api.delete_plan("mine", here).await.err(),
        api.give_plan(somebody, ChoosePlan::new(Environment::Testnet, "mine"))
            .await
            .err(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let code = answer.map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::PermissionDenied), "number {number}");
    }
}

/// Runs all scenarios for an administrator, one after the other. `user` is another account that nobody else uses meanwhile.
/// Panics at the first that fails.
pub async fn all(admin: &dyn GateApi, user: &dyn GateApi, user_id: AccountId) {
    refused(user).await;
    eprintln!("contract: administration: the_intake_is_stopped_and_reopened");
    the_intake_is_stopped_and_reopened(admin).await;
    eprintln!("contract: administration: an_inbox_is_its_owners");
    an_inbox_is_its_owners(user).await;
    eprintln!("contract: administration: a_plan_is_chosen");
    a_plan_is_chosen(admin, user, user_id).await;
    // The last one: the user is signed out by it.
    eprintln!("contract: administration: an_account_is_changed");
    an_account_is_changed(admin, user_id).await;
}

fn code<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> (ErrorCode, Option<String>) {
    let error = answer.expect_err("this is refused");
    (error.code, error.param)
}

/// Both changes are in the audit log, the same again is not, and queues and overview say how it is. Panics if not.
pub async fn the_intake_is_stopped_and_reopened(api: &dyn GateApi) {
    let here = InEnvironment::from(Environment::Testnet);
    assert!(!api.intake(here).await.expect("the intake can be seen").stopped);
    let stop = SetIntake::stop(Environment::Testnet, "repairs").message("back at noon");
    for _ in 0..2 {
        let stopped = api.set_intake(stop.clone()).await.expect("the intake is stopped");
        assert_eq!((stopped.stopped, stopped.reason.as_deref()), (true, Some("repairs")));
        assert_eq!(stopped.message.as_deref(), Some("back at noon"));
        assert!(stopped.stopped_by.is_some() && stopped.stopped_at.is_some());
    }
    assert!(
        api.queue_health(here)
            .await
            .expect("the queues can be seen")
            .intake_stopped
    );
    let unknown = api.job_why(JobId::from_uuid(uuid::Uuid::nil()), here).await;
    assert_eq!(unknown.expect_err("there is no such job").code, ErrorCode::NotFound);
    let overview = api.overview(here).await.expect("the overview can be seen");
    assert!(overview.intake.stopped);
    let credits = overview.credits;
    let parts = [credits.available, credits.held, credits.earned, credits.fees];
    let sum = parts.into_iter().try_fold(Credits::ZERO, Credits::checked_add);
    assert_eq!(sum, Some(credits.issued));
    let reopened = api.set_intake(SetIntake::reopen(Environment::Testnet, "done")).await;
    assert!(!reopened.expect("the intake is reopened").stopped);
    let query = AuditQuery {
        action: Some("intake.".into()),
        limit: Some(3),
        ..AuditQuery::default()
    };
    let log = api.audit_log(query).await.expect("the audit log can be read").data;
    let actions: Vec<&str> = log.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["intake.reopen", "intake.stop"]);
    assert_eq!(
        log[1].before.as_ref().map(|before| &before["stopped"]),
        Some(&false.into())
    );
    assert_eq!(
        (log[0].reason.as_str(), log[0].environment),
        ("done", Some(Environment::Testnet))
    );
    let silent = api.set_intake(SetIntake::stop(Environment::Testnet, " ")).await;
    assert_eq!(code(silent), (ErrorCode::InvalidValue, Some("reason".into())));
}

/// It is found, suspended, which signs it out for good, and restored; what is not there is not found. Panics if not.
pub async fn an_account_is_changed(api: &dyn GateApi, user: AccountId) {
    let found = api.account_of(user).await.expect("the account is there");
    assert_eq!((found.role, found.suspended_at), (Role::User, None));
    let query = AccountsQuery {
        search: Some(found.name.to_uppercase()),
        ..AccountsQuery::default()
    };
    let listed = api.accounts(query).await.expect("accounts are listed").data;
    assert!(listed.contains(&found));
    let suspended = api.change_account(user, ChangeAccount::suspend("a test")).await;
    assert!(suspended.expect("it is suspended").suspended_at.is_some());
    let only = |suspended| AccountsQuery {
        suspended: Some(suspended),
        ..AccountsQuery::default()
    };
    for (suspended, is_there) in [(true, true), (false, false)] {
        let listed = api.accounts(only(suspended)).await.expect("accounts are listed").data;
        assert_eq!(listed.iter().any(|account| account.id == user), is_there);
    }
    let restored = api.change_account(user, ChangeAccount::restore("over")).await;
    assert_eq!(restored.expect("it is restored").suspended_at, None);
    let nobody = AccountId::from_uuid(uuid::Uuid::nil());
    let unknown = api.change_account(nobody, ChangeAccount::suspend("a test")).await;
    assert_eq!(code(unknown).0, ErrorCode::NotFound);
    let log = AuditQuery {
        subject: Some(format!("account:{user}")),
        ..AuditQuery::default()
    };
    let log = api.audit_log(log).await.expect("the audit log can be read").data;
    let actions: Vec<&str> = log.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions[..2], ["account.restore", "account.suspend"]);
}

/// It can be read by whoever it belongs to; what is asked has to be clear. Panics if not.
pub async fn an_inbox_is_its_owners(api: &dyn GateApi) {
    let all = api.notifications(NotificationQuery::default()).await;
    let unread = api
        .unread_notifications()
        .await
        .expect("the inbox can be counted")
        .unread;
    let all = all.expect("the inbox can be read").data;
    assert_eq!(
        all.iter().filter(|entry| entry.read_at.is_none()).count() as u64,
        unread
    );
    if let Some(newest) = all.first() {
        let left = api.read_notifications(ReadNotifications::up_to(newest.id)).await;
        assert_eq!(left.expect("all are read").unread, 0);
    }
    let nothing = api.read_notifications(ReadNotifications::default()).await;
    assert_eq!(code(nothing), (ErrorCode::InvalidValue, Some("ids".into())));
}

/// Plans are made, chosen, given and taken; those that are not open are not there for others. Panics if not.
pub async fn a_plan_is_chosen(admin: &dyn GateApi, user: &dyn GateApi, user_id: AccountId) {
    let here = InEnvironment::from(Environment::Testnet);
    let on = Environment::Testnet;
    let rate = NonZeroU32::new(60);
    let open = PutPlan::new(on, "contract-open", "Open").limits(rate, None);
    let closed = PutPlan::new(on, "contract-closed", "Closed").closed();
    assert_eq!(
        admin.put_plan(open).await.expect("a plan is made").requests_per_minute,
        rate
    );
    admin.put_plan(closed).await.expect("a plan is made");
    let names = |plans: &[crate::api::gate::Plan]| -> Vec<String> {
        let of_the_contract = plans.iter().filter(|plan| plan.name.starts_with("contract-"));
        of_the_contract.map(|plan| plan.name.clone()).collect()
    };
    let seen = user.plans(here).await.expect("plans are listed").data;
    assert_eq!(names(&seen), ["contract-open"]);
    let seen = admin.plans(here).await.expect("plans are listed").data;
    assert_eq!(names(&seen), ["contract-closed", "contract-open"]);

    assert_eq!(user.account_plan(here).await.expect("the plan can be seen").plan, None);
    let refused = user.choose_plan(ChoosePlan::new(on, "contract-closed")).await;
    assert_eq!(code(refused), (ErrorCode::NotFound, Some("plan".into())));
    let chosen = user.choose_plan(ChoosePlan::new(on, "contract-open")).await;
    let chosen = chosen.expect("an open plan can be chosen");
    assert_eq!(chosen.plan.map(|plan| plan.name), Some("contract-open".into()));
    let in_use = admin.delete_plan("contract-open", here).await;
    assert_eq!(code(in_use).0, ErrorCode::Conflict);
    let given = admin.give_plan(user_id, ChoosePlan::new(on, "contract-closed")).await;
    assert_eq!(
        given.expect("a plan is given").plan.map(|plan| plan.name),
        Some("contract-closed".into())
    );
    let none = user
        .choose_plan(ChoosePlan::none(on))
        .await
        .expect("a plan can be left");
    assert_eq!(none.plan, None);
    for name in ["contract-open", "contract-closed"] {
        assert!(admin.delete_plan(name, here).await.expect("it is deleted").deleted);
        assert_eq!(code(admin.delete_plan(name, here).await).0, ErrorCode::NotFound);
    }
    let bad = admin.put_plan(PutPlan::new(on, "No Name", "Bad")).await;
    assert_eq!(code(bad), (ErrorCode::InvalidValue, Some("name".into())));
}
