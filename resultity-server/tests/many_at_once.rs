//! 500 requests, 32 at a time, of every kind, whole and streamed, by two nodes whose engine answers at once but not in
//! order: every answer belongs to its question, and the books say to the micro-credit what the askers were told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use harness::{TestServer, model, soon};
use resultity_client::CloudClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::completions::CompletionsApi;
use resultity_core::api::embeddings::EmbeddingsApi;
use resultity_core::api::usage::{UsageApi, UsageQuery};
use resultity_core::capability::Capability;
use resultity_core::credits::Credits;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Message, Usage};
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_node::agent::Agent;
use resultity_node::runtime::{Embeddings, EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use resultity_server::assemble::Offer;
use tokio_util::sync::CancellationToken;

const REQUESTS: u64 = 500;
const AT_ONCE: usize = 32;
/// How long all answers may take before that counts as hanging.
const PATIENCE: Duration = Duration::from_mins(10);
const TEXT: &str = "text";
const NUMBERS: &str = "numbers";

/// Says what it was asked, so that every answer shows whose it is.
struct Parrot;

fn answer_to(question: &str) -> String {
    format!("{question}, you said: {question}.")
}

/// What the engine counts: bytes of the question, words of the answer.
fn usage_of(question: &str) -> Usage {
    Usage::new(question.len() as u64, answer_to(question).split(' ').count() as u64)
}

fn vector_of(text: &str) -> Vec<f32> {
    let sum: u32 = text.bytes().map(u32::from).sum();
    vec![text.len() as f32, sum as f32, 1.0]
}

impl Parrot {
    /// The answers to some questions, a word at a time in turn, then the end.
    fn speak(questions: Vec<String>) -> RuntimeStream {
        let mut events = Vec::new();
        let mut usage = Usage::new(0, 0);
        for (index, question) in questions.iter().enumerate() {
            for word in answer_to(question).split_inclusive(' ') {
                events.push(RuntimeEvent::Delta(vec![ChunkChoice::text(index as u32, word)]));
            }
            events.push(RuntimeEvent::Delta(vec![ChunkChoice::finish(index as u32, "stop")]));
            let one = usage_of(question);
            usage = Usage::new(
                usage.prompt_tokens + one.prompt_tokens,
                usage.completion_tokens + one.completion_tokens,
            );
        }
        events.push(RuntimeEvent::Done(usage));
        // The later ones often end first.
        let pause = Duration::from_millis(questions[0].len() as u64 * 7 % 5);
        let pause = stream::once(async move { tokio::time::sleep(pause).await }).filter_map(|()| async { None });
        pause.chain(stream::iter(events.into_iter().map(Ok))).boxed()
    }
}

#[async_trait]
impl Runtime for Parrot {
    fn kind(&self) -> &'static str {
        "parrot"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new(TEXT), EngineModel::new(NUMBERS)])
    }

    fn slots(&self) -> u32 {
        8
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let question = request.messages.last().and_then(|message| message.content.as_ref());
        Ok(Self::speak(vec![question.unwrap().text().into_owned()]))
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        match request.prompt {
            Prompt::Text(text) => Ok(Self::speak(vec![text])),
            Prompt::Texts(texts) => Ok(Self::speak(texts)),
            other => Err(RuntimeError::invalid_field("prompt", format!("{other:?}"))),
        }
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        let Prompt::Texts(texts) = request.input else {
            return Err(RuntimeError::invalid_field("input", "not texts"));
        };
        Ok(Embeddings {
            vectors: texts.iter().map(|text| vector_of(text)).collect(),
            prompt_tokens: texts.iter().map(|text| text.len() as u64).sum(),
        })
    }
}

