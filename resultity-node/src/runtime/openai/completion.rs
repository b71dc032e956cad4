//! Completions: one request to the engine for each prompt, because engines differ in what they make of lists.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use resultity_core::openai::chat::{Choice, Usage};
use resultity_core::openai::completion::{CompletionRequest, Prompt};

use super::engine::{self, Ask, Endpoint, Engine};
use super::legacy::{Rewriter, TextChoice};
use super::{ANSWER_LIMIT, Expected, echo, stream_options};
use crate::runtime::{RuntimeError, RuntimeEvent, RuntimeStream};

/// The most tokens per choice where a request does not say so, as with OpenAI. Engines have other ideas, or no limit.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// The events of all prompts, one after the other.
pub(crate) async fn complete(
    engine: Arc<dyn Engine>,
    request: CompletionRequest,
) -> Result<RuntimeStream, RuntimeError> {
    refuse_what_engines_ignore(&request)?;
    let choices = u32::try_from(request.n.unwrap_or(1)).unwrap_or(u32::MAX);
    let mut requests = apart(request);
    let Some(first) = requests.pop_front() else {
        return Err(RuntimeError::invalid_field("prompt", "expected at least one text"));
    };
    // What is wrong with a request shows before the answer begins.
    let current = echo::ask(&*engine, first).await?;
    let sequence = Sequence {
        engine,
        requests,
        current,
        choices,
        base: 0,
        rewriter: Rewriter::default(),
        whole: Vec::new(),
        usage: Usage::default(),
        ended: false,
    };
    let events = futures::stream::unfold(Box::new(sequence), |mut sequence| async move {
        if sequence.ended {
            return None;
        }
        let event = sequence.next().await;
        sequence.ended = matches!(event, Ok(RuntimeEvent::Done(_)) | Err(_));
        Some((event, sequence))
    });
    Ok(events.boxed())
}

/// llama.cpp answers as if these were not there, and vLLM has given one of them up: nothing in an answer would show it.
fn refuse_what_engines_ignore(request: &CompletionRequest) -> Result<(), RuntimeError> {
    let field = |name: &str| request.extra.get(name).filter(|value| !value.is_null());
    if field("suffix").is_some_and(|suffix| suffix != "") {
        return Err(RuntimeError::invalid_field("suffix", "the engine does not support it"));
    }
    let choices = request.n.unwrap_or(1);
    if field("best_of").is_some_and(|best_of| best_of.as_u64() != Some(choices)) {
        return Err(RuntimeError::invalid_field(
            "best_of",
            "the engine supports only the value of n",
        ));
    }
    Ok(())
}

/// A request for each prompt, as the engine gets it.
fn apart(mut request: CompletionRequest) -> VecDeque<CompletionRequest> {
    for settled in ["suffix", "best_of"] {
        request.extra.remove(settled);
    }
    request.stream_options = stream_options(request.is_stream(), request.stream_options.take());
    request.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
    let prompts: Vec<Prompt> = match std::mem::replace(&mut request.prompt, Prompt::Texts(Vec::new())) {
        Prompt::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
        Prompt::TokenLists(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
        one => vec![one],
    };
    let with = |prompt| {
        let mut request = request.clone();
        request.prompt = prompt;
        request
    };
    prompts.into_iter().map(with).collect()
}

/// Asks the engine for one prompt.
pub(super) async fn ask(engine: &dyn Engine, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
    let expected = Expected::of_completion(&request);
    let ask = Ask::new(Endpoint::Completions, &request, &expected, ANSWER_LIMIT)?;
    let said = engine.ask(ask).await?;
    engine::events::<TextChoice, TextChoice>(said, expected)
}

struct Sequence {
    engine: Arc<dyn Engine>,
    /// Those that are still to be sent.
    requests: VecDeque<CompletionRequest>,
    /// What comes of the one that was sent last.
    current: RuntimeStream,
    /// For each prompt.
    choices: u32,
    /// The index of the first choice of the current prompt.
    base: u32,
    rewriter: Rewriter,
    /// The choices of answers that come whole.
    whole: Vec<Choice>,
    /// Of the prompts that are done.
    usage: Usage,
    ended: bool,
}

impl Sequence {
    async fn next(&mut self) -> Result<RuntimeEvent, RuntimeError> {
        loop {
            match self.current.next().await {
                Some(Ok(RuntimeEvent::Delta(mut pieces))) => {
                    for piece in &mut pieces {
                        piece.index = self.index(piece.index)?;
                        self.rewriter.rewrite(piece.index, &mut piece.logprobs);
                    }
                    return Ok(RuntimeEvent::Delta(pieces));
                }
                Some(Ok(RuntimeEvent::Answer(choices))) => {
                    for mut choice in choices {
                        choice.index = self.index(choice.index)?;
                        self.rewriter.rewrite(choice.index, &mut choice.logprobs);
                        self.whole.push(choice);
                    }
                }
                Some(Ok(RuntimeEvent::Done(usage))) => {
                    self.usage = Usage::new(
                        self.usage.prompt_tokens.saturating_add(usage.prompt_tokens),
                        self.usage.completion_tokens.saturating_add(usage.completion_tokens),
                    );
                    if let Some(request) = self.requests.pop_front() {
                        self.base = self.base.saturating_add(self.choices);
                        // An engine may have room for one only.
                        self.current = futures::stream::empty().boxed();
                        self.current = echo::ask(&*self.engine, request).await?;
                    } else if self.whole.is_empty() {
                        return Ok(RuntimeEvent::Done(self.usage));
                    } else {
                        // Then once more to the end of the events, and to the counts.
                        let done = Ok(RuntimeEvent::Done(Usage::default()));
                        self.current = futures::stream::iter([done]).boxed();
                        return Ok(RuntimeEvent::Answer(std::mem::take(&mut self.whole)));
                    }
                }
                Some(Ok(RuntimeEvent::Prompt { .. })) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(RuntimeError::Failed("its answer was cut".to_owned())),
            }
        }
    }

    /// The index among all choices.
    fn index(&self, index: u32) -> Result<u32, RuntimeError> {
        if index < self.choices {
            Ok(self.base.saturating_add(index))
        } else {
            Err(RuntimeError::Failed("it made choices that nobody asked for".to_owned()))
        }
    }
}
