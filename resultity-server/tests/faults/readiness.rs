//! A node that got ready once and is not any more, without saying so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::wire::Readiness;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeStream};

use crate::clocks::SkewedClock;
use crate::harness::invariants::invariants;
use crate::harness::{TestServer, soon};
use crate::node::{Node, Parrot};
use crate::{brisk, is_ours, request, text_of};

/// Longer than the longest time until a model is tested again.
const LATER: i64 = 46 * 60 * 1000;

/// Answers until it is broken, and counts what it is asked.
#[derive(Clone, Default)]
struct Fading {
    is_broken: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    parrot: Parrot,
}

#[async_trait]
impl Runtime for Fading {
    fn kind(&self) -> &'static str {
        "fading"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new("m")])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(RuntimeError::Failed("worn out".to_owned()));
        }
        self.parrot.chat(request).await
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_rotation_is_tested_again_and_leaves_it_if_it_fails() {
    let clock = SkewedClock::default();
    let server = TestServer::with_options(brisk(), |options| options.clock = Arc::new(clock.clone())).await;
    let (runtime, dir) = (Fading::default(), tempfile::tempdir().unwrap());
    let node = Node::start_by(&server.io_url(), dir.path(), runtime.clone(), Arc::new(clock.clone()));
    node.until_in_rotation(&server).await;
    assert_eq!(runtime.asked.load(Ordering::SeqCst), 1);
    let readiness = || {
        let view = server.running.app().flow().fleet.node(node.id)?;
        view.models.first().map(|model| (model.readiness, model.error.clone()))
    };
    // One that passes stays, and users notice nothing.
    clock.jump(LATER);
    until("a second test", || runtime.asked.load(Ordering::SeqCst) > 1).await;
    // What it had signed before the jump may have ended its link: it comes back.
    let answer = async {
        loop {
            node.until_in_rotation(&server).await;
            match text_of(&server, request("hello"), false).await {
                Err(error) if is_ours(&error) => {}
                answer => break answer,
            }
        }
    };
    assert_eq!(soon("an answer", answer).await.unwrap(), Parrot::says("hello"));
    until("the model to be ready", || {
        readiness() == Some((Readiness::Ready, None))
    })
    .await;

    runtime.is_broken.store(true, Ordering::SeqCst);
    clock.jump(LATER);
    until("the model to fail", || {
        matches!(readiness(), Some((Readiness::Failed, Some(_))))
    })
    .await;
    let flow = server.running.app().flow();
    assert!(
        flow.fleet
            .node(node.id)
            .is_none_or(|view| !view.in_rotation(flow.clock.now()))
    );
    invariants(&server).await;
    node.stop().await;
}
