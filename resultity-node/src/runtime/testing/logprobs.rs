//! The contract of models that tell log-probabilities.

use serde_json::Value;

use super::completions::{complete, request, streaming as streaming_text};
use super::{ask, question, streaming};
use crate::runtime::Runtime;

/// Chat answers tell the log-probabilities of their tokens, and of the likeliest ones in their places; whole and in pieces,
/// which are those of the text that they come with.
///
/// # Panics
/// Where the contract is broken.
pub async fn logprobs(runtime: &dyn Runtime, model: &str) {
    let request = question(model).with("logprobs", true).with("top_logprobs", 2);
    let mut whole: Option<Vec<String>> = None;
    for request in [request.clone(), streaming(request)] {
        let outcome = ask(runtime, request).await;
        let tokens: Vec<&Value> = outcome
            .logprobs
            .iter()
            .filter_map(|logprobs| logprobs["content"].as_array())
            .flatten()
            .collect();
        let names: Vec<String> = tokens
            .iter()
            .filter_map(|token| token["token"].as_str())
            .map(str::to_owned)
            .collect();
        assert!(
            names.concat().starts_with(&outcome.text) && !outcome.text.is_empty(),
            "the tokens {names:?} are those of the text {:?}",
            outcome.text
        );
        for token in &tokens {
            let own = token["logprob"].as_f64();
            let top = token["top_logprobs"].as_array().into_iter().flatten();
            let top: Vec<_> = top.map(|token| token["logprob"].as_f64()).collect();
            assert!(
                top.len() == 2 && top[0] >= top[1] && own.is_some_and(|own| own <= 0.0),
                "two likeliest tokens, likeliest first: {token}"
            );
            // At temperature 0.
            assert_eq!(own, top[0], "the likeliest token comes: {token}");
        }
        if let Some(whole) = whole.replace(names.clone()) {
            assert_eq!(whole, names, "in pieces the tokens are the same");
        }
    }
}

/// The same for completions, in the shape that OpenAI has for them.
///
/// # Panics
/// Where the contract is broken.
pub async fn completion_logprobs(runtime: &dyn Runtime, model: &str) {
    let mut wanted = request(model);
    wanted.logprobs = Some(2);
    for request in [wanted.clone(), streaming_text(wanted)] {
        let outcome = complete(runtime, request).await;
        let list = |name: &str| -> Vec<Value> {
            let lists = outcome.logprobs.iter().filter_map(|logprobs| logprobs[name].as_array());
            lists.flatten().cloned().collect()
        };
        let (tokens, offsets) = (list("tokens"), list("text_offset"));
        let names: Vec<&str> = tokens.iter().filter_map(Value::as_str).collect();
        assert!(
            names.concat().starts_with(&outcome.text),
            "the tokens {names:?} are those of the text {:?}",
            outcome.text
        );
        let mut place = 0;
        for (name, offset) in names.iter().zip(&offsets) {
            assert_eq!(
                offset.as_u64(),
                Some(place),
                "{name:?} begins there in {:?}",
                outcome.text
            );
            place += name.chars().count() as u64;
        }
        let (own, top) = (list("token_logprobs"), list("top_logprobs"));
        assert!(
            own.iter().all(|own| own.as_f64().is_some_and(|own| own <= 0.0)),
            "{own:?}"
        );
        assert!(
            top.iter()
                .all(|top| top.as_object().is_some_and(|top| matches!(top.len(), 2 | 3))),
            "{top:?}"
        );
        assert!(
            tokens.len() == offsets.len() && tokens.len() == own.len() && tokens.len() == top.len(),
            "the lists have one length"
        );
    }
}
