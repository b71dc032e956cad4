use std::time::Duration;

use super::testing::{DIGITS, Server, by_id};
use super::*;
use crate::infernet::config::settings::DockerSettings;

#[tokio::test]
async fn resources_are_passed_on_and_who_says_nothing_is_left_out() {
    let server = Server::start().await;
    let mut settings = server.settings(&["gate", "a", "text", "error", "down", "b"]);
    settings.calls.resources_timeout = Duration::from_secs(2);
    let containers = Containers::new(&settings).unwrap();
    let resources = by_id(containers.resources().await);
    assert_eq!(resources.len(), 1, "{resources:?}");
    assert_eq!(resources["a"], format!(r#"{{"service_id":"a","more":{DIGITS}}}"#));
    server.inside(0).await;
    let support = by_id(containers.model_support("a b&c/ä").await);
    assert_eq!(
        support["a"],
        r#"{"supported":true,"query":"model_id=a+b%26c%2F%C3%A4"}"#
    );
}

#[tokio::test]
async fn containers_of_an_engine_are_told_of_while_they_run() {
    let server = Server::start().await;
    let mut settings = server.settings(&["a", "b"]);
    let ids = |containers: &Containers| -> Vec<String> { containers.info().into_iter().map(|info| info.id).collect() };
    let unmanaged = Containers::new(&settings).unwrap();
    unmanaged.set_running(&["a"]);
    assert_eq!(ids(&unmanaged), ["a", "b"]);
    settings.docker = Some(DockerSettings::default());
    let managed = Containers::new(&settings).unwrap();
    assert!(ids(&managed).is_empty() && managed.resources().await.is_empty());
    managed.set_running(&["b", "no-such"]);
    assert_eq!(ids(&managed), ["b"]);
    assert!(managed.is_running("b") && !managed.is_running("a") && !managed.is_running("no-such"));
    assert!(managed.get("a").is_some() && managed.get("no-such").is_none());
    assert_eq!(managed.ids().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn two_containers_never_have_one_id() {
    let server = Server::start().await;
    let error = Containers::new(&server.settings(&["a", "b", "a"])).unwrap_err();
    assert!(matches!(&error, ContainersError::Duplicate(id) if id == "a"), "{error}");
}

#[tokio::test]
async fn many_who_ask_for_resources_take_bounded_connections() {
    let server = Server::start().await;
    let mut settings = server.settings(&["gate"]);
    settings.calls.resources_timeout = Duration::from_secs(2);
    let containers = Containers::new(&settings).unwrap();
    let asked = futures::future::join_all((0..2 * ASKED_IN_ALL).map(|_| containers.resources())).await;
    assert!(asked.iter().all(BTreeMap::is_empty));
    let peak = server.seen.peak.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=ASKED_IN_ALL).contains(&peak), "{peak}");
}
