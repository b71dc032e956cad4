//! Webhooks, and what is to be sent to them.

use std::time::Duration;

use resultity_core::api::webhooks::DeliveryState;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{NamespaceId, WebhookId};
use resultity_core::webhook::EventType;

use super::Scenario;
use super::world::World;
use crate::store::webhooks::{
    AttemptEnd, AttemptOutcome, DeliveryRecord, DueDelivery, NewEvent, NewWebhook, PageOf, Replayed, WebhookChange,
    WebhookMade, WebhookRecord,
};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 6] = [
    ("webhooks are made up to a limit, changed and deleted", |world| {
        Box::pin(webhooks_are_made_changed_and_deleted(world))
    }),
    ("webhooks are listed by page", |world| {
        Box::pin(webhooks_are_listed_by_page(world))
    }),
    ("another namespace's webhook is not there", |world| {
        Box::pin(another_namespaces_webhook_is_not_there(world))
    }),
    ("an event is told to whom it concerns, once", |world| {
        Box::pin(an_event_is_told_to_whom_it_concerns_once(world))
    }),
    ("an attempt leads to its outcome", |world| {
        Box::pin(an_attempt_leads_to_its_outcome(world))
    }),
    ("a secret is followed by another", |world| {
        Box::pin(a_secret_is_followed_by_another(world))
    }),
];

pub(super) fn new_webhook(world: &World, events: &[EventType]) -> NewWebhook {
    NewWebhook {
        id: WebhookId::new(&world.clock, &world.entropy),
        namespace: world.key.namespace,
        environment: world.key.environment,
        url: "https://receiver.example/hook".to_owned(),
        description: "mine".to_owned(),
        events: events.to_vec(),
        enabled: true,
        secret: vec![1, 2, 3],
        now: world.now(),
    }
}

pub(super) async fn made(world: &World, webhook: NewWebhook) -> WebhookRecord {
    match world.store.create_webhook(webhook, u32::MAX).await.expect("an answer") {
        WebhookMade::Made(record) => record,
        WebhookMade::TooMany => unreachable!("there is no limit"),
    }
}

pub(super) fn event(world: &World, kind: EventType, data_id: &str) -> NewEvent {
    NewEvent {
        namespace: world.key.namespace,
        environment: world.key.environment,
        kind,
        data_id: data_id.to_owned(),
        now: world.now(),
    }
}

pub(super) async fn told(world: &World, kind: EventType, data_id: &str) -> u64 {
    let event = event(world, kind, data_id);
    world.store.enqueue_event(event).await.expect("an answer")
}

pub(super) async fn due(world: &World) -> Vec<DueDelivery> {
    let (environment, now) = (world.key.environment, world.now());
    let due = world.store.due_deliveries(environment, now, 100, 1000).await;
    due.expect("an answer")
}

pub(super) fn page<I>(limit: u32, after: Option<I>, ascending: bool) -> PageOf<I> {
    PageOf {
        after,
        ascending,
        limit,
    }
}

pub(super) async fn log(world: &World, webhook: WebhookId) -> Vec<DeliveryRecord> {
    let log = world
        .store
        .deliveries(world.key.namespace, webhook, page(1000, None, true));
    log.await.expect("an answer")
}

pub(super) async fn end(world: &World, delivery: &DeliveryRecord, outcome: AttemptOutcome, status: u16) {
    let end = AttemptEnd {
        delivery: delivery.id,
        outcome,
        status: Some(status),
        error: (outcome != AttemptOutcome::Delivered).then(|| "no".to_owned()),
        now: world.now(),
    };
    world.store.end_attempt(end).await.expect("an answer");
}

