//! Engines that fail, lie about what they counted, answer garbage or not at all.

use resultity_core::api::cloud::ChatApi;
use resultity_core::credits::Credits;
use rstest::rstest;

use crate::harness::invariants::invariants;
use crate::harness::{TestServer, model, soon};
use crate::node::Node;
use crate::{engine, is_ours, request, text_of};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_no_engine_should_say_is_not_passed_on_and_costs_nothing(
    #[values("fail", "garbage", "silent", "cut", "late", "half", "hang")] question: &str,
    #[values(false, true)] stream: bool,
) {
    let server = TestServer::start().await;
    let (node, _dir) = Node::ready(&server, engine::start().await).await;
    let error = soon("an end", text_of(&server, request(question), stream))
        .await
        .unwrap_err();
    assert!(is_ours(&error), "{error:?}");
    server.assert_charged(Credits::ZERO).await;
    // The node is well: the next question is answered.
    node.until_in_rotation(&server).await;
    let answer = soon("an answer", text_of(&server, request("hello"), stream)).await;
    assert_eq!(answer.unwrap(), engine::ANSWER);
    invariants(&server).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_boasts_is_paid_to_the_bound() {
    let server = TestServer::start().await;
    let (node, _dir) = Node::ready(&server, engine::start().await).await;
    let reply = soon("an answer", server.client().chat(request("boast"))).await.unwrap();
    let usage = reply.usage.unwrap();
    assert!(usage.completion_tokens <= 10, "{usage:?}");
    assert!(usage.prompt_tokens < 1_000, "{usage:?}");
    let cost = model("m").price.cost(usage.prompt_tokens, usage.completion_tokens);
    assert_eq!(reply.meta.cost, Some(cost));
    server.assert_charged(cost).await;
    invariants(&server).await;
    node.stop().await;
}
