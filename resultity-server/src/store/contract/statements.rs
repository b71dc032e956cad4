//! What is told of credits: the alert before a namespace runs out, and the ledger.

use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::job::JobState;

use super::Scenario;
use super::funds::{available, ledger, second, transfer};
use super::world::{START, World, micros};
use crate::store::statements::StatementPage;

/// The scenarios with their names.
pub(super) const SCENARIOS: [(&str, Scenario); 2] = [
    ("an alert is told once for each fall", |world| {
        Box::pin(an_alert_is_told_once_for_each_fall(world))
    }),
    ("a ledger has every line", |world| {
        Box::pin(a_ledger_has_every_line(world))
    }),
];

async fn an_alert_is_told_once_for_each_fall(world: &World) {
    let (store, account, namespace) = (&world.store, world.key.account, world.key.namespace);
    let told = || async {
        let page = StatementPage {
            after: None,
            ascending: false,
            limit: 100,
        };
        let activity = store.activity(account, Environment::Testnet, page).await;
        let activity = activity.expect("an answer");
        activity
            .iter()
            .filter(|activity| activity.kind == "credits.low")
            .count()
    };
    let below = micros(START.micros() - 100);
    assert!(
        store
            .set_credit_alert(account, namespace, Some(below))
            .await
            .expect("an answer")
    );
    let stranger = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let set = store.set_credit_alert(stranger.account, namespace, Some(below)).await;
    assert!(!set.expect("an answer"));
    // What is held is not gone.
    let lease = world.leased(micros(1_000)).await;
    let other = world.leased(micros(1_000)).await;
    assert_eq!(told().await, 0);
    store
        .settle(world.settle_of(lease, micros(100)))
        .await
        .expect("an answer");
    assert_eq!(told().await, 0, "exactly the limit is not below it");
    store
        .settle(world.settle_of(other, micros(1)))
        .await
        .expect("an answer");
    assert_eq!(told().await, 1);
    for _ in 0..3 {
        let lease = world.leased(micros(10)).await;
        store
            .settle(world.settle_of(lease, micros(5)))
            .await
            .expect("an answer");
    }
    assert_eq!(told().await, 1, "once for each fall");
    world.grant("top-up", micros(1_000)).await;
    let to = second(world).await.namespace;
    store
        .transfer(transfer(world, namespace, to, 1_000, "away"))
        .await
        .expect("an answer");
    assert_eq!(told().await, 2);
    let funds = store.funds_of(Some(account), namespace).await.expect("an answer");
    assert_eq!(funds.expect("the namespace").alert, Some((below, false)));
    // Nobody can be written to: the letters that are due are given up.
    assert_eq!(store.take_low_credits(10, world.now()).await.expect("an answer"), []);
    assert!(
        store
            .set_credit_alert(account, namespace, None)
            .await
            .expect("an answer")
    );
}

async fn a_ledger_has_every_line(world: &World) {
    let (store, namespace) = (&world.store, world.key.namespace);
    let to = second(world).await.namespace;
    let mut expected = 1;
    for number in 0..4 {
        let lease = world.leased(micros(100)).await;
        let waiting = world.queued(Credits::ZERO).await;
        store
            .transfer(transfer(world, namespace, to, 3, &format!("t{number}")))
            .await
            .expect("an answer");
        if number % 2 == 0 {
            store
                .settle(world.settle_of(lease, micros(100)))
                .await
                .expect("an answer");
            store
                .release(world.release_of(waiting, JobState::Failed))
                .await
                .expect("an answer");
            expected += 2;
        }
        expected += 3;
    }
    let all = ledger(world, namespace).await;
    assert_eq!(all.len(), expected);
    let sum: i64 = all.iter().map(|line| line.amount.micros()).sum();
    assert_eq!(micros(sum), available(world, namespace).await);
    // Page by page, both ways, nothing is left out or told twice.
    for ascending in [false, true] {
        for limit in [1, 2, 3, 7] {
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let page = StatementPage {
                    after,
                    ascending,
                    limit,
                };
                let lines = store.ledger(namespace, page).await.expect("an answer");
                let lines = lines.expect("a line of this list");
                let Some(last) = lines.last() else { break };
                after = Some(last.transaction);
                seen.extend(lines);
            }
            if ascending {
                seen.reverse();
            }
            assert_eq!(seen, all, "{limit} at once, ascending: {ascending}");
        }
    }
    // A line of another ledger is none to go on from.
    let others = ledger(world, to).await;
    assert_eq!(others.len(), 4);
    let stranger = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let page = StatementPage {
        after: Some(all[0].transaction),
        ascending: false,
        limit: 5,
    };
    assert_eq!(store.ledger(stranger.namespace, page).await.expect("an answer"), None);
    let holds = StatementPage {
        after: None,
        ascending: false,
        limit: 10,
    };
    assert_eq!(store.holds(namespace, holds).await.expect("an answer").len(), 4);
}
