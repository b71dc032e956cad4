//! What a node says of itself and of its containers.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use serde_json::json;

use super::{
    CLOSED, DOWN, ECHO, FAIL, INTERNAL, MODEL, PROVER, SLOW, STREAM, Setting, UPPER, create, ended, request, scenarios,
};
use crate::api::node::NodeApi;
use crate::infernet::{ChainInfo, Health, PendingJobs};

scenarios! {
    "about":
    a_node_is_well
    a_node_says_what_it_has
    pending_jobs_are_counted
    containers_say_what_they_can_do
    containers_say_which_models_they_support
}

/// Panics if it is not.
pub async fn a_node_is_well<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    let health = api.health().await.expect("health can be asked for");
    assert_eq!(health.status, Health::Healthy);
}

/// All containers are listed, and that there is no chain. Panics if not.
pub async fn a_node_says_what_it_has<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    let info = api.info().await.expect("info can be asked for");
    assert!(!info.version.is_empty());
    assert_eq!(info.chain, ChainInfo::default());
    for name in [ECHO, UPPER, INTERNAL, PROVER, FAIL, SLOW, STREAM, CLOSED, DOWN] {
        let mut found = info.containers.iter().filter(|container| container.id == name);
        let container = found.next().unwrap_or_else(|| panic!("{name} is missing: {info:?}"));
        assert_eq!(container.external, name != INTERNAL, "{container:?}");
        assert!(found.next().is_none(), "{name} is there twice: {info:?}");
    }
}

/// A job counts until it has ended. Panics if not.
pub async fn pending_jobs_are_counted<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let count = async || api.info().await.expect("info can be asked for").pending;
    assert_eq!(count().await, PendingJobs::default());
    let id = create(api, request(&[SLOW], json!({"gate": "a count"}))).await;
    let one = PendingJobs {
        offchain: 1,
        onchain: 0,
    };
    assert_eq!(count().await, one);
    (setting.open)("a count").await;
    ended(api, setting, &id).await;
    // The last step of a job is to give its place back.
    while count().await != PendingJobs::default() {
        (setting.pause)().await;
    }
}

/// Those that can't be reached, or say nothing that can be passed on, are left out. Panics if not.
pub async fn containers_say_what_they_can_do<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    let resources = api.resources().await.expect("resources can be asked for");
    let echo = resources[ECHO].read().expect("it has the documented form");
    assert_eq!(echo.service_id, ECHO);
    assert!(resources.contains_key(INTERNAL), "{:?}", resources.keys());
    for left_out in [DOWN, FAIL] {
        assert!(!resources.contains_key(left_out), "{left_out}");
    }
}

/// The id reaches the containers as it is. Panics if not.
pub async fn containers_say_which_models_they_support<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    for (model, supported) in [(MODEL, true), ("org/a model", false)] {
        let support = api.model_support(model).await.expect("support can be asked for");
        let echo = support[ECHO].read().expect("it has the documented form");
        assert_eq!(echo.supported, supported, "{model}: {echo:?}");
        let upper = support[UPPER].read().expect("it has the documented form");
        assert!(!upper.supported, "{model}: {upper:?}");
        for left_out in [DOWN, FAIL] {
            assert!(!support.contains_key(left_out), "{left_out}");
        }
    }
}
