//! The contract of [`ChatApi`] and [`ModelsApi`]: against a model that answers in text, of any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use std::collections::BTreeMap;

use futures::StreamExt;

use crate::api::cloud::{ChatApi, ModelsApi};
use crate::error::{ApiError, ErrorCode};
use crate::openai::chat::{ChatChunk, ChatRequest, Message};

/// A name that no model has.
const NO_MODEL: &str = "no-such-model";

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: ChatApi + ModelsApi + ?Sized>(api: &A, model: &str) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: chat: {}", stringify!($scenario));
            $scenario(api, model).await;
        )*};
    }
    run! {
        models_are_listed_and_retrieved
        chat_answers
        stream_has_the_right_shape
        stream_equals_sync
        max_tokens_is_respected
        unknown_model_is_refused
        bad_requests_name_the_field
        too_many_tokens_are_refused
        a_dropped_stream_leaves_the_api_usable
    }
}

/// A request that costs little and is answered the same way every time.
fn request(model: &str, max_tokens: u64) -> ChatRequest {
    let question = Message::user("Count from one to one hundred, in words.");
    ChatRequest::new(model, [question])
        .temperature(0.0)
        .max_tokens(max_tokens)
}

/// All chunks of a stream. Panics if it cannot be opened or ends in an error.
async fn chunks<A: ChatApi + ?Sized>(api: &A, request: ChatRequest) -> Vec<ChatChunk> {
    let mut stream = api.chat_stream(request).await.expect("a stream is opened");
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk.expect("a stream that nobody disturbs ends well"));
    }
    chunks
}

/// Every model that is listed can be retrieved, the one given among them; others are `model_not_found`, however odd
/// their names. Panics if not.
pub async fn models_are_listed_and_retrieved<A: ModelsApi + ?Sized>(api: &A, model: &str) {
    let list = api.models().await.expect("models can be listed").body;
    assert_eq!(list.object, "list");
    assert!(
        list.data.iter().any(|listed| listed.id == model),
        "{model} is not in {list:?}"
    );
    for listed in &list.data {
        assert_eq!(listed.object, "model");
        assert!(!listed.owned_by.is_empty(), "{listed:?} has no owner");
        let retrieved = api
            .model(&listed.id)
            .await
            .unwrap_or_else(|error| panic!("retrieve {}: {error}", listed.id));
        assert_eq!(retrieved.id, listed.id);
        assert_eq!(retrieved.object, "model");
    }
    for id in [
        NO_MODEL,
        "no/such/model",
        "no such model?x=1#y",
        "no%2Fmodel",
        "kein-modell-ü",
    ] {
        let error = api.model(id).await.expect_err("there is no such model");
        assert_eq!(error.code, ErrorCode::ModelNotFound, "{id}: {error}");
    }
}

/// A whole answer has OpenAI's shape, some text and honest token counts. Panics if not.
pub async fn chat_answers<A: ChatApi + ?Sized>(api: &A, model: &str) {
    let answer = api
        .chat(request(model, 16))
        .await
        .expect("a plain question is answered")
        .body;
    assert_eq!(answer.object, "chat.completion");
    assert_eq!(answer.model, model, "the answer echoes the name that was asked for");
    assert!(answer.id.starts_with("chatcmpl-"), "id {:?}", answer.id);
    assert!(answer.created > 0, "created {}", answer.created);
    assert_eq!(answer.choices.len(), 1);
    let choice = &answer.choices[0];
    assert_eq!(choice.index, 0);
    assert_eq!(choice.message.role, "assistant");
    assert!(!answer.text().is_empty(), "there is no text in {answer:?}");
    assert!(
        matches!(choice.finish_reason.as_deref(), Some("stop" | "length")),
        "{:?}",
        choice.finish_reason
    );
    let usage = answer.usage.expect("an answer has its token counts");
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0, "{usage:?}");
    assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);

    let again = api.chat(request(model, 16)).await.expect("it is answered again").body;
    assert_ne!(again.id, answer.id, "every answer has its own id");
    assert_eq!(again.text(), answer.text(), "at temperature 0 the text is the same");
}

