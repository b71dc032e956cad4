//! Answers that come in one piece.

use resultity_core::openai::chat::{Choice, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::{Expected, failure};
use crate::runtime::{RuntimeError, RuntimeEvent};

/// The parts of an engine's answer that go on. Its id, fingerprint and timings don't.
#[derive(Deserialize)]
struct EngineAnswer {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
}

/// Token counts as engines have them.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        Self::new(counts.prompt_tokens, counts.completion_tokens)
    }
}

/// The events of a whole answer.
pub(super) fn events(body: &[u8], expected: &Expected) -> Result<[RuntimeEvent; 2], RuntimeError> {
    let answer: EngineAnswer =
        serde_json::from_slice(body).map_err(|_| RuntimeError::Failed("its answer can't be read".to_owned()))?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(failure::of_event(&error, &expected.model));
    }
    if answer.choices.is_empty() {
        return Err(RuntimeError::Failed("its answer is empty".to_owned()));
    }
    let usage = answer
        .usage
        .map_or_else(|| estimate(&answer.choices, expected), Usage::from);
    Ok([RuntimeEvent::Answer(answer.choices), RuntimeEvent::Done(usage)])
}

/// For engines that count nothing: four bytes make a token.
fn estimate(choices: &[Choice], expected: &Expected) -> Usage {
    let bytes = |choice: &Choice| choice.message.content.as_ref().map_or(0, String::len) as u64;
    Usage::new(
        expected.prompt_tokens(),
        choices.iter().map(|choice| bytes(choice).div_ceil(4)).sum(),
    )
}
