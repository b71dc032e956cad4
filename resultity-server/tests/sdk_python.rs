//! What people have in Python goes on working when only the base URL and the key change: OpenAI's own SDK, LangChain and
//! the command `llm`, against `resultity-server dev` with the embedded models and with a node in front of llama.cpp. The
//! checks themselves are in `sdk/python`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "embedded")]

mod sdk;

use sdk::{Dev, llama, or_leave_out, packages};

/// The modules that are run.
const MODULES: [&str; 14] = [
    "openai_chat",
    "openai_completions",
    "openai_embeddings",
    "openai_responses",
    "openai_batches",
    "openai_webhooks",
    "openai_errors",
    "native",
    "langchain_chat",
    "langchain_embeddings",
    "langchain_responses",
    "llm_chat",
    "llm_completions",
    "llm_responses",
];

/// One after the other: the machine has few cores, and both engines compute.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_models_serve_python() {
    let _turn = TURN.lock().await;
    let Some(python) = or_leave_out(packages::python().await) else {
        return;
    };
    let dev = Dev::embedded().await;
    dev.check(&mut python.unittest(&MODULES)).await;
    dev.stop_and_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_front_of_llama_server_serves_python() {
    let _turn = TURN.lock().await;
    let Some(python) = or_leave_out(packages::python().await) else {
        return;
    };
    let Some(Some(llama)) = or_leave_out(llama::start().await) else {
        return;
    };
    let dev = Dev::before(&llama).await;
    dev.check(&mut python.unittest(&MODULES)).await;
    dev.stop_and_audit().await;
}
