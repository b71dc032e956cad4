//! What administrators see and do, in-process and over HTTP: the contract, the intake, dead letters, suspended accounts, plans.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::num::NonZeroU32;

use harness::api::{Api, chat};
use harness::gate::{account, administrator};
use harness::node::TestNode;
use harness::{TestServer, balance, model, soon};
use resultity_client::GateClient;
use resultity_core::api::gate::{
    AdminAccountsApi, AuditApi, AuditQuery, ChangeAccount, ChoosePlan, DeadLetter, DeadLetterAction, DeadLetterQuery,
    DeadLettersApi, GateApi, InEnvironment, IntakeApi, NotificationQuery, NotificationsApi, OverviewApi, PlansApi,
    PutPlan, QueueApi, ReadNotifications, SetIntake,
};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use resultity_core::testing::gate::administration;
use resultity_core::wire::FailureCode;
use resultity_server::assemble::Offer;
use resultity_server::store::KeyLimits;
use secrecy::ExposeSecret;
use serde_json::json;

const HERE: Environment = Environment::Testnet;

fn code<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> ErrorCode {
    answer.unwrap_err().code
}

#[tokio::test]
async fn the_contract_holds_in_process_and_over_http() {
    let server = TestServer::start().await;
    let (_, admin, _) = administrator(&server, "admin").await;
    let (id, user, _) = account(&server, "in-process").await;
    soon("the contract", administration::all(&admin, &user, id)).await;
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let (id, _, user) = account(&server, "over-http").await;
    soon("the contract", administration::all(&admin, &user, id)).await;
}

