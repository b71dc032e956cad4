//! Deliveries of webhooks: what is due to whom, and what becomes of it.

use std::time::Duration;

use futures::{StreamExt, stream};
use resultity_core::api::webhooks::DeliveryState;
use resultity_core::environment::Environment;
use resultity_core::webhook::EventType;

use super::Scenario;
use super::webhooks::{due, end, event, log, made, new_webhook, page, told};
use super::world::World;
use crate::store::admin_accounts::{AccountChange, AccountChanged};
use crate::store::webhooks::{AttemptOutcome, MAX_PENDING, NewEvent, NewWebhook, Replayed, WebhookChange};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
    ("a receiver that is gone is told nothing more", |world| {
        Box::pin(a_receiver_that_is_gone_is_told_nothing_more(world))
    }),
    ("no namespace takes all of what is due", |world| {
        Box::pin(no_namespace_takes_all_of_what_is_due(world))
    }),
    ("one with many deliveries is deleted with all", |world| {
        Box::pin(one_with_many_deliveries_is_deleted_with_all(world))
    }),
    ("a delivery is sent again by hand", |world| {
        Box::pin(a_delivery_is_sent_again_by_hand(world))
    }),
    ("no webhook takes all of what is due", |world| {
        Box::pin(no_webhook_takes_all_of_what_is_due(world))
    }),
    ("what is a suspended account's waits", |world| {
        Box::pin(what_is_a_suspended_accounts_waits(world))
    }),
    ("old deliveries are forgotten", |world| {
        Box::pin(old_deliveries_are_forgotten(world))
    }),
];

async fn a_receiver_that_is_gone_is_told_nothing_more(world: &World) {
    let webhook = made(world, new_webhook(world, &[])).await;
    for data_id in ["a", "b", "c"] {
        told(world, EventType::JobFailed, data_id).await;
    }
    let under_way = due(world).await;
    end(world, &under_way[0].delivery, AttemptOutcome::Gone, 410).await;
    assert_eq!(due(world).await, []);
    assert_eq!(told(world, EventType::JobFailed, "d").await, 0);
    // What was under way ends: delivered counts, a failure does not bring it back.
    let now = world.now();
    end(world, &under_way[1].delivery, AttemptOutcome::Delivered, 200).await;
    end(world, &under_way[2].delivery, AttemptOutcome::Again(now), 500).await;
    assert_eq!(due(world).await, []);
    let states: Vec<_> = log(world, webhook.id).await.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [DeliveryState::Failed, DeliveryState::Delivered, DeliveryState::Failed]
    );
    let record = world.store.webhook(world.key.namespace, webhook.id).await;
    assert!(!record.expect("an answer").expect("the webhook").enabled);
}

async fn a_delivery_is_sent_again_by_hand(world: &World) {
    let (store, namespace) = (&world.store, world.key.namespace);
    let webhook = made(world, new_webhook(world, &[])).await;
    told(world, EventType::JobFailed, "a").await;
    let first = due(world).await.remove(0).delivery;
    end(world, &first, AttemptOutcome::GivenUp, 500).await;
    let mut changes = store.events_enqueued();
    let now = world.now();
    let replay = || store.replay_delivery(namespace, webhook.id, first.id, now);
    let Replayed::Pending(replayed) = replay().await.expect("an answer") else {
        unreachable!("it is there and the webhook is enabled")
    };
    changes.changed().await.expect("what is to be sent is announced");
    assert_eq!((replayed.state, replayed.event), (DeliveryState::Pending, first.event));
    assert_eq!((replayed.attempts, replayed.step), (1, 0));
    let again: Vec<_> = due(world).await.into_iter().map(|due| due.delivery).collect();
    assert_eq!(again, std::slice::from_ref(&replayed));
    // While it is pending nothing is added.
    assert_eq!(replay().await.expect("an answer"), Replayed::Pending(replayed.clone()));
    end(world, &replayed, AttemptOutcome::Delivered, 200).await;
    assert_eq!(due(world).await, []);
    let off = WebhookChange {
        enabled: Some(false),
        ..WebhookChange::default()
    };
    store
        .update_webhook(namespace, webhook.id, off)
        .await
        .expect("an answer");
    assert_eq!(replay().await.expect("an answer"), Replayed::Disabled);
}

