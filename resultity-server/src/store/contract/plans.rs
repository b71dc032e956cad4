//! Plans, and the credits that come with them.

use std::num::NonZeroU32;

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;

use super::Scenario;
use super::administration::{HERE, audit};
use super::world::{START, World, micros};
use crate::store::Balance;
use crate::store::plans::{PlanChoice, PlanChosen, PlanGone, PlanRecord};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 1] = [("the credits of a plan come once a month", |world| {
    Box::pin(the_credits_of_a_plan_come_once_a_month(world))
})];

fn plan(name: &str, credits: Credits) -> PlanRecord {
    PlanRecord {
        environment: HERE,
        name: name.to_owned(),
        title: name.to_owned(),
        description: String::new(),
        requests_per_minute: NonZeroU32::new(7),
        weight: NonZeroU32::new(5).unwrap_or(NonZeroU32::MIN),
        tokens_per_minute: None,
        monthly_credits: credits,
        open: name == "open",
        created: Timestamp::from_millis(1_800_000_000_000),
    }
}

async fn the_credits_of_a_plan_come_once_a_month(world: &World) {
    for (name, credits) in [("open", micros(50)), ("closed", micros(70))] {
        let made = world.store.put_plan(plan(name, credits), 2, audit(world, "plan.put"));
        assert_eq!(made.await.expect("an answer"), Some(plan(name, credits)));
    }
    let more = world
        .store
        .put_plan(plan("more", micros(1)), 2, audit(world, "plan.put"));
    assert_eq!(more.await.expect("an answer"), None);
    let choose = |name: Option<&str>, by_administrator, month: &str| {
        let choice = PlanChoice {
            account: world.key.account,
            environment: HERE,
            plan: name.map(str::to_owned),
            namespace: None,
            by_administrator,
            month: month.to_owned(),
            audit: audit(world, "account.plan"),
        };
        let store = &world.store;
        async move { store.choose_plan(choice).await.expect("an answer") }
    };
    let has = |more: i64| Balance {
        available: micros(START.micros() + more),
        held: Credits::ZERO,
    };
    assert_eq!(choose(Some("closed"), false, "2027-01").await, PlanChosen::UnknownPlan);
    assert!(matches!(
        choose(Some("open"), false, "2027-01").await,
        PlanChosen::Done(_)
    ));
    assert_eq!(world.balance().await, has(50));
    let key = world.store.key(world.tenant("main").key_hash).await.expect("an answer");
    let rates = key.expect("the key").limits.namespace;
    assert_eq!(
        (rates.requests_per_minute, rates.tokens_per_minute, rates.weight.get()),
        (NonZeroU32::new(7), None, 5)
    );
    // Neither another plan nor the same again brings more in this month, nor does a clock that was set back.
    for (name, month) in [
        (Some("closed"), "2027-01"),
        (None, "2027-01"),
        (Some("open"), "2026-12"),
    ] {
        assert!(matches!(choose(name, true, month).await, PlanChosen::Done(_)));
    }
    assert_eq!(world.balance().await, has(50));
    for (month, given) in [("2027-01", 0), ("2027-02", 1), ("2027-02", 0)] {
        let credited = world.store.credit_plans(HERE, month.to_owned(), 10, world.now()).await;
        assert_eq!(credited.expect("an answer"), given, "{month}");
    }
    assert_eq!(world.balance().await, has(100));
    let record = world.store.account_plan(world.key.account, HERE).await.expect("a plan");
    assert_eq!(record.credited_month.as_deref(), Some("2027-02"));
    let gone = |name: &str| {
        world
            .store
            .delete_plan(HERE, name.to_owned(), audit(world, "plan.delete"))
    };
    assert_eq!(gone("open").await.expect("an answer"), PlanGone::InUse(1));
    assert_eq!(gone("closed").await.expect("an answer"), PlanGone::Gone);
    assert_eq!(gone("closed").await.expect("an answer"), PlanGone::Unknown);
    assert!(matches!(choose(None, false, "2027-02").await, PlanChosen::Done(record) if record.plan.is_none()));
}
