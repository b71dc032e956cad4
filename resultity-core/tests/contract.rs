//! The contract scenarios themselves: a model citizen passes, and every kind of fault is caught.
#![cfg(feature = "testing")]

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use resultity_core::api::cloud::{ChatApi, ChatStream, ModelsApi, Reply, ReplyMeta};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::{
    AnswerMessage, ChatChunk, ChatCompletion, ChatRequest, Choice, ChunkChoice, Delta, Usage,
};
use resultity_core::openai::model::{Model, ModelList};
use resultity_core::testing::chat;
use rstest::rstest;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an implementation may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ModelNotListed,
    SameId,
    ForgetsUsage,
    IgnoresLimit,
    OtherTextInStream,
    NoRole,
    TwoEnds,
    NoEnd,
    UnaskedUsage,
    OpensBadStreams,
    WrongParam,
    ChangesModelName,
    CutStream,
}

/// Answers with as many words as it may.
struct Fake {
    fault: Fault,
    answers: AtomicU64,
}

const MODEL: &str = "demo";

impl Fake {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            answers: AtomicU64::new(0),
        }
    }

    fn id(&self) -> String {
        let number = if self.fault == Fault::SameId {
            0
        } else {
            self.answers.fetch_add(1, Ordering::Relaxed)
        };
        format!("chatcmpl-{number}")
    }

    fn name(&self, asked: &str) -> String {
        if self.fault == Fault::ChangesModelName {
            "other".into()
        } else {
            asked.into()
        }
    }

    fn check(&self, request: &ChatRequest) -> Result<u64, ApiError> {
        let bad = |code, param: &str| {
            let param = if self.fault == Fault::WrongParam { "body" } else { param };
            Err(ApiError::new(code, "no").with_param(param))
        };
        let out_of = |value: Option<f64>, low: f64, high: f64| value.is_some_and(|value| value < low || value > high);
        if request.model != MODEL {
            return bad(ErrorCode::ModelNotFound, "model");
        }
        if request.messages.is_empty() {
            return bad(ErrorCode::InvalidValue, "messages");
        }
        for (index, message) in request.messages.iter().enumerate() {
            if message.role != "user" {
                return bad(ErrorCode::InvalidValue, &format!("messages[{index}].role"));
            }
            if message.content.is_none() {
                return bad(ErrorCode::MissingField, &format!("messages[{index}].content"));
            }
        }
        for (param, refused) in [
            ("temperature", out_of(request.temperature, 0.0, 2.0)),
            ("top_p", out_of(request.top_p, 0.0, 1.0)),
            ("n", request.n.is_some_and(|n| n == 0 || n > 16)),
            ("stop", request.stop.as_ref().is_some_and(|stop| stop.texts().len() > 4)),
            ("presence_penalty", request.extra.contains_key("presence_penalty")),
            ("frequency_penalty", request.extra.contains_key("frequency_penalty")),
            ("max_completion_tokens", request.max_completion_tokens == Some(0)),
            ("max_tokens", request.max_tokens == Some(0)),
        ] {
            if refused {
                return bad(ErrorCode::InvalidValue, param);
            }
        }
        match request.token_limit().unwrap_or(16) {
            limit if limit > 2048 => bad(ErrorCode::ContextLengthExceeded, "max_tokens"),
            _ if self.fault == Fault::IgnoresLimit => Ok(30),
            limit => Ok(limit),
        }
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::ModelNotFound, "no such model")
}

#[async_trait]
impl ModelsApi for Fake {
    async fn models(&self) -> Result<Reply<ModelList>, ApiError> {
        let name = if self.fault == Fault::ModelNotListed {
            "other"
        } else {
            MODEL
        };
        Ok(Reply {
            body: ModelList::new(vec![Model::new(name, 1)]),
            meta: ReplyMeta::default(),
        })
    }

