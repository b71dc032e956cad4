//! The response itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::item::{OutputItem, OutputPart};
use super::request::{ReasoningOptions, ResponseRequest, ResponseTool, TextFormat, TextOptions};
use crate::id::ResponseId;
use crate::openai::chat::Usage;

/// Where a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseStatus {
    /// It waits for a node.
    Queued,
    /// A node works on it.
    InProgress,
    /// The answer is whole.
    Completed,
    /// There is no answer; `error` says why.
    Failed,
    /// The caller has stopped it.
    Cancelled,
    /// The answer was cut off; `incomplete_details` says why.
    Incomplete,
}

impl ResponseStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Incomplete => "incomplete",
        }
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// What became of a request, as far as it is known. Optional fields are there as `null`, as OpenAI has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Response {
    /// `resp_…`: that of the job, with a prefix.
    pub id: ResponseId,
    /// Always `response`.
    pub object: String,
    /// When it was accepted: seconds since the Unix epoch.
    pub created_at: i64,
    /// Where it stands.
    pub status: ResponseStatus,
    /// Whether nobody waits for it.
    #[serde(default)]
    pub background: Option<bool>,
    /// When the answer was whole: seconds since the Unix epoch.
    #[serde(default)]
    pub completed_at: Option<i64>,
    /// Why there is no answer.
    #[serde(default)]
    pub error: Option<ResponseFailure>,
    /// Why the answer was cut off.
    #[serde(default)]
    pub incomplete_details: Option<IncompleteDetails>,
    /// What the model was told about its part.
    #[serde(default)]
    pub instructions: Option<String>,
    /// The most tokens to make.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// The most calls of built-in tools.
    #[serde(default)]
    pub max_tool_calls: Option<u64>,
    /// The name that was asked for.
    pub model: String,
    /// The answer.
    pub output: Vec<OutputItem>,
    /// Whether several tools may be called at once.
    pub parallel_tool_calls: bool,
    /// The response that it goes on from.
    #[serde(default)]
    pub previous_response_id: Option<String>,
    /// As asked for.
    #[serde(default)]
    pub prompt_cache_key: Option<String>,
    /// How the model should think.
    #[serde(default)]
    pub reasoning: Option<ReasoningOptions>,
    /// As asked for.
    #[serde(default)]
    pub safety_identifier: Option<String>,
    /// `default`, or `flex`: as if in a batch.
    #[serde(default)]
    pub service_tier: Option<String>,
    /// Whether it is kept.
    #[serde(default)]
    pub store: Option<bool>,
    /// As asked for; none: the model's own.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// What the text should be like.
    #[serde(default)]
    pub text: Option<TextOptions>,
    /// How a tool is chosen.
    pub tool_choice: Value,
    /// What the model may call.
    pub tools: Vec<ResponseTool>,
    /// How many of the likeliest tokens are told at each place.
    #[serde(default)]
    pub top_logprobs: Option<u64>,
    /// As asked for; none: the model's own.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// Always `disabled`.
    #[serde(default)]
    pub truncation: Option<String>,
    /// The token counts, once there is an answer.
    #[serde(default)]
    pub usage: Option<ResponseUsage>,
    /// As asked for.
    #[serde(default)]
    pub user: Option<String>,
    /// The caller's own notes.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Response {
    /// What is known of a request that was just accepted.
    pub fn begun(id: ResponseId, created_at: i64, request: &ResponseRequest) -> Self {
        let mut text = request.text.clone().unwrap_or_default();
        text.format.get_or_insert_with(TextFormat::text);
        Self {
            id,
            object: "response".into(),
            created_at,
            status: if request.is_background() {
                ResponseStatus::Queued
            } else {
                ResponseStatus::InProgress
            },
            background: Some(request.is_background()),
            completed_at: None,
            error: None,
            incomplete_details: None,
            instructions: request.instructions.clone(),
            max_output_tokens: request.max_output_tokens,
            max_tool_calls: request.max_tool_calls,
            model: request.model.clone(),
            output: Vec::new(),
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            previous_response_id: request.previous_response_id.clone(),
            prompt_cache_key: request.prompt_cache_key.clone(),
            reasoning: Some(request.reasoning.clone().unwrap_or_default()),
            safety_identifier: request.safety_identifier.clone(),
            service_tier: Some(
                match request.service_tier.as_deref() {
                    Some("flex") => "flex",
                    _ => "default",
                }
                .into(),
            ),
            store: Some(request.is_stored()),
            temperature: request.temperature,
            text: Some(text),
            tool_choice: request.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            tools: request.tools.clone().unwrap_or_default(),
            top_logprobs: Some(request.top_logprobs.unwrap_or(0)),
            top_p: request.top_p,
            truncation: Some("disabled".into()),
            usage: None,
            user: request.user.clone(),
            metadata: Some(request.metadata.clone().unwrap_or_default()),
            extra: Map::new(),
        }
    }

    /// All that the model says, one text after the other.
    pub fn text(&self) -> String {
        let messages = self.output.iter().filter_map(|item| match item {
            OutputItem::Message(message) => Some(&message.content),
            _ => None,
        });
        let texts = messages.flatten().filter_map(|part| match part {
            OutputPart::OutputText { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResponseFailure {
    /// `server_error`, `rate_limit_exceeded` or `invalid_prompt`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Why an answer was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncompleteDetails {
    /// `max_output_tokens` or `content_filter`.
    pub reason: String,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResponseUsage {
    /// Tokens of the input, with what the chat template adds.
    pub input_tokens: u64,
    /// What is known of them.
    pub input_tokens_details: InputTokensDetails,
    /// Tokens made.
    pub output_tokens: u64,
    /// What is known of them.
    pub output_tokens_details: OutputTokensDetails,
    /// Both.
    pub total_tokens: u64,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            ..Self::default()
        }
    }
}

/// What is known of input tokens: nothing is cached between jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InputTokensDetails {
    /// Always 0.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Always 0.
    pub cached_tokens: u64,
}

/// What is known of output tokens: engines do not count what was thought by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutputTokensDetails {
    /// Always 0.
    pub reasoning_tokens: u64,
}

/// The answer to `DELETE /v1/responses/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeletedResponse {
    /// Which one.
    pub id: ResponseId,
    /// Always `response`.
    pub object: String,
    /// Always true.
    pub deleted: bool,
}

impl DeletedResponse {
    /// This one is gone.
    pub fn new(id: ResponseId) -> Self {
        Self {
            id,
            object: "response".into(),
            deleted: true,
        }
    }
}