async fn no_webhook_takes_all_of_what_is_due(world: &World) {
    let store = &world.store;
    let busy = made(world, new_webhook(world, &[EventType::JobFailed])).await;
    for number in 0..10 {
        told(world, EventType::JobFailed, &number.to_string()).await;
    }
    let quiet = made(world, new_webhook(world, &[EventType::BatchFailed])).await;
    told(world, EventType::BatchFailed, "b").await;
    let (environment, now) = (world.key.environment, world.now());
    let some = store.due_deliveries(environment, now, 3, 100).await.expect("an answer");
    let of = |id| some.iter().filter(|due| due.webhook.id == id).count();
    assert_eq!((of(busy.id), of(quiet.id)), (3, 1));
    assert_eq!(some[0].delivery.data_id, "0");
    let two = store.due_deliveries(environment, now, 3, 2).await.expect("an answer");
    assert_eq!(two, some[..2]);
    let other = store.due_deliveries(Environment::Mainnet, now, 3, 100).await;
    assert_eq!(other.expect("an answer"), []);
    // Beyond the limit an event is recorded, but does not wait.
    let waiting = (10..MAX_PENDING).map(|number| async move {
        let number = number.to_string();
        told(world, EventType::JobFailed, &number).await
    });
    let told_to = stream::iter(waiting).buffer_unordered(256);
    assert_eq!(told_to.collect::<Vec<_>>().await.len(), MAX_PENDING as usize - 10);
    told(world, EventType::JobFailed, &MAX_PENDING.to_string()).await;
    let newest = store
        .deliveries(world.key.namespace, busy.id, page(1, None, false))
        .await;
    let newest = newest.expect("an answer").remove(0);
    assert_eq!(
        (newest.state, newest.data_id),
        (DeliveryState::Failed, MAX_PENDING.to_string())
    );
}

async fn no_namespace_takes_all_of_what_is_due(world: &World) {
    let store = &world.store;
    for _ in 0..3 {
        made(world, new_webhook(world, &[])).await;
    }
    for number in 0..4 {
        told(world, EventType::JobFailed, &number.to_string()).await;
    }
    let other = store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant")
        .namespace;
    let of_other = NewWebhook {
        namespace: other,
        ..new_webhook(world, &[])
    };
    let of_other = made(world, of_other).await;
    let late = NewEvent {
        namespace: other,
        ..event(world, EventType::JobFailed, "late")
    };
    store.enqueue_event(late).await.expect("an answer");
    let (environment, now) = (world.key.environment, world.now());
    let first = store.due_deliveries(environment, now, 8, 2).await.expect("an answer");
    assert!(first.iter().any(|due| due.webhook.id == of_other.id), "{first:#?}");
}

async fn one_with_many_deliveries_is_deleted_with_all(world: &World) {
    let (store, namespace) = (&world.store, world.key.namespace);
    let webhook = made(world, new_webhook(world, &[])).await;
    let events = (0..2_500).map(|number| async move { told(world, EventType::JobFailed, &number.to_string()).await });
    let told_to = stream::iter(events).buffer_unordered(256);
    assert_eq!(told_to.collect::<Vec<_>>().await.len(), 2_500);
    let disabled = WebhookChange {
        enabled: Some(false),
        ..WebhookChange::default()
    };
    store
        .update_webhook(namespace, webhook.id, disabled)
        .await
        .expect("an answer");
    assert!(store.delete_webhook(namespace, webhook.id).await.expect("an answer"));
    assert!(!store.delete_webhook(namespace, webhook.id).await.expect("an answer"));
    assert_eq!(due(world).await, []);
    assert_eq!(log(world, webhook.id).await, []);
}

async fn old_deliveries_are_forgotten(world: &World) {
    let store = &world.store;
    let webhook = made(world, new_webhook(world, &[])).await;
    for data_id in ["a", "b", "c"] {
        told(world, EventType::JobFailed, data_id).await;
    }
    let old = due(world).await;
    end(world, &old[0].delivery, AttemptOutcome::Delivered, 200).await;
    end(world, &old[1].delivery, AttemptOutcome::GivenUp, 500).await;
    world.clock.advance(Duration::from_secs(1));
    let cut = world.now();
    told(world, EventType::JobFailed, "d").await;
    let new = due(world).await.pop().expect("the newest").delivery;
    end(world, &new, AttemptOutcome::Delivered, 200).await;
    assert_eq!(store.forget_deliveries(cut, 1).await.expect("an answer"), 1);
    assert_eq!(store.forget_deliveries(cut, 100).await.expect("an answer"), 1);
    let left: Vec<_> = log(world, webhook.id)
        .await
        .into_iter()
        .map(|one| one.data_id)
        .collect();
    assert_eq!(left, ["c", "d"]);
}

async fn what_is_a_suspended_accounts_waits(world: &World) {
    made(world, new_webhook(world, &[])).await;
    told(world, EventType::JobFailed, "a").await;
    let mut enqueued = world.store.events_enqueued();
    for (suspended, waiting) in [(true, 0), (false, 1)] {
        enqueued.borrow_and_update();
        let change = AccountChange {
            id: world.key.account,
            suspended: Some(suspended),
            role: None,
            audit: world.audit_line(),
        };
        let changed = world.store.change_account(change).await.expect("an answer");
        assert!(matches!(changed, AccountChanged::Done(_)), "{changed:?}");
        assert_eq!(due(world).await.len(), waiting);
        if !suspended {
            enqueued.changed().await.expect("whoever sends is told");
        }
    }
}
