//! The contract of [`EmbeddingsApi`]: against a model that turns texts into numbers, in any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use crate::api::embeddings::EmbeddingsApi;
use crate::error::ErrorCode;
use crate::openai::embedding::{EmbeddingInput, EmbeddingList, EmbeddingRequest, EncodingFormat, Vector};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn EmbeddingsApi, model: &str) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: embeddings: {}", stringify!($scenario));
            $scenario(api, model).await;
        )*};
    }
    run! {
        a_text_becomes_numbers
        base64_and_numbers_are_the_same
        several_texts_keep_their_order
        parameters_are_honoured_or_refused_by_name
        bad_requests_name_the_field
    }
}

async fn embed(api: &dyn EmbeddingsApi, request: EmbeddingRequest) -> EmbeddingList {
    api.embed(request).await.expect("a plain text becomes numbers").body
}

fn floats(list: &EmbeddingList, index: usize) -> Vec<f32> {
    let vector = &list.data[index].embedding;
    vector.to_floats().expect("base64 is of whole floats")
}

fn assert_near(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}: as many numbers");
    let distance: f32 = left.iter().zip(right).map(|(left, right)| (left - right).powi(2)).sum();
    let length: f32 = left.iter().map(|number| number.powi(2)).sum();
    assert!(distance <= length * 1e-4, "{what}: {distance} of {length}");
}

/// An answer has OpenAI's shape, numbers that are numbers and honest token counts. Panics if not.
pub async fn a_text_becomes_numbers(api: &dyn EmbeddingsApi, model: &str) {
    let list = embed(api, EmbeddingRequest::new(model, "What is love?")).await;
    assert_eq!((list.object.as_str(), list.model.as_str()), ("list", model));
    assert_eq!(list.data.len(), 1);
    let embedding = &list.data[0];
    assert_eq!((embedding.object.as_str(), embedding.index), ("embedding", 0));
    assert!(
        matches!(embedding.embedding, Vector::Float(_)),
        "numbers, unless something else was asked for"
    );
    let numbers = floats(&list, 0);
    assert!(!numbers.is_empty() && numbers.iter().all(|number| number.is_finite()));
    assert!(list.usage.prompt_tokens > 0, "{:?}", list.usage);
    assert_eq!(list.usage.prompt_tokens, list.usage.total_tokens);
}

/// However they are written, the numbers are the same. Panics if not.
pub async fn base64_and_numbers_are_the_same(api: &dyn EmbeddingsApi, model: &str) {
    let asked = |format| EmbeddingRequest::new(model, "What is love?").encoding_format(format);
    let plain = embed(api, asked(EncodingFormat::Float)).await;
    let encoded = embed(api, asked(EncodingFormat::Base64)).await;
    assert!(matches!(encoded.data[0].embedding, Vector::Base64(_)));
    assert_near(&floats(&plain, 0), &floats(&encoded, 0), "base64 and numbers");
}

/// Of several texts each gives what it gives alone, in their order. Panics if not.
pub async fn several_texts_keep_their_order(api: &dyn EmbeddingsApi, model: &str) {
    let texts = ["The cat sits on the mat.", "Stock markets fell.", "x"];
    let list = embed(
        api,
        EmbeddingRequest::new(model, EmbeddingInput::Texts(texts.map(str::to_owned).to_vec())),
    )
    .await;
    assert_eq!(list.data.len(), texts.len());
    for (place, text) in texts.into_iter().enumerate() {
        assert_eq!(list.data[place].index as usize, place);
        let alone = embed(api, EmbeddingRequest::new(model, text)).await;
        assert_near(&floats(&list, place), &floats(&alone, 0), text);
    }
    let all: Vec<String> = vec!["many".into(); 64];
    let list = embed(api, EmbeddingRequest::new(model, EmbeddingInput::Texts(all))).await;
    assert_eq!(list.data.len(), 64);
}

/// What not every model can do is done, or refused by its name. Panics if not.
pub async fn parameters_are_honoured_or_refused_by_name(api: &dyn EmbeddingsApi, model: &str) {
    let tokens = EmbeddingRequest::new(model, EmbeddingInput::Tokens(vec![100, 200]));
    for (request, param, numbers) in [
        (EmbeddingRequest::new(model, "x").dimensions(8), "dimensions", Some(8)),
        (tokens, "input", None),
    ] {
        match api.embed(request).await {
            Ok(list) => assert!(numbers.is_none_or(|numbers| floats(&list, 0).len() == numbers)),
            Err(error) => assert_eq!(
                (error.code, error.param.as_deref()),
                (ErrorCode::UnsupportedParameter, Some(param)),
                "{error}"
            ),
        }
    }
}

/// Bad values are refused with their code and their place. Panics if not.
pub async fn bad_requests_name_the_field(api: &dyn EmbeddingsApi, model: &str) {
    use ErrorCode::{InvalidValue, ModelNotFound};
    let of = |texts: &[&str]| {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        EmbeddingRequest::new(model, EmbeddingInput::Texts(texts))
    };
    let cases = [
        ("an empty text", EmbeddingRequest::new(model, ""), InvalidValue, "input"),
        ("no texts", of(&[]), InvalidValue, "input"),
        ("an empty text among others", of(&["a", ""]), InvalidValue, "input[1]"),
        ("too many texts", of(&vec!["a"; 2049]), InvalidValue, "input"),
        (
            "no numbers",
            EmbeddingRequest::new(model, "x").dimensions(0),
            InvalidValue,
            "dimensions",
        ),
        (
            "no such model",
            EmbeddingRequest::new("no-such-model", "x"),
            ModelNotFound,
            "model",
        ),
    ];
    for (name, request, code, param) in cases {
        match api.embed(request).await {
            Err(error) => assert_eq!(
                (error.code, error.param.as_deref()),
                (code, Some(param)),
                "{name}: {error}"
            ),
            Ok(answer) => panic!("{name} was answered: {answer:?}"),
        }
    }
}