async fn webhooks_are_made_changed_and_deleted(world: &World) {
    let (store, namespace) = (&world.store, world.key.namespace);
    let wanted = new_webhook(world, &[EventType::BatchFailed, EventType::JobFailed]);
    let first = made(world, wanted.clone()).await;
    assert_eq!(
        first,
        WebhookRecord {
            id: wanted.id,
            url: wanted.url,
            description: wanted.description,
            events: wanted.events,
            enabled: true,
            secret: wanted.secret,
            previous: None,
            created_at: wanted.now,
        }
    );
    let another = store.create_webhook(new_webhook(world, &[]), 1).await;
    assert_eq!(another.expect("an answer"), WebhookMade::TooMany);
    assert_eq!(
        store.webhook(namespace, first.id).await.expect("an answer"),
        Some(first.clone())
    );
    let nothing = WebhookChange::default();
    let same = store.update_webhook(namespace, first.id, nothing).await;
    assert_eq!(same.expect("an answer"), Some(first.clone()));
    let change = WebhookChange {
        url: Some("https://elsewhere.example".to_owned()),
        description: Some(String::new()),
        events: Some(Vec::new()),
        enabled: Some(false),
    };
    let changed = WebhookRecord {
        url: "https://elsewhere.example".to_owned(),
        description: String::new(),
        events: Vec::new(),
        enabled: false,
        ..first.clone()
    };
    let answer = store.update_webhook(namespace, first.id, change).await;
    assert_eq!(answer.expect("an answer"), Some(changed));
    assert!(store.delete_webhook(namespace, first.id).await.expect("an answer"));
    assert!(!store.delete_webhook(namespace, first.id).await.expect("an answer"));
    assert_eq!(store.webhook(namespace, first.id).await.expect("an answer"), None);
}

async fn webhooks_are_listed_by_page(world: &World) {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(made(world, new_webhook(world, &[])).await);
    }
    for ascending in [true, false] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let part = world.store.webhooks(world.key.namespace, page(2, after, ascending));
            let part = part.await.expect("an answer");
            assert!(part.len() <= 2);
            let Some(last) = part.last() else { break };
            after = Some(last.id);
            seen.extend(part);
        }
        if !ascending {
            seen.reverse();
        }
        assert_eq!(seen, all);
    }
}

async fn another_namespaces_webhook_is_not_there(world: &World) {
    let store = &world.store;
    let webhook = made(world, new_webhook(world, &[])).await;
    assert_eq!(told(world, EventType::JobFailed, "j").await, 1);
    let delivery = log(world, webhook.id).await.remove(0);
    let other = NamespaceId::new(&world.clock, &world.entropy);
    let change = WebhookChange {
        enabled: Some(false),
        ..WebhookChange::default()
    };
    let now = world.now();
    assert_eq!(store.webhook(other, webhook.id).await.expect("an answer"), None);
    let listed = store.webhooks(other, page(10, None, true)).await.expect("an answer");
    assert_eq!(listed, []);
    let updated = store.update_webhook(other, webhook.id, change).await;
    assert_eq!(updated.expect("an answer"), None);
    let rotated = store.rotate_webhook(other, webhook.id, vec![9], now).await;
    assert_eq!(rotated.expect("an answer"), None);
    assert!(!store.delete_webhook(other, webhook.id).await.expect("an answer"));
    let deliveries = store.deliveries(other, webhook.id, page(10, None, true)).await;
    assert_eq!(deliveries.expect("an answer"), []);
    let one = store.delivery(other, webhook.id, delivery.id).await;
    assert_eq!(one.expect("an answer"), None);
    let replayed = store.replay_delivery(other, webhook.id, delivery.id, now).await;
    assert_eq!(replayed.expect("an answer"), Replayed::Unknown);
    let mut test = event(world, EventType::WebhookTest, "t");
    test.namespace = other;
    let tested = store.enqueue_test(webhook.id, test).await.expect("an answer");
    assert_eq!(tested, None);
    assert_eq!(
        store.webhook(world.key.namespace, webhook.id).await.expect("an answer"),
        Some(webhook.clone())
    );
    assert_eq!(log(world, webhook.id).await, [delivery]);
}

