//! Making tokens until it is time to stop. Runs on a thread of its own.

use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use resultity_core::openai::chat::{AnswerMessage, Choice, ChunkChoice, Usage};
use tokio::sync::mpsc;

use super::plan::Plan;
use super::sampling::Sampler;
use super::text::TextBuffer;
use super::{Engine, RuntimeError, RuntimeEvent};

/// Tokens of the prompt that are read between two looks at whether anybody still waits.
const PREFILL_STEP: usize = 32;

/// Where events go.
pub(super) struct Sink(mpsc::Sender<Result<RuntimeEvent, RuntimeError>>);

/// Why there is no more to do.
enum Halt {
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
    fn send(&self, event: RuntimeEvent) -> Result<(), Halt> {
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
    let prompt_tokens = plan.prompt.len() as u64;
    sink.send(RuntimeEvent::Prompt { tokens: prompt_tokens })?;
    let mut model = engine.weights.clone();
    let logits = prefill(&mut model, &plan.prompt, sink)?;
    let mut made = 0;
    let mut whole = Vec::new();
    for index in 0..plan.choices {
        // All choices go on from the same prompt, which is read once.
        let mut answer = Answer::new(index, plan.stream, sink);
        made += choice(engine, plan, index, model.clone(), logits.clone(), &mut answer)?;
        whole.extend(answer.into_choice());
    }
    if !plan.stream {
        sink.send(RuntimeEvent::Answer(whole))?;
    }
    sink.send(RuntimeEvent::Done(Usage::new(prompt_tokens, made)))
}

/// Reads the prompt; what comes out weighs the first token of the answer.
fn prefill(model: &mut ModelWeights, prompt: &[u32], sink: &Sink) -> Result<Tensor, Halt> {
    let mut logits = None;
    for (step, tokens) in prompt.chunks(PREFILL_STEP).enumerate() {
        sink.check()?;
        logits = Some(forward(model, tokens, step * PREFILL_STEP)?);
    }
    logits.ok_or_else(|| Halt::Broken(candle_core::Error::msg("the prompt has no tokens")))
}

fn forward(model: &mut ModelWeights, tokens: &[u32], position: usize) -> candle_core::Result<Tensor> {
    let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
    model.forward(&input, position)?.squeeze(0)
}

/// Makes one choice and says how many tokens that took. The token that ends an answer counts: it was computed like any other.
fn choice(
    engine: &Engine,
    plan: &Plan,
    index: u32,
    mut model: ModelWeights,
    mut logits: Tensor,
    answer: &mut Answer<'_>,
) -> Result<u64, Halt> {
    let mut sampler = Sampler::new(plan.sampling, plan.seed.wrapping_add(index.into()));
    let mut text = TextBuffer::new(&plan.stops);
    for made in 1..=plan.max_tokens {
        answer.sink.check()?;
        let token = sampler.sample(&logits)?;
        let ended = engine.tokenizer.is_end(token);
        if !ended {
            answer.text(text.push(engine.tokenizer.bytes(token)))?;
        }
        if ended || text.is_stopped() {
            answer.text(text.finish())?;
            answer.finish("stop")?;
            return Ok(made as u64);
        }
        if made < plan.max_tokens {
            logits = forward(&mut model, &[token], plan.prompt.len() + made - 1)?;
        }
    }
    answer.text(text.finish())?;
    answer.finish("length")?;
    Ok(plan.max_tokens as u64)
}

/// One choice on its way out: in pieces, or gathered.
struct Answer<'a> {
    index: u32,
    sink: &'a Sink,
    stream: bool,
    begun: bool,
    gathered: String,
    reason: Option<&'static str>,
}

impl<'a> Answer<'a> {
    fn new(index: u32, stream: bool, sink: &'a Sink) -> Self {
        Self {
            index,
            sink,
            stream,
            begun: false,
            gathered: String::new(),
            reason: None,
        }
    }

    fn text(&mut self, text: String) -> Result<(), Halt> {
        if text.is_empty() {
            return Ok(());
        }
        if self.stream {
            return self.piece(ChunkChoice::text(self.index, text));
        }
        self.gathered.push_str(&text);
        Ok(())
    }

    fn finish(&mut self, reason: &'static str) -> Result<(), Halt> {
        self.reason = Some(reason);
        if self.stream {
            self.piece(ChunkChoice::finish(self.index, reason))
        } else {
            Ok(())
        }
    }

    /// The first piece says who speaks.
    fn piece(&mut self, mut piece: ChunkChoice) -> Result<(), Halt> {
        if !self.begun {
            self.begun = true;
            piece.delta.role = Some("assistant".to_owned());
        }
        self.sink.send(RuntimeEvent::Delta(vec![piece]))
    }

    /// The whole choice, if it was not sent in pieces.
    fn into_choice(self) -> Option<Choice> {
        let message = AnswerMessage {
            role: "assistant".to_owned(),
            content: Some(self.gathered),
            ..AnswerMessage::default()
        };
        let finish_reason = self.reason.map(str::to_owned);
        (!self.stream).then_some(Choice {
            index: self.index,
            message,
            logprobs: None,
            finish_reason,
        })
    }
}
