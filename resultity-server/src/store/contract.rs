//! The promises of [`Store`], as scenarios that every implementation has to pass.
//!
//! [`all`] runs them, each on a store of its own, and audits the books after each.

mod administration;
mod batches;
mod bindings;
mod deliveries;
mod detached;
mod files;
mod fleet;
mod funds;
mod identity;
mod jobs;
mod mail_codes;
mod money;
mod network;
mod node_logs;
mod plans;
mod publication;
mod retention;
mod statements;
mod subclouds;
mod tenancy;
mod tenants;
mod trust;
mod wallets;
mod webhooks;
pub mod world;

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;

use self::world::World;
use super::Store;

type Scenario = fn(&World) -> BoxFuture<'_, ()>;

/// Every scenario with its name.
pub const SCENARIOS: [(&str, Scenario); 23] = [
    ("a tenant is made once", |world| {
        Box::pin(tenants::a_tenant_is_made_once(world))
    }),
    ("the limits of a key are kept", |world| {
        Box::pin(tenants::the_limits_of_a_key_are_kept_as_they_were_when_it_was_made(
            world,
        ))
    }),
    ("a revoked key admits nothing", |world| {
        Box::pin(tenants::a_revoked_key_admits_nothing(world))
    }),
    ("a key of another namespace admits nothing", |world| {
        Box::pin(tenants::a_key_of_another_namespace_admits_nothing(world))
    }),
    ("a grant counts once", |world| {
        Box::pin(money::a_grant_counts_once(world))
    }),
    ("a hold is taken off and a settlement gives the rest back", |world| {
        Box::pin(money::a_hold_is_taken_off_and_a_settlement_gives_the_rest_back(world))
    }),
    ("a release gives all of the hold back", |world| {
        Box::pin(money::a_release_gives_all_of_the_hold_back(world))
    }),
    ("a partial result ends as cancelled and is paid", |world| {
        Box::pin(money::a_partial_result_ends_as_cancelled_and_is_paid(world))
    }),
    ("a job that may cost nothing is held and settled", |world| {
        Box::pin(money::a_job_that_may_cost_nothing_is_held_and_settled(world))
    }),
    ("too little credit changes nothing", |world| {
        Box::pin(money::too_little_credit_changes_nothing(world))
    }),
    ("concurrent jobs can't overdraw a balance", |world| {
        Box::pin(money::concurrent_jobs_cannot_overdraw(world))
    }),
    ("a charge above the hold changes nothing", |world| {
        Box::pin(money::a_charge_above_the_hold_changes_nothing(world))
    }),
    ("what may never be is refused", |world| {
        Box::pin(money::what_may_never_be_is_refused(world))
    }),
    ("a job is admitted once", |world| {
        Box::pin(jobs::a_job_is_admitted_once(world))
    }),
    ("the first end counts", |world| {
        Box::pin(jobs::the_first_end_counts(world))
    }),
    ("concurrent ends of a job give one", |world| {
        Box::pin(jobs::concurrent_ends_give_one(world))
    }),
    ("a lease is fenced by attempt, token and node", |world| {
        Box::pin(jobs::a_lease_is_fenced(world))
    }),
    ("a job that is queued again gets the next attempt", |world| {
        Box::pin(jobs::a_job_that_is_queued_again_gets_the_next_attempt(world))
    }),
    ("leases are renewed while they last", |world| {
        Box::pin(jobs::leases_are_renewed_while_they_last(world))
    }),
    ("states change as the table of states allows", |world| {
        Box::pin(jobs::states_change_as_the_table_allows(world))
    }),
    ("recovery ends every open job", |world| {
        Box::pin(jobs::recovery_ends_every_open_job(world))
    }),
    ("a node is bound once", |world| {
        Box::pin(network::a_node_is_bound_once(world))
    }),
    ("nodes that are nobody's are forgotten", |world| {
        Box::pin(network::nodes_that_are_nobodys_are_forgotten(world))
    }),
];

/// Runs every scenario on a store that `make_store` makes for it: an empty one.
pub async fn all<F, S>(make_store: F)
where
    F: Fn() -> S,
    S: Future<Output = Arc<dyn Store>>,
{
    let scenarios = SCENARIOS
        .into_iter()
        .chain(webhooks::SCENARIOS)
        .chain(deliveries::SCENARIOS)
        .chain(funds::SCENARIOS)
        .chain(statements::SCENARIOS);
    for (name, scenario) in scenarios
        .chain(tenancy::SCENARIOS)
        .chain(subclouds::SCENARIOS)
        .chain(administration::SCENARIOS)
        .chain(plans::SCENARIOS)
        .chain(detached::SCENARIOS)
        .chain(files::SCENARIOS)
        .chain(bindings::SCENARIOS)
        .chain(fleet::SCENARIOS)
        .chain(node_logs::SCENARIOS)
        .chain(identity::SCENARIOS)
        .chain(mail_codes::SCENARIOS)
        .chain(publication::SCENARIOS)
        .chain(batches::SCENARIOS)
        .chain(retention::SCENARIOS)
        .chain(trust::SCENARIOS)
        .chain(wallets::SCENARIOS)
    {
        let world = World::new(make_store().await).await;
        scenario(&world).await;
        let report = world.store.audit().await.expect("an audit");
        assert!(
            report.problems.is_empty(),
            "after “{name}” the books are wrong: {:#?}",
            report.problems
        );
        world.store.ping().await.expect("a store that can be written to");
    }
}
