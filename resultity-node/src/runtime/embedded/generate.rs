//! Making tokens until it is time to stop. Runs on a thread of its own.

use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use resultity_core::openai::chat::Usage;
use tokio::sync::mpsc;

use super::answer::Answer;
use super::json::Json;
use super::logprobs::Scored;
use super::plan::{Plan, PromptPlan};
use super::sampling::Sampler;
use super::text::TextBuffer;
use super::{Engine, RuntimeError, RuntimeEvent};

/// Tokens of the prompt that are read between two looks at whether anybody still waits.
pub(super) const PREFILL_STEP: usize = 32;

/// Where events go.
pub(super) struct Sink(mpsc::Sender<Result<RuntimeEvent, RuntimeError>>);

/// Why there is no more to do.
pub(super) enum Halt {
    /// Nobody waits any more.
    Cancelled,
    Broken(candle_core::Error),
}

impl From<candle_core::Error> for Halt {
    fn from(error: candle_core::Error) -> Self {
        Self::Broken(error)
    }
}

impl Sink {
    pub(super) fn new(sender: mpsc::Sender<Result<RuntimeEvent, RuntimeError>>) -> Self {
        Self(sender)
    }

    /// Waits for a slow consumer.
    pub(super) fn send(&self, event: RuntimeEvent) -> Result<(), Halt> {
        self.0.blocking_send(Ok(event)).map_err(|_| Halt::Cancelled)
    }

    fn check(&self) -> Result<(), Halt> {
        if self.0.is_closed() {
            Err(Halt::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Makes all that the plan says. What happens goes to the sink.
pub(super) fn run(engine: &Engine, plan: Plan, sink: &Sink) {
    if let Err(Halt::Broken(error)) = try_run(engine, &plan, sink) {
        tracing::error!(%error, "the embedded engine failed");
        // If nobody waits, nobody wants to know.
        let _ = sink
            .0
            .blocking_send(Err(RuntimeError::Failed("the model could not be computed".to_owned())));
    }
}

fn try_run(engine: &Engine, plan: &Plan, sink: &Sink) -> Result<(), Halt> {
    let prompt_tokens = plan.prompts.iter().map(|prompt| prompt.tokens.len() as u64).sum();
    sink.send(RuntimeEvent::Prompt { tokens: prompt_tokens })?;
    let mut made = 0;
    let mut whole = Vec::new();
    let mut index = 0;
    for prompt in &plan.prompts {
        let mut start = Start::default();
        if prompt.max_tokens > 0 || (prompt.echo.is_some() && plan.manner.logprobs.is_some()) {
            start = Start::read(engine, plan, prompt, sink)?;
        }
        for number in 0..plan.choices {
            // All choices go on from the same prompt, which is read once.
            let mut answer = Answer::new(index, plan.manner, &engine.tokenizer, sink);
            if let Some(echo) = &prompt.echo {
                answer.echo(echo, &start.scored)?;
            }
            made += choice(engine, plan, prompt, number, &start, &mut answer, sink)?;
            whole.extend(answer.into_choice());
            index += 1;
        }
    }
    if !plan.manner.stream {
        sink.send(RuntimeEvent::Answer(whole))?;
    }
    sink.send(RuntimeEvent::Done(Usage::new(prompt_tokens, made)))
}

/// What all choices of a prompt begin with.
#[derive(Default)]
struct Start {
    /// The model after the prompt, and what weighs the first token of the answer.
    ready: Option<(ModelWeights, Tensor)>,
    /// The prompt's tokens, if they are to be told; each with the characters before it.
    scored: Vec<(usize, Scored)>,
}

impl Start {
    fn read(engine: &Engine, plan: &Plan, prompt: &PromptPlan, sink: &Sink) -> Result<Self, Halt> {
        let mut model = engine.weights.clone();
        let empty = || Halt::Broken(candle_core::Error::msg("the prompt has no tokens"));
        let Some(wanted) = plan.manner.logprobs.filter(|_| prompt.echo.is_some()) else {
            let mut logits = None;
            for (step, tokens) in prompt.tokens.chunks(PREFILL_STEP).enumerate() {
                sink.check()?;
                logits = Some(forward(&mut model, tokens, step * PREFILL_STEP)?);
            }
            return Ok(Self {
                ready: Some((model, logits.ok_or_else(empty)?)),
                scored: Vec::new(),
            });
        };
        // The model tells only what follows the last token that it reads: one at a time.
        let (mut scored, mut text, mut logits) = (Vec::new(), TextBuffer::new(&[]), None::<Tensor>);
        for (position, token) in prompt.tokens.iter().enumerate() {
            sink.check()?;
            let score = match &logits {
                None => Scored::first(*token),
                Some(logits) => Scored::new(&logits.to_vec1()?, *token, wanted.top),
            };
            scored.push((text.length().characters, score));
            text.push(&engine.tokenizer.shown(*token));
            logits = Some(forward(&mut model, &[*token], position)?);
        }
        Ok(Self {
            ready: Some((model, logits.ok_or_else(empty)?)),
            scored,
        })
    }
}

pub(super) fn forward(model: &mut ModelWeights, tokens: &[u32], position: usize) -> candle_core::Result<Tensor> {
    let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
    model.forward(&input, position)?.squeeze(0)
}

/// Makes one choice and says how many tokens that took. The token that ends an answer counts: it was computed like any other.
fn choice(
    engine: &Engine,
    plan: &Plan,
    prompt: &PromptPlan,
    number: u32,
    start: &Start,
    answer: &mut Answer<'_>,
    sink: &Sink,
) -> Result<u64, Halt> {
    let Some((mut model, mut logits)) = start.ready.clone().filter(|_| prompt.max_tokens > 0) else {
        answer.finish("length", false)?;
        return Ok(0);
    };
    let tokenizer = &engine.tokenizer;
    let mut sampler = Sampler::new(plan.sampling, &plan.bias, plan.seed.wrapping_add(number.into()));
    let mut text = TextBuffer::new(&plan.stops);
    let mut json = plan.json.then(Json::new);
    for made in 1..=prompt.max_tokens {
        sink.check()?;
        let allowed = json.map(|json| engine.allowed(json));
        let token = sampler.sample(&logits, allowed.as_deref())?;
        let ended = tokenizer.is_end(token);
        if !ended {
            if let Some(wanted) = plan.manner.logprobs {
                answer.token(text.length(), Scored::new(&logits.to_vec1()?, token, wanted.top));
            }
            let bytes = tokenizer.bytes(token);
            json = json.and_then(|json| json.after(bytes));
            let ready = text.push(bytes);
            answer.text(ready, text.shown())?;
        }
        if ended || text.is_stopped() || json.is_some_and(|json| json.is_done()) {
            let rest = text.finish();
            answer.text(rest, text.shown())?;
            answer.finish("stop", text.is_stopped())?;
            return Ok(made as u64);
        }
        if made < prompt.max_tokens {
            logits = forward(&mut model, &[token], prompt.tokens.len() + made - 1)?;
        }
    }
    let rest = text.finish();
    answer.text(rest, text.shown())?;
    answer.finish("length", false)?;
    Ok(prompt.max_tokens as u64)
}
