//! What a model can do: the names in a model's `capabilities`. They decide which requests are passed on to the nodes that
//! serve it, and which are refused with the name of the field.

use std::fmt;
use std::str::FromStr;

use crate::job::JobKind;

/// Something that a model, with the engine behind it, can do. Temperature, `top_p`, token limits and streams need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Chat completions, and responses.
    Chat,
    /// Completions of a text.
    Completions,
    /// Embeddings.
    Embeddings,
    /// What a container computes.
    Container,
    /// Proofs of what a container computed.
    Proofs,
    /// Several choices of one request.
    N,
    /// Log-probabilities of tokens.
    Logprobs,
    /// Texts that end an answer.
    Stop,
    /// Sampling that can be repeated.
    Seed,
    /// `frequency_penalty` and `presence_penalty`.
    Penalties,
    /// Tokens made more or less likely.
    LogitBias,
    /// Answers that are a JSON object.
    JsonObject,
    /// Answers that follow a JSON schema.
    JsonSchema,
    /// Calls of functions.
    Tools,
    /// `reasoning_effort`.
    ReasoningEffort,
    /// `verbosity`.
    Verbosity,
    /// `prediction`.
    Prediction,
    /// Images in messages.
    Images,
    /// Sound in messages.
    Audio,
    /// Files in messages.
    Files,
    /// Completions that begin with their prompt.
    Echo,
    /// Completions between two texts.
    Suffix,
    /// The best of several completions.
    BestOf,
    /// Embeddings of fewer dimensions.
    Dimensions,
    /// Prompts and inputs as ids of the model's own tokens.
    TokenIds,
    /// Inputs of embeddings as token ids of the encoding `cl100k_base`; the server turns them into text.
    Cl100kBase,
    /// Fields that OpenAI does not have, such as `top_k`: they go to the engine as they are.
    Extra,
}

impl Capability {
    /// All that this version knows.
    pub const ALL: [Self; 27] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Container,
        Self::Proofs,
        Self::N,
        Self::Logprobs,
        Self::Stop,
        Self::Seed,
        Self::Penalties,
        Self::LogitBias,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Tools,
        Self::ReasoningEffort,
        Self::Verbosity,
        Self::Prediction,
        Self::Images,
        Self::Audio,
        Self::Files,
        Self::Echo,
        Self::Suffix,
        Self::BestOf,
        Self::Dimensions,
        Self::TokenIds,
        Self::Cl100kBase,
        Self::Extra,
    ];

    /// The name in a model's `capabilities`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Container => "container",
            Self::Proofs => "proofs",
            Self::N => "n",
            Self::Logprobs => "logprobs",
            Self::Stop => "stop",
            Self::Seed => "seed",
            Self::Penalties => "penalties",
            Self::LogitBias => "logit_bias",
            Self::JsonObject => "json_object",
            Self::JsonSchema => "json_schema",
            Self::Tools => "tools",
            Self::ReasoningEffort => "reasoning_effort",
            Self::Verbosity => "verbosity",
            Self::Prediction => "prediction",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Files => "files",
            Self::Echo => "echo",
            Self::Suffix => "suffix",
            Self::BestOf => "best_of",
            Self::Dimensions => "dimensions",
            Self::TokenIds => "token_ids",
            Self::Cl100kBase => "cl100k_base",
            Self::Extra => "extra",
        }
    }

    /// What a model must be able to do before it is asked for a job of this kind.
    pub const fn for_kind(kind: JobKind) -> Self {
        match kind {
            JobKind::ChatCompletion | JobKind::Score => Self::Chat,
            JobKind::Completion => Self::Completions,
            JobKind::Embedding => Self::Embeddings,
            JobKind::Container => Self::Container,
        }
    }

    /// Everything that makes text: for a model of an external engine, of which nobody says what it cannot do.
    ///
    /// ```
    /// use resultity_core::capability::Capability;
    /// let capabilities = Capability::of_text_engine();
    /// assert!(capabilities.iter().any(|name| name == "tools") && !capabilities.iter().any(|name| name == "embeddings"));
    /// ```
    pub fn of_text_engine() -> Vec<String> {
        // Engines of today do without `suffix` and `best_of`.
        let no_text = [
            Self::Embeddings,
            Self::Container,
            Self::Proofs,
            Self::Dimensions,
            Self::Cl100kBase,
            Self::Suffix,
            Self::BestOf,
        ];
        Self::names(Self::ALL.into_iter().filter(|capability| !no_text.contains(capability)))
    }

    /// These, as they stand in a model's `capabilities`.
    pub fn names(capabilities: impl IntoIterator<Item = Self>) -> Vec<String> {
        capabilities
            .into_iter()
            .map(|capability| capability.as_str().to_owned())
            .collect()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no capability that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a capability, such as chat, completions, embeddings, container, tools")]
pub struct UnknownCapability;

impl FromStr for Capability {
    type Err = UnknownCapability;
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == text)
            .ok_or(UnknownCapability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_reads_back_from_its_name() {
        for capability in Capability::ALL {
            assert_eq!(capability.as_str().parse(), Ok(capability));
        }
        assert!("Chat".parse::<Capability>().is_err());
    }
}
