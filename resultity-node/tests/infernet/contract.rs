//! The contract of `NodeApi`, in this process and over HTTP.

use std::time::Duration;

use futures::FutureExt;
use resultity_client::InfernetClient;
use resultity_core::api::node::NodeApi;
use resultity_core::testing::node::{self, Setting};

use crate::harness::{CALLER, Containers, Served, soon};

async fn check(api: &dyn NodeApi, containers: &Containers) {
    let setting = Setting {
        caller: &CALLER.to_string(),
        open: &|gate| containers.open(gate).boxed(),
        pause: &|| tokio::time::sleep(Duration::from_millis(2)).boxed(),
    };
    soon("all scenarios", node::all(api, &setting)).await;
}

#[tokio::test]
async fn a_session_keeps_the_contract() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let served = Served::start(&containers).await;
    check(&served.node.session(CALLER), &containers).await;
}

#[tokio::test]
async fn a_client_over_http_keeps_the_contract() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let served = Served::start(&containers).await;
    let client = InfernetClient::new_at(format!("http://{}", served.address())).unwrap();
    check(&client, &containers).await;
}