async fn an_event_is_told_to_whom_it_concerns_once(world: &World) {
    let store = &world.store;
    let mut changes = store.events_enqueued();
    assert_eq!(told(world, EventType::JobFailed, "nobody").await, 0);
    assert!(!changes.has_changed().expect("the store is there"));
    let all = made(world, new_webhook(world, &[])).await;
    let some = made(
        world,
        new_webhook(world, &[EventType::BatchFailed, EventType::JobFailed]),
    )
    .await;
    let off = NewWebhook {
        enabled: false,
        ..new_webhook(world, &[])
    };
    let off = made(world, off).await;
    let elsewhere = NewWebhook {
        environment: Environment::Mainnet,
        ..new_webhook(world, &[])
    };
    let elsewhere = made(world, elsewhere).await;
    assert_eq!(told(world, EventType::JobFailed, "j1").await, 2);
    changes.changed().await.expect("what is enqueued is announced");
    assert_eq!(told(world, EventType::BatchCompleted, "b1").await, 1);
    // A later repeat is the same thing.
    assert_eq!(told(world, EventType::JobFailed, "j1").await, 0);
    assert_eq!(told(world, EventType::JobSucceeded, "j1").await, 1);
    let (of_all, of_some) = (log(world, all.id).await, log(world, some.id).await);
    assert_eq!((of_all.len(), of_some.len()), (3, 1));
    assert_eq!(log(world, off.id).await, []);
    assert_eq!(log(world, elsewhere.id).await, []);
    // One event, two deliveries of it.
    assert_eq!(of_all[0].event, of_some[0].event);
    assert_ne!(of_all[0].id, of_some[0].id);
    assert_ne!(of_all[0].event, of_all[2].event);
    let one = &of_some[0];
    assert_eq!(
        (one.kind, one.data_id.as_str(), one.state, one.attempts),
        (EventType::JobFailed, "j1", DeliveryState::Pending, 0)
    );
    assert_eq!(one.next_attempt_at, Some(one.created_at));
    assert_eq!(due(world).await.len(), 4);
    // A test goes past the filter, but not to a webhook that is off.
    let test = || event(world, EventType::WebhookTest, "test_1");
    let tested = store.enqueue_test(some.id, test()).await.expect("an answer");
    assert_eq!(tested.expect("a delivery").kind, EventType::WebhookTest);
    assert_eq!(store.enqueue_test(off.id, test()).await.expect("an answer"), None);
}

async fn an_attempt_leads_to_its_outcome(world: &World) {
    let webhook = made(world, new_webhook(world, &[])).await;
    for data_id in ["a", "b", "c"] {
        told(world, EventType::JobFailed, data_id).await;
    }
    let first = due(world).await;
    assert_eq!(
        first
            .iter()
            .map(|due| due.delivery.data_id.as_str())
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert!(first.iter().all(|due| due.webhook == webhook));
    let later = world.now().after(Duration::from_mins(1));
    end(world, &first[0].delivery, AttemptOutcome::Delivered, 200).await;
    end(world, &first[1].delivery, AttemptOutcome::Again(later), 500).await;
    end(world, &first[2].delivery, AttemptOutcome::GivenUp, 404).await;
    assert_eq!(due(world).await, []);
    let now = world.now();
    let next = world.store.next_delivery_after(now).await.expect("an answer");
    assert_eq!(next, Some(later));
    let log = log(world, webhook.id).await;
    let seen: Vec<_> = log
        .iter()
        .map(|one| (one.state, one.last_status, one.last_error.as_deref(), one.attempts))
        .collect();
    assert_eq!(
        seen,
        [
            (DeliveryState::Delivered, Some(200), None, 1),
            (DeliveryState::Pending, Some(500), Some("no"), 1),
            (DeliveryState::Failed, Some(404), Some("no"), 1),
        ]
    );
    world.clock.advance(Duration::from_mins(2));
    let again = due(world).await;
    assert_eq!((again.len(), again[0].delivery.step), (1, 1));
    end(world, &again[0].delivery, AttemptOutcome::Delivered, 204).await;
    let now = world.now();
    let next = world.store.next_delivery_after(Timestamp::from_millis(0)).await;
    assert_eq!((next.expect("an answer"), due(world).await), (None, Vec::new()));
    let one = world.store.delivery(world.key.namespace, webhook.id, log[1].id).await;
    let one = one.expect("an answer").expect("the delivery");
    assert_eq!((one.attempts, one.last_error.as_deref()), (2, None));
    assert!(one.last_attempt_at.expect("it was sent") < now);
    // One that was deleted meanwhile is no error.
    let id = webhook.id;
    assert!(
        world
            .store
            .delete_webhook(world.key.namespace, id)
            .await
            .expect("an answer")
    );
    end(world, &log[1], AttemptOutcome::Delivered, 200).await;
}

async fn a_secret_is_followed_by_another(world: &World) {
    let store = &world.store;
    let webhook = made(world, new_webhook(world, &[])).await;
    for (number, secret) in [vec![4, 5], vec![6]].into_iter().enumerate() {
        let until = world.now().after(Duration::from_hours(1));
        let before = store.webhook(world.key.namespace, webhook.id).await.expect("an answer");
        let rotated = store
            .rotate_webhook(world.key.namespace, webhook.id, secret.clone(), until)
            .await
            .expect("an answer")
            .expect("the webhook");
        let previous = before.expect("the webhook").secret;
        assert_eq!(
            (rotated.secret, rotated.previous),
            (secret, Some((previous, until))),
            "rotation {number}"
        );
    }
}