#[tokio::test]
async fn a_stopped_intake_refuses_new_jobs_over_a_restart_and_lets_old_ones_end() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let api = Api::new(&server);
    let mut node = TestNode::ready(&server.io_url(), "m", 2).await;
    server.until_served("m").await;
    let (running, job) = tokio::join!(
        api.post("/v1/jobs", json!({"endpoint": "/v1/chat/completions", "body": chat()})),
        node.next_job()
    );
    let running = running.json()["id"].as_str().unwrap().to_owned();
    let stop = SetIntake::stop(HERE, "a test").message("back at noon");
    admin.set_intake(stop).await.unwrap();

    for (path, body) in [
        ("/v1/chat/completions", chat()),
        ("/v1/jobs", json!({"endpoint": "/v1/chat/completions", "body": chat()})),
        (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "background": true}),
        ),
    ] {
        let refused = api.post(path, body).await;
        assert_eq!(refused.status, 503, "{path}: {}", refused.body);
        assert_eq!(refused.header("retry-after"), Some("60"), "{path}");
        assert!(refused.body.contains("back at noon"), "{path}: {}", refused.body);
        assert!(
            !refused.body.contains("a test"),
            "the reason is for administrators: {}",
            refused.body
        );
    }
    // What is under way ends, and the server is ready all the same.
    node.answer(&job, "done").await;
    api.until(&running, "succeeded").await;
    assert_eq!(api.call(reqwest::Method::GET, "/readyz", &[], None).await.status, 200);
    assert_eq!(api.get("/v1/models").await["data"].as_array().unwrap().len(), 1);

    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let api = Api::new(&server);
    assert_eq!(api.post("/v1/chat/completions", chat()).await.status, 503);
    let (_, _, admin) = administrator(&server, "second").await;
    assert!(admin.intake(HERE.into()).await.unwrap().stopped);
    admin.set_intake(SetIntake::reopen(HERE, "over")).await.unwrap();
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let (answer, ()) = tokio::join!(api.post("/v1/chat/completions", chat()), async {
        let job = node.next_job().await;
        node.answer(&job, "hello").await;
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A server with a background job that its only node failed, and an administrator.
async fn with_a_dead_letter() -> (TestServer, GateClient, JobId, TestNode) {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let id = a_failed_job(&server, &mut node, &[]).await;
    (server, admin, id, node)
}

async fn a_failed_job(server: &TestServer, node: &mut TestNode, headers: &[(&str, &str)]) -> JobId {
    let api = Api::new(server);
    let body = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let made = api.call(reqwest::Method::POST, "/v1/jobs", headers, Some(body)).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let job = node.next_job().await;
    let failure = node.failure(&job, FailureCode::EngineUnavailable);
    node.send(failure).await;
    api.until(&id, "failed").await;
    id.parse().unwrap()
}

async fn letters(admin: &GateClient) -> Vec<DeadLetter> {
    admin.dead_letters(DeadLetterQuery::default()).await.unwrap().data
}

#[tokio::test]
async fn a_dead_letter_runs_again_as_a_job_with_a_hold_of_its_own() {
    let (server, admin, failed, mut node) = with_a_dead_letter().await;
    let found = letters(&admin).await;
    assert_eq!(found.iter().map(|letter| letter.job).collect::<Vec<_>>(), [failed]);
    assert_eq!((found[0].model.as_str(), found[0].attempts), ("m", 1));
    assert!(
        !serde_json::to_string(&found).unwrap().contains("hello"),
        "what was asked is nobody's business"
    );

    let because = DeadLetterAction::because("the node is well again");
    let requeued = admin.requeue_dead_letter(failed, because.clone()).await.unwrap();
    assert_eq!(requeued.job, failed);
    assert_ne!(requeued.requeued_as, failed);
    assert_eq!(
        code(admin.requeue_dead_letter(failed, because).await),
        ErrorCode::NotFound
    );
    assert!(balance(&*server.store, server.principal.namespace).await.held > Credits::ZERO);
    let job = node.next_job().await;
    assert_eq!(job.job_id, requeued.requeued_as);
    node.answer(&job, "at last").await;
    let api = Api::new(&server);
    let done = api.until(&requeued.requeued_as.to_string(), "succeeded").await;
    assert_eq!(done["result"]["choices"][0]["message"]["content"], "at last");
    let old = api.get(&format!("/v1/jobs/{failed}")).await;
    assert_eq!(old["status"], "failed");
    assert_eq!(letters(&admin).await, Vec::new());
    let report = server.store.audit().await.unwrap();
    assert_eq!((report.problems.len(), report.open_holds), (0, 0));

    let log = AuditQuery {
        action: Some("job.requeue".into()),
        ..AuditQuery::default()
    };
    let log = admin.audit_log(log).await.unwrap().data;
    assert_eq!(log[0].subject, format!("job:{failed}"));
    assert_eq!(log[0].reason, "the node is well again");
    assert_eq!(log[0].after, Some(json!({"requeued_as": requeued.requeued_as})));
}

#[tokio::test]
async fn of_many_who_requeue_a_dead_letter_at_once_one_does() {
    let (server, admin, failed, _node) = with_a_dead_letter().await;
    let tries = (0..8).map(|_| admin.requeue_dead_letter(failed, DeadLetterAction::default()));
    let outcomes = futures::future::join_all(tries).await;
    let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(
            matches!(error.code, ErrorCode::Conflict | ErrorCode::NotFound),
            "{error}"
        );
    }
    let jobs = Api::new(&server).get("/v1/jobs").await;
    assert_eq!(jobs["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_caller_who_asked_again_is_not_charged_twice() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let key = [("idempotency-key", "mine")];
    let failed = a_failed_job(&server, &mut node, &key).await;
    // The same again by the caller, before the administrator looks.
    let api = Api::new(&server);
    let body = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let again = api
        .call(reqwest::Method::POST, "/v1/jobs", &key, Some(body))
        .await
        .json();
    assert_ne!(again["id"], failed.to_string());
    let requeued = admin
        .requeue_dead_letter(failed, DeadLetterAction::default())
        .await
        .unwrap();
    assert_eq!(requeued.requeued_as.to_string(), again["id"].as_str().unwrap());
}

#[tokio::test]
async fn a_dead_letter_that_cannot_run_stays_and_can_be_dropped() {
    let (server, admin, failed, _node) = with_a_dead_letter().await;
    admin.set_intake(SetIntake::stop(HERE, "a test")).await.unwrap();
    let requeue = || admin.requeue_dead_letter(failed, DeadLetterAction::default());
    assert_eq!(code(requeue().await), ErrorCode::NoCapacity);
    admin.set_intake(SetIntake::reopen(HERE, "a test")).await.unwrap();
    let now = resultity_core::clock::Clock::now(&resultity_core::clock::SystemClock);
    server.store.revoke_key(server.principal.key, now).await.unwrap();
    assert_eq!(code(requeue().await), ErrorCode::Conflict);
    assert_eq!(letters(&admin).await.len(), 1);

    let elsewhere: DeadLetterAction = serde_json::from_value(json!({"environment": "mainnet"})).unwrap();
    assert_eq!(
        code(admin.drop_dead_letter(failed, elsewhere.clone()).await),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(admin.requeue_dead_letter(failed, elsewhere).await),
        ErrorCode::NotFound
    );
    assert!(
        admin
            .drop_dead_letter(failed, DeadLetterAction::default())
            .await
            .unwrap()
            .dropped
    );
    let dropped = admin.drop_dead_letter(failed, DeadLetterAction::default()).await;
    assert_eq!(code(dropped), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_suspended_account_can_do_nothing_at_once() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let (id, _, user) = account(&server, "user").await;
    assert!(user.notifications(NotificationQuery::default()).await.is_ok());
    let key = server.another_key("user", KeyLimits::default()).await;
    let mut api = Api::new(&server);
    key.expose_secret().clone_into(&mut api.key);
    let owner = server.store.account("user").await.unwrap().unwrap();
    assert_eq!(
        api.call(reqwest::Method::GET, "/v1/models", &[], None).await.status,
        200
    );
    for account in [id, owner] {
        admin
            .change_account(account, ChangeAccount::suspend("abuse"))
            .await
            .unwrap();
    }
    assert_eq!(
        code(user.notifications(NotificationQuery::default()).await),
        ErrorCode::NotSignedIn
    );
    let models = api.call(reqwest::Method::GET, "/v1/models", &[], None).await;
    let refused = api.post("/v1/chat/completions", chat()).await;
    for answer in [models, refused] {
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["error"]["code"], "account_suspended", "{}", answer.body);
    }
    for account in [id, owner] {
        admin
            .change_account(account, ChangeAccount::restore("a mistake"))
            .await
            .unwrap();
    }
    assert_eq!(
        code(user.notifications(NotificationQuery::default()).await),
        ErrorCode::NotSignedIn,
        "what somebody else may hold is not revived"
    );
    assert_eq!(
        api.call(reqwest::Method::GET, "/v1/models", &[], None).await.status,
        200
    );
}

#[tokio::test]
async fn nobody_suspends_their_own_account_or_the_last_administrator() {
    let server = TestServer::start().await;
    let (id, _, admin) = administrator(&server, "admin").await;
    for change in [
        ChangeAccount::suspend("me"),
        ChangeAccount::role(resultity_core::api::gate::Role::User, "me"),
    ] {
        assert_eq!(code(admin.change_account(id, change).await), ErrorCode::Conflict);
    }
    let operator = GateClient::builder()
        .base_url(format!("{}/gate/v1", server.base_url()))
        .admin_token("admin")
        .max_retries(0)
        .build()
        .unwrap();
    let suspended = operator.change_account(id, ChangeAccount::suspend("them")).await;
    assert_eq!(code(suspended), ErrorCode::Conflict);
    assert!(operator.account_of(id).await.unwrap().suspended_at.is_none());
}

#[tokio::test]
async fn an_inbox_is_nobody_elses() {
    let (server, admin, failed, _node) = with_a_dead_letter().await;
    admin
        .requeue_dead_letter(failed, DeadLetterAction::default())
        .await
        .unwrap();
    // The key of the test server belongs to an account that nobody signs in to: look at it in the store.
    let owner = server.principal.account;
    let token = harness::gate::sign_in(&server, owner).await;
    let owner = harness::gate::client_with(&server, &token);
    let (_, _, other) = account(&server, "other").await;
    let told = owner.notifications(NotificationQuery::default()).await.unwrap().data;
    assert_eq!((told.len(), told[0].kind.as_str()), (1, "job.requeued"));
    assert_eq!(
        other.notifications(NotificationQuery::default()).await.unwrap().data,
        Vec::new()
    );
    for read in [
        ReadNotifications::these([told[0].id]),
        ReadNotifications::up_to(told[0].id),
    ] {
        other.read_notifications(read).await.unwrap();
        assert_eq!(owner.unread_notifications().await.unwrap().unread, 1);
    }
    assert_eq!(
        owner
            .read_notifications(ReadNotifications::these([told[0].id]))
            .await
            .unwrap()
            .unread,
        0
    );
    let many = ReadNotifications::these(std::iter::repeat_n(told[0].id, 101));
    assert_eq!(code(owner.read_notifications(many).await), ErrorCode::InvalidValue);
}

#[tokio::test]
async fn a_plan_gives_credits_once_a_month_and_limits_at_once() {
    let server = TestServer::start().await;
    let (_, _, admin) = administrator(&server, "admin").await;
    let plan = PutPlan::new(HERE, "small", "Small")
        .monthly_credits(Credits::from_whole(5))
        .limits(NonZeroU32::new(1), None);
    admin.put_plan(plan).await.unwrap();
    let token = harness::gate::sign_in(&server, server.principal.account).await;
    let user = harness::gate::client_with(&server, &token);
    let before = server.balance().await.available;
    // Many at once, and another time: the credits of the month come once.
    let choose = || user.choose_plan(ChoosePlan::new(HERE, "small"));
    for chosen in futures::future::join_all((0..5).map(|_| choose())).await {
        assert_eq!(chosen.unwrap().plan.unwrap().name, "small");
    }
    let given = server.balance().await.available.checked_sub(before);
    assert_eq!(given, Some(Credits::from_whole(5)));

    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    let (first, ()) = tokio::join!(api.post("/v1/chat/completions", chat()), async {
        let job = node.next_job().await;
        node.answer(&job, "hello").await;
    });
    assert_eq!(first.status, 200, "{}", first.body);
    let second = api.post("/v1/chat/completions", chat()).await;
    assert_eq!(second.status, 429, "{}", second.body);
    assert!(second.body.contains("this namespace"), "{}", second.body);

    let (_, _, other) = account(&server, "other").await;
    let foreign = ChoosePlan::new(HERE, "small").namespace(server.principal.namespace);
    assert_eq!(code(other.choose_plan(foreign).await), ErrorCode::NotFound);
    let elsewhere = InEnvironment::from(Environment::Mainnet);
    assert_eq!(code(user.account_plan(elsewhere).await), ErrorCode::NotFound);
}

#[tokio::test]
async fn queues_are_counted_by_model_and_class() {
    let (server, admin, _, mut node) = with_a_dead_letter().await;
    let api = Api::new(&server);
    let first = api.post("/v1/jobs", json!({"endpoint": "/v1/chat/completions", "body": chat()}));
    let (_, job) = tokio::join!(first, node.next_job());
    node.accept(&job).await;
    let bulk = [("x-resultity-priority", "bulk")];
    let body = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    api.call(reqwest::Method::POST, "/v1/jobs", &bulk, Some(body)).await;
    let health = admin.queue_health(HERE.into()).await.unwrap();
    assert_eq!((health.total.waiting_normal, health.total.waiting_bulk), (0, 1));
    assert_eq!(
        (health.total.running, health.total.nodes, health.total.slots),
        (1, 1, 1)
    );
    assert!(health.total.oldest_wait_ms.is_some());
    assert_eq!(health.models.len(), 1);
    assert_eq!(
        (health.models[0].model.as_str(), health.models[0].ended.failed),
        ("m", 1)
    );
    assert!((health.ended[2].failure_rate - 1.0).abs() < f64::EPSILON);
    let overview = admin.overview(HERE.into()).await.unwrap();
    assert_eq!((overview.dead_letters, overview.models_served), (1, 1));
    assert_eq!((overview.queue.waiting_bulk, overview.queue.running), (1, 1));
    assert_eq!(api.call(reqwest::Method::GET, "/metrics", &[], None).await.status, 200);
}

#[tokio::test]
async fn bad_input_is_named_and_changes_nothing() {
    let server = TestServer::start().await;
    let mut api = Api::new(&server);
    api.key = "admin".into();
    let long = "x".repeat(501);
    for (path, body, param) in [
        ("intake", json!({"stopped": "yes", "reason": "r"}), Some("stopped")),
        ("intake", json!({"stopped": true}), Some("reason")),
        ("intake", json!({"stopped": true, "reason": long}), Some("reason")),
        (
            "intake",
            json!({"stopped": true, "reason": "r", "environment": "moonnet"}),
            Some("environment"),
        ),
        (
            "intake",
            json!({"stopped": true, "reason": "r", "message": "x".repeat(201)}),
            Some("message"),
        ),
        ("intake", json!({"stopped": true, "reason": "r", "for": 5}), None),
        ("plans", json!({"name": "../x", "title": "t"}), Some("name")),
        ("plans", json!({"name": "x", "title": ""}), Some("title")),
        (
            "plans",
            json!({"name": "x", "title": "t", "requests_per_minute": 0}),
            Some("requests_per_minute"),
        ),
        (
            "plans",
            json!({"name": "x", "title": "t", "monthly_credits": "-1"}),
            Some("monthly_credits"),
        ),
        (
            "plans",
            json!({"name": "x", "title": "t", "monthly_credits": "1e9"}),
            Some("monthly_credits"),
        ),
        (
            "plans",
            json!({"name": "x", "title": "t", "monthly_credits": "1000001"}),
            Some("monthly_credits"),
        ),
    ] {
        let said = api.post(&format!("/gate/v1/admin/{path}"), body.clone()).await;
        assert_eq!(said.status, 400, "{path} {body}: {}", said.body);
        if let Some(param) = param {
            assert_eq!(said.json()["error"]["param"], param, "{path} {body}: {}", said.body);
        }
    }
    for (path, status) in [
        ("audit?actor=somebody", 400),
        ("audit?from=9223372036854775807", 400),
        ("audit?after=nothing", 400),
        ("audit?limit=many", 400),
        ("audit?action=%27%20OR%201=1--", 200),
        ("queue?environment=mainnet", 404),
        ("queue?environment=moonnet", 400),
        ("accounts?search=%25", 200),
        ("accounts/none", 404),
        ("accounts/00000000-0000-0000-0000-000000000000", 404),
    ] {
        let said = api
            .call(reqwest::Method::GET, &format!("/gate/v1/admin/{path}"), &[], None)
            .await;
        assert_eq!(said.status, status, "{path}: {}", said.body);
    }
    let none = api
        .call(reqwest::Method::DELETE, "/gate/v1/admin/dead-letters/none", &[], None)
        .await;
    assert_eq!(none.status, 404, "{}", none.body);
    for group in ["intake.", "plan.", "account.", "job."] {
        let log = api.get(&format!("/gate/v1/admin/audit?action={group}")).await;
        assert_eq!(log["data"], json!([]), "what was refused is nothing that was done");
    }
    // The operator has no inbox, and says so.
    let inbox = api
        .call(reqwest::Method::GET, "/gate/v1/notifications", &[], None)
        .await;
    assert_eq!(inbox.status, 403, "{}", inbox.body);
}

/// Takes any implementation, as the contract does.
#[tokio::test]
async fn the_whole_gate_is_one_trait() {
    let server = TestServer::start().await;
    let (_, session, client) = account(&server, "user").await;
    let apis: [&dyn GateApi; 2] = [&session, &client];
    for api in apis {
        assert_eq!(api.unread_notifications().await.unwrap().unread, 0);
    }
}
