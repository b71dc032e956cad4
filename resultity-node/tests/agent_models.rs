//! A node that brings its models itself: it serves what the network's snapshot lists, with a real model in this process.

#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

#[cfg(unix)]
mod llama;
#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod network;

use std::sync::Arc;

use network::{Network, NodeLink, job, snapshot};
use resultity_core::model::ModelState;
use resultity_core::wire::{Config, DeclineCode, Job, NodeFrame};
use resultity_node::agent::Agent;
use resultity_node::models::{EmbeddedLoader, ManagerOptions, ModelManager, demo_model};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

fn question() -> Job {
    let body = serde_json::json!({
        "model": "smollm2-135m", "max_tokens": 4, "temperature": 0.0,
        "messages": [{"role": "user", "content": "Name the capital of France."}],
    });
    let mut job = job("", false);
    "smollm2-135m".clone_into(&mut job.model);
    job.model_digest = Some(demo_model().files[0].sha256.clone());
    job.body = RawValue::from_string(body.to_string()).unwrap();
    job
}

/// Waits until the node says that its only model stands like this; what it said before.
async fn until(link: &mut NodeLink, state: Option<ModelState>) -> Vec<ModelState> {
    let mut before = Vec::new();
    loop {
        let models = link.next_heartbeat().await.models;
        let says = models.first().map(|model| model.state);
        if says == state {
            return before;
        }
        before.extend(says);
    }
}

async fn answer(link: &mut NodeLink, job: &Job) -> NodeFrame {
    link.send(job.clone()).await;
    loop {
        match link.next().await {
            NodeFrame::Accept(_) | NodeFrame::Log(_) => {}
            frame => return frame,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_what_is_listed_from_its_test_on_until_it_is_not_listed() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let mut listed = snapshot();
    listed.version = 2;
    listed.models = vec![demo_model()];
    network.publish(&listed);
    let manager = ModelManager::start(ManagerOptions::new(dir.path()), Arc::new(EmbeddedLoader::new(Some(1)))).unwrap();
    let agent = Agent::builder(&network.io_url, dir.path())
        .runtime(Arc::new(manager))
        .build()
        .unwrap();
    let cancel = CancellationToken::new();
    let agent = tokio::spawn(agent.run(cancel.clone()));
    let mut link = network.link().await;
    let hello = link.handshake(&[]).await;
    assert!(hello.models.is_empty(), "it has met no network yet");
    let before = until(&mut link, Some(ModelState::Active)).await;
    assert!(before.iter().all(|state| *state == ModelState::Pending), "{before:?}");

    match answer(&mut link, &question()).await {
        NodeFrame::Result(result) => {
            let output = result.output.unwrap();
            assert!(output.get().contains("content"), "{output}");
        }
        other => panic!("{other:?}"),
    }
    // A job for another file of that name is none of its.
    let mut other = question();
    other.model_digest = Some("0".repeat(64));
    match answer(&mut link, &other).await {
        NodeFrame::Decline(decline) => assert_eq!(decline.code, DeclineCode::ModelMissing),
        other => panic!("{other:?}"),
    }

    let mut without = snapshot();
    without.version = 3;
    let digest = network.publish(&without);
    link.send(Config { digest }).await;
    until(&mut link, None).await;
    match answer(&mut link, &question()).await {
        NodeFrame::Decline(decline) => assert_eq!(decline.code, DeclineCode::ModelMissing),
        other => panic!("{other:?}"),
    }
    // The file was there before: it is not this node's to remove.
    cancel.cancel();
    link.close_code().await;
    agent.await.unwrap().unwrap();
}

/// The same with a process of its own for each model: a real `llama-server`, shut in.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_of_its_own_is_started_for_what_is_listed_and_ended_with_it() {
    use resultity_node::config::{EngineConfig, NodeConfig, run};

    let Some(spec) = llama::spec().await else { return };
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let mut listed = snapshot();
    listed.version = 2;
    listed.models = vec![demo_model()];
    network.publish(&listed);
    let mut config = NodeConfig::new(&network.io_url, dir.path());
    config.engine = Some(EngineConfig {
        program: Some(spec.program),
        context: Some(1024),
        slots: Some(1),
        sandbox: Some(env!("CARGO_BIN_EXE_resultity-node").into()),
        ..EngineConfig::default()
    });
    let cancel = CancellationToken::new();
    let node = tokio::spawn(run(config, cancel.clone()));
    let mut link = network.link().await;
    link.handshake(&[]).await;
    until(&mut link, Some(ModelState::Active)).await;
    match answer(&mut link, &question()).await {
        NodeFrame::Result(result) => assert!(result.output.unwrap().get().contains("content")),
        other => panic!("{other:?}"),
    }
    let mark = || {
        let folders = std::fs::read_dir(dir.path().join("engine")).unwrap();
        let folder = folders.map(|entry| entry.unwrap().path()).next().unwrap();
        format!(
            "RESULTITY_ENGINE={}",
            std::fs::read_to_string(folder.join("mark")).unwrap()
        )
    };
    let runs = |mark: &str| {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let environ = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mark = mark.as_bytes();
        all.map(environ)
            .any(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark))
    };
    let mark = mark();
    assert!(runs(&mark));

    let mut without = snapshot();
    without.version = 3;
    let digest = network.publish(&without);
    link.send(Config { digest }).await;
    until(&mut link, None).await;
    let ends = async {
        while runs(&mark) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(network::PATIENCE, ends).await.unwrap();
    cancel.cancel();
    link.close_code().await;
    node.await.unwrap().unwrap();
}