/// Streams have one identity throughout, the role first, one end per choice, and token counts only where they were asked
/// for, as the last chunk. Panics if not.
pub async fn stream_has_the_right_shape<A: ChatApi + ?Sized>(api: &A, model: &str) {
    check_shape(&chunks(api, request(model, 16)).await, model, false);
    check_shape(&chunks(api, request(model, 16).include_usage()).await, model, true);
}

fn check_shape(chunks: &[ChatChunk], model: &str, with_usage: bool) {
    let first = chunks.first().expect("a stream has chunks");
    assert!(first.id.starts_with("chatcmpl-"), "id {:?}", first.id);
    let (last, pieces) = chunks.split_last().expect("it has a first one");
    let pieces = if with_usage { pieces } else { chunks };
    if with_usage {
        let usage = last.usage.expect("the last chunk has the token counts");
        assert!(
            last.choices.is_empty(),
            "the chunk with the token counts has no choices"
        );
        assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0, "{usage:?}");
        assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    }
    for chunk in chunks {
        assert_eq!(chunk.object, "chat.completion.chunk");
        assert_eq!(
            (&chunk.id, chunk.created),
            (&first.id, first.created),
            "one identity throughout"
        );
        assert_eq!(chunk.model, model, "chunks echo the name that was asked for");
    }
    let mut ended = BTreeMap::new();
    for chunk in pieces {
        assert!(
            chunk.usage.is_none(),
            "token counts come only where asked for, and last: {chunk:?}"
        );
        assert!(
            !chunk.choices.is_empty(),
            "only the token counts come without choices: {chunk:?}"
        );
        for choice in &chunk.choices {
            let is_first = !ended.contains_key(&choice.index);
            let has_ended = ended.entry(choice.index).or_insert(false);
            assert!(!*has_ended, "choice {} goes on after its end: {chunk:?}", choice.index);
            assert_eq!(
                choice.delta.role.as_deref(),
                is_first.then_some("assistant"),
                "the role comes first, once"
            );
            if let Some(reason) = &choice.finish_reason {
                assert!(matches!(reason.as_str(), "stop" | "length"), "finish reason {reason:?}");
                *has_ended = true;
            }
        }
    }
    assert!(
        !ended.is_empty() && ended.values().all(|ended| *ended),
        "every choice ends: {ended:?}"
    );
}

/// At temperature 0, text, end and token counts are the same streamed or not. Panics if not.
pub async fn stream_equals_sync<A: ChatApi + ?Sized>(api: &A, model: &str) {
    let whole = api
        .chat(request(model, 24))
        .await
        .expect("a plain question is answered")
        .body;
    let chunks = chunks(api, request(model, 24).include_usage()).await;
    let text: String = chunks.iter().map(ChatChunk::text).collect();
    assert_eq!(text, whole.text(), "the streamed text and the whole one");
    let reason = chunks
        .iter()
        .flat_map(|chunk| &chunk.choices)
        .find_map(|choice| choice.finish_reason.clone());
    assert_eq!(reason, whole.choices[0].finish_reason);
    assert_eq!(chunks.last().and_then(|chunk| chunk.usage), whole.usage);
}

/// An answer that is cut by `max_tokens` has that many tokens and says `length`; the newer name of the field wins. Panics
/// if not.
pub async fn max_tokens_is_respected<A: ChatApi + ?Sized>(api: &A, model: &str) {
    let mut both = request(model, 9);
    both.max_completion_tokens = Some(3);
    for (request, limit) in [(request(model, 1), 1), (request(model, 5), 5), (both, 3)] {
        let answer = api.chat(request).await.expect("a short answer is an answer").body;
        assert_eq!(answer.choices[0].finish_reason.as_deref(), Some("length"), "{answer:?}");
        assert_eq!(
            answer.usage.map(|usage| usage.completion_tokens),
            Some(limit),
            "{answer:?}"
        );
    }
}

/// A name that no model has is `model_not_found`, streamed or not. Panics if not.
pub async fn unknown_model_is_refused<A: ChatApi + ?Sized>(api: &A, _model: &str) {
    check_refusal(
        api,
        request(NO_MODEL, 4),
        ErrorCode::ModelNotFound,
        "model",
        "an unknown model",
    )
    .await;
}