/// Asks one question in the way that its turn has, checks the answer, and gives the token counts that came with it.
async fn ask(client: &CloudClient, turn: u64) -> Usage {
    let question = format!("{} {turn}", "word ".repeat((turn % 7) as usize));
    let other = format!("{question} too");
    let expected = answer_to(&question);
    match turn % 5 {
        0 => {
            let answer = client
                .chat(ChatRequest::new(TEXT, [Message::user(question)]))
                .await
                .unwrap();
            assert_eq!(answer.text(), expected);
            answer.usage.unwrap()
        }
        1 => {
            let request = ChatRequest::new(TEXT, [Message::user(question)]).include_usage();
            let mut stream = client.chat_stream(request).await.unwrap();
            let (mut text, mut usage) = (String::new(), None);
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.unwrap();
                text.push_str(chunk.text());
                usage = chunk.usage.or(usage);
            }
            assert_eq!(text, expected);
            usage.unwrap()
        }
        2 => {
            let prompts = vec![question, other.clone()];
            let request = CompletionRequest::new(TEXT, prompts).max_tokens(64);
            let answer = client.complete(request).await.unwrap();
            let texts: Vec<&str> = answer.choices.iter().map(|choice| choice.text.as_str()).collect();
            assert_eq!(texts, [expected, answer_to(&other)]);
            answer.usage.unwrap()
        }
        3 => {
            let mut request = CompletionRequest::new(TEXT, question.as_str()).max_tokens(64);
            request.stream_options = ChatRequest::new(TEXT, []).include_usage().stream_options;
            let stream = client.complete_stream(request).await.unwrap();
            let chunks: Vec<_> = stream.map(Result::unwrap).collect().await;
            let text: String = chunks
                .iter()
                .flat_map(|chunk| &chunk.choices)
                .map(|choice| choice.text.as_str())
                .collect();
            assert_eq!(text, expected);
            chunks.last().unwrap().usage.unwrap()
        }
        _ => {
            let request = EmbeddingRequest::new(NUMBERS, vec![question.clone(), other.clone()]);
            let answer = client.embed(request).await.unwrap();
            let vectors: Vec<_> = answer
                .data
                .iter()
                .map(|entry| entry.embedding.to_floats().unwrap())
                .collect();
            assert_eq!(vectors, [vector_of(&question), vector_of(&other)]);
            Usage::new(answer.usage.prompt_tokens, 0)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_answers_are_right_unmixed_and_paid_to_the_micro_credit() {
    let mut numbers = model(NUMBERS);
    numbers.capabilities = Capability::names([Capability::Embeddings]);
    let price = numbers.price;
    let server = TestServer::with(Offer::new(vec![model(TEXT), numbers])).await;
    let stop = CancellationToken::new();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::builder(server.io_url(), folder.path())
            .runtime(Arc::new(Parrot))
            .build()
            .unwrap();
        nodes.push((tokio::spawn(agent.run(stop.clone())), folder));
    }
    server.until_served(TEXT).await;
    server.until_served(NUMBERS).await;

    let client = server.client();
    let asked = stream::iter(0..REQUESTS).map(|turn| {
        let client = client.clone();
        async move { tokio::spawn(async move { ask(&client, turn).await }).await.unwrap() }
    });
    let answered = tokio::time::timeout(PATIENCE, asked.buffer_unordered(AT_ONCE).collect()).await;
    let usages: Vec<Usage> = answered.expect("all answers");

    let told: i64 = usages
        .iter()
        .map(|usage| price.cost(usage.prompt_tokens, usage.completion_tokens).micros())
        .sum();
    server.assert_charged(Credits::from_micros(told)).await;
    let report = server.store.audit().await.unwrap();
    assert_eq!((report.jobs, report.open_holds), (REQUESTS, 0));
    let total = client.usage(UsageQuery::default()).await.unwrap().body.total;
    let (prompt, made) = usages.iter().fold((0, 0), |(prompt, made), usage| {
        (prompt + usage.prompt_tokens, made + usage.completion_tokens)
    });
    assert_eq!((total.requests, total.failed, total.cost.micros()), (REQUESTS, 0, told));
    assert_eq!((total.prompt_tokens, total.completion_tokens), (prompt, made));
    stop.cancel();
    for (node, _folder) in nodes {
        soon("the node's end", node).await.unwrap().unwrap();
    }
}