    async fn model(&self, id: &str) -> Result<Reply<Model>, ApiError> {
        if id != MODEL {
            return Err(not_found());
        }
        Ok(Reply {
            body: Model::new(id, 1),
            meta: ReplyMeta::default(),
        })
    }
}

#[async_trait]
impl ChatApi for Fake {
    async fn chat(&self, request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError> {
        let tokens = self.check(&request)?;
        let text = "word ".repeat(tokens as usize);
        let message = AnswerMessage {
            role: "assistant".into(),
            content: Some(text),
            ..AnswerMessage::default()
        };
        let choice = Choice {
            index: 0,
            message,
            logprobs: None,
            finish_reason: Some("length".into()),
        };
        let body = ChatCompletion {
            id: self.id(),
            object: "chat.completion".into(),
            created: 1,
            model: self.name(&request.model),
            choices: vec![choice],
            usage: (self.fault != Fault::ForgetsUsage).then(|| Usage::new(7, tokens)),
            extra: serde_json::Map::new(),
        };
        Ok(Reply {
            body,
            meta: ReplyMeta::default(),
        })
    }

    async fn chat_stream(&self, request: ChatRequest) -> Result<ChatStream, ApiError> {
        let tokens = match self.check(&request) {
            Err(error) if self.fault == Fault::OpensBadStreams => {
                return Ok(ChatStream::new(
                    ReplyMeta::default(),
                    stream::iter([Err(error)]).boxed(),
                ));
            }
            checked => checked?,
        };
        let template = ChatChunk {
            id: self.id(),
            object: "chat.completion.chunk".into(),
            created: 1,
            model: self.name(&request.model),
            choices: vec![],
            usage: None,
        };
        let mut choices = Vec::new();
        if self.fault != Fault::NoRole {
            let delta = Delta {
                role: Some("assistant".into()),
                ..Delta::default()
            };
            choices.push(ChunkChoice {
                delta,
                ..ChunkChoice::default()
            });
        }
        let word = if self.fault == Fault::OtherTextInStream {
            "other "
        } else {
            "word "
        };
        choices.extend((0..tokens).map(|_| ChunkChoice::text(0, word)));
        let ends = match self.fault {
            Fault::NoEnd => 0,
            Fault::TwoEnds => 2,
            _ => 1,
        };
        choices.extend((0..ends).map(|_| ChunkChoice::finish(0, "length")));
        let mut chunks: Vec<_> = choices
            .into_iter()
            .map(|choice| {
                Ok(ChatChunk {
                    choices: vec![choice],
                    ..template.clone()
                })
            })
            .collect();
        if request.wants_usage() || self.fault == Fault::UnaskedUsage {
            chunks.push(Ok(ChatChunk {
                usage: Some(Usage::new(7, tokens)),
                ..template
            }));
        }
        if self.fault == Fault::CutStream {
            chunks.push(Err(ApiError::new(ErrorCode::StreamCut, "cut")));
        }
        Ok(ChatStream::new(ReplyMeta::default(), stream::iter(chunks).boxed()))
    }
}

#[test]
fn a_model_citizen_passes() {
    chat::all(&Fake::new(Fault::None), MODEL)
        .now_or_never()
        .expect("the fake never waits");
}

#[rstest]
fn every_fault_is_caught(
    #[values(
        Fault::ModelNotListed,
        Fault::SameId,
        Fault::ForgetsUsage,
        Fault::IgnoresLimit,
        Fault::OtherTextInStream,
        Fault::NoRole,
        Fault::TwoEnds,
        Fault::NoEnd,
        Fault::UnaskedUsage,
        Fault::OpensBadStreams,
        Fault::WrongParam,
        Fault::ChangesModelName,
        Fault::CutStream
    )]
    fault: Fault,
) {
    let api = Fake::new(fault);
    let run = AssertUnwindSafe(chat::all(&api, MODEL)).catch_unwind();
    assert!(
        run.now_or_never().expect("the fake never waits").is_err(),
        "{fault:?} was not seen"
    );
}