/// Bad values are refused with their code and their place, streamed or not; a bad streaming request never opens a stream.
/// Panics if not.
pub async fn bad_requests_name_the_field<A: ChatApi + ?Sized>(api: &A, model: &str) {
    use ErrorCode::{InvalidValue, MissingField};
    let good = || request(model, 4);
    let of = |messages: Vec<Message>| ChatRequest::new(model, messages).max_tokens(4);
    let cases = [
        ("no messages", of(vec![]), InvalidValue, "messages"),
        (
            "a bad role",
            of(vec![Message::new("boss", "x")]),
            InvalidValue,
            "messages[0].role",
        ),
        (
            "a bad role further on",
            of(vec![Message::user("x"), Message::new("", "x")]),
            InvalidValue,
            "messages[1].role",
        ),
        (
            "a user who says nothing",
            of(vec![Message {
                content: None,
                ..Message::user("")
            }]),
            MissingField,
            "messages[0].content",
        ),
        (
            "a hot temperature",
            good().temperature(3.0),
            InvalidValue,
            "temperature",
        ),
        (
            "a cold temperature",
            good().temperature(-0.1),
            InvalidValue,
            "temperature",
        ),
        ("top_p below 0", good().top_p(-1.0), InvalidValue, "top_p"),
        ("top_p above 1", good().top_p(1.5), InvalidValue, "top_p"),
        ("n = 0", ChatRequest { n: Some(0), ..good() }, InvalidValue, "n"),
        (
            "n is huge",
            ChatRequest {
                n: Some(1_000_000),
                ..good()
            },
            InvalidValue,
            "n",
        ),
        ("max_tokens = 0", good().max_tokens(0), InvalidValue, "max_tokens"),
        (
            "max_completion_tokens = 0",
            ChatRequest {
                max_completion_tokens: Some(0),
                ..good()
            },
            InvalidValue,
            "max_completion_tokens",
        ),
        (
            "five stops",
            good().stop(["a", "b", "c", "d", "e"]),
            InvalidValue,
            "stop",
        ),
        (
            "a bad penalty",
            good().with("presence_penalty", 2.5),
            InvalidValue,
            "presence_penalty",
        ),
        (
            "a penalty in words",
            good().with("frequency_penalty", "much"),
            InvalidValue,
            "frequency_penalty",
        ),
    ];
    for (name, request, code, param) in cases {
        check_refusal(api, request, code, param, name).await;
    }
}

/// More tokens than the context holds are `context_length_exceeded`. Panics if not.
pub async fn too_many_tokens_are_refused<A: ChatApi + ?Sized>(api: &A, model: &str) {
    let request = request(model, 1_000_000_000);
    check_refusal(
        api,
        request,
        ErrorCode::ContextLengthExceeded,
        "max_tokens",
        "an answer beyond the context",
    )
    .await;
}

async fn check_refusal<A: ChatApi + ?Sized>(api: &A, request: ChatRequest, code: ErrorCode, param: &str, name: &str) {
    let check = |error: ApiError, how: &str| {
        assert_eq!(
            (error.code, error.param.as_deref()),
            (code, Some(param)),
            "{name}, {how}: {error}"
        );
        assert!(!error.message.is_empty(), "{name}, {how}: the message says nothing");
    };
    match api.chat(request.clone()).await {
        Err(error) => check(error, "not streamed"),
        Ok(answer) => panic!("{name} was answered: {answer:?}"),
    }
    match api.chat_stream(request).await {
        Err(error) => check(error, "streamed"),
        Ok(_) => panic!("{name} opened a stream"),
    }
}

/// Whoever turns away in the middle of a stream, again and again, does no harm to the next request. Panics if so.
pub async fn a_dropped_stream_leaves_the_api_usable<A: ChatApi + ?Sized>(api: &A, model: &str) {
    for _ in 0..3 {
        let mut stream = api.chat_stream(request(model, 64)).await.expect("a stream is opened");
        let first = stream.next().await.expect("a stream has chunks");
        first.expect("it begins well");
        drop(stream);
    }
    let answer = api
        .chat(request(model, 4))
        .await
        .expect("the next question is answered")
        .body;
    assert!(!answer.text().is_empty(), "there is no text in {answer:?}");
}
