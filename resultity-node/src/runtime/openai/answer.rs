//! Answers that come in one piece.

use resultity_core::openai::chat::{Choice, Usage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Expected, failure};
use crate::runtime::{RuntimeError, RuntimeEvent};

/// The parts of an engine's answer that go on. Its id, fingerprint and timings don't.
#[derive(Deserialize)]
#[serde(bound = "C: DeserializeOwned")]
struct EngineAnswer<C> {
    #[serde(default = "Vec::new")]
    choices: Vec<C>,
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

/// The events of a whole answer, whose choices the engine writes as `C`.
pub(super) fn events<C: DeserializeOwned + Into<Choice>>(
    body: &[u8],
    expected: &Expected,
) -> Result<[RuntimeEvent; 2], RuntimeError> {
    let answer: EngineAnswer<C> =
        serde_json::from_slice(body).map_err(|_| RuntimeError::Failed("its answer can't be read".to_owned()))?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(failure::of_event(&error, &expected.model));
    }
    if answer.choices.is_empty() {
        return Err(RuntimeError::Failed("its answer is empty".to_owned()));
    }
    let choices: Vec<Choice> = answer.choices.into_iter().map(Into::into).collect();
    let usage = answer.usage.map_or_else(|| estimate(&choices, expected), Usage::from);
    Ok([RuntimeEvent::Answer(choices), RuntimeEvent::Done(usage)])
}

/// For engines that count nothing: four bytes make a token.
fn estimate(choices: &[Choice], expected: &Expected) -> Usage {
    let bytes = |choice: &Choice| choice.message.content.as_ref().map_or(0, String::len) as u64;
    Usage::new(
        expected.prompt_tokens(),
        choices.iter().map(|choice| bytes(choice).div_ceil(4)).sum(),
    )
}
