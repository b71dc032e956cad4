//! A request, checked and cut into tokens: what is to be generated.

use resultity_core::openai::chat::{ChatRequest, Stop};
use resultity_core::openai::completion::{CompletionRequest, Prompt};

use super::answer::Manner;
use super::fields::{self, Fields};
use super::logprobs::text_of;
use super::metadata::Metadata;
use super::sampling::Sampling;
use super::{Engine, RuntimeError, template};

/// The most choices of one prompt, as with OpenAI.
const MAX_CHOICES: u64 = 128;

/// The most choices over all prompts of a request.
const MAX_TEXTS: u64 = 2048;

/// The most tokens per choice of a completion that does not say so, as with OpenAI.
const COMPLETION_TOKENS: u64 = 16;

/// What counts where a request says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) max_tokens: u64,
    temperature: f64,
    top_p: f64,
}

impl Defaults {
    pub(super) fn new(metadata: &Metadata<'_>, max_tokens: u64) -> Self {
        let within = |key, low: f64, high: f64| metadata.float(key).filter(|value| (low..=high).contains(value));
        Self {
            max_tokens,
            temperature: within("general.sampling.temp", 0.0, 2.0).unwrap_or(0.7),
            top_p: within("general.sampling.top_p", 0.0, 1.0).unwrap_or(1.0),
        }
    }
}

/// What is to be generated.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) prompts: Vec<PromptPlan>,
    /// For each prompt.
    pub(super) choices: u32,
    pub(super) manner: Manner,
    pub(super) stops: Vec<String>,
    pub(super) sampling: Sampling,
    /// What is added to the numbers of these tokens.
    pub(super) bias: Vec<(u32, f32)>,
    /// Whether the answer is to be a JSON object.
    pub(super) json: bool,
    pub(super) seed: u64,
}

/// A text that is to be continued.
#[derive(Debug)]
pub(super) struct PromptPlan {
    /// At least one.
    pub(super) tokens: Vec<u32>,
    /// Tokens per choice; they fit.
    pub(super) max_tokens: usize,
    /// What each choice begins with.
    pub(super) echo: Option<String>,
}

impl Plan {
    pub(super) fn of_chat(engine: &Engine, request: &ChatRequest) -> Result<Self, RuntimeError> {
        let fields = Fields::of_chat(&request.extra)?;
        fields::check_stream_options(request.stream_options.as_ref())?;
        let limit = request.token_limit().unwrap_or(engine.defaults.max_tokens);
        if limit == 0 {
            let field = match request.max_completion_tokens {
                Some(_) => "max_completion_tokens",
                None => "max_tokens",
            };
            return Err(RuntimeError::invalid_field(field, "expected at least 1"));
        }
        let choices = choices(request.n)?;
        let sampling = sampling(fields, &engine.defaults, request.temperature, request.top_p)?;
        let manner = Manner {
            stream: request.is_stream(),
            speaks: true,
            logprobs: fields.chat_logprobs()?,
        };
        let (bias, json) = (fields.logit_bias(engine.tokenizer.count())?, fields.is_json()?);
        let text = engine.template.render(&template::turns(&request.messages)?)?;
        let tokens = tokens(engine, &text)?;
        Ok(Self {
            prompts: vec![PromptPlan::new(engine, tokens, limit, None)?],
            choices: choices as u32,
            manner,
            stops: stops(request.stop.as_ref()),
            sampling,
            bias,
            json,
            seed: seed(request.seed),
        })
    }

    pub(super) fn of_completion(engine: &Engine, request: &CompletionRequest) -> Result<Self, RuntimeError> {
        let fields = Fields::of_completion(&request.extra)?;
        fields::check_stream_options(request.stream_options.as_ref())?;
        let (echo, limit) = (
            request.echo == Some(true),
            request.max_tokens.unwrap_or(COMPLETION_TOKENS),
        );
        if limit == 0 && !echo {
            return Err(RuntimeError::invalid_field(
                "max_tokens",
                "expected at least 1 where there is no echo",
            ));
        }
        let choices = choices(request.n)?;
        fields.check_best_of(choices)?;
        let count = request.prompt.count() as u64;
        if count == 0 || count * choices > MAX_TEXTS {
            return Err(RuntimeError::invalid_field(
                "prompt",
                format_args!("expected 1 to {MAX_TEXTS} texts, counting each n times"),
            ));
        }
        let sampling = sampling(fields, &engine.defaults, request.temperature, request.top_p)?;
        let manner = Manner {
            stream: request.is_stream(),
            speaks: false,
            logprobs: fields::text_logprobs(request.logprobs)?,
        };
        let bias = fields.logit_bias(engine.tokenizer.count())?;
        let of_text = |text: &String| {
            let tokens = tokens(engine, text)?;
            PromptPlan::new(engine, tokens, limit, echo.then(|| text.clone()))
        };
        let of_tokens = |tokens: &Vec<u32>, path: &str| {
            let known = |token: &u32| *token < engine.tokenizer.count();
            if tokens.is_empty() || !tokens.iter().all(known) {
                let count = engine.tokenizer.count();
                let problem = format!("expected ids of this model's tokens, below {count}");
                return Err(RuntimeError::invalid_field(path, problem));
            }
            let text = echo.then(|| text_of(&engine.tokenizer, tokens));
            PromptPlan::new(engine, tokens.clone(), limit, text)
        };
        let prompts = match &request.prompt {
            Prompt::Text(text) => vec![of_text(text)?],
            Prompt::Texts(texts) => texts.iter().map(of_text).collect::<Result<_, _>>()?,
            Prompt::Tokens(tokens) => vec![of_tokens(tokens, "prompt")?],
            Prompt::TokenLists(lists) => {
                let lists = lists.iter().enumerate();
                lists
                    .map(|(index, tokens)| of_tokens(tokens, &format!("prompt[{index}]")))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            prompts,
            choices: choices as u32,
            manner,
            stops: stops(request.stop.as_ref()),
            sampling,
            bias,
            json: false,
            seed: seed(request.seed),
        })
    }
}

impl PromptPlan {
    fn new(engine: &Engine, tokens: Vec<u32>, limit: u64, echo: Option<String>) -> Result<Self, RuntimeError> {
        // A text that is only to be echoed needs no room behind it.
        let needed = tokens.len() + usize::from(limit > 0);
        if needed > engine.context {
            return Err(too_long(engine, tokens.len()));
        }
        let room = engine.context - tokens.len();
        Ok(Self {
            max_tokens: usize::try_from(limit).unwrap_or(room).min(room),
            tokens,
            echo,
        })
    }
}

/// The tokens of a text; at least one.
fn tokens(engine: &Engine, text: &str) -> Result<Vec<u32>, RuntimeError> {
    let fewest = engine.tokenizer.fewest_tokens(text);
    if fewest > engine.context {
        return Err(too_long(engine, fewest));
    }
    let mut tokens = engine
        .tokenizer
        .encode(text)
        .map_err(|_| RuntimeError::Failed("the prompt can't be cut into tokens".to_owned()))?;
    if tokens.is_empty() {
        tokens.extend(engine.tokenizer.blank());
    }
    if tokens.is_empty() {
        return Err(RuntimeError::invalid("the prompt is empty"));
    }
    Ok(tokens)
}

fn too_long(engine: &Engine, tokens: usize) -> RuntimeError {
    let context = engine.context;
    RuntimeError::ContextLengthExceeded(format!("the prompt has {tokens} tokens or more, the context {context}"))
}

fn choices(n: Option<u64>) -> Result<u64, RuntimeError> {
    let choices = n.unwrap_or(1);
    if (1..=MAX_CHOICES).contains(&choices) {
        Ok(choices)
    } else {
        Err(RuntimeError::invalid_field("n", "expected 1 to 128"))
    }
}

fn stops(stop: Option<&Stop>) -> Vec<String> {
    stop.map(|stop| stop.texts().to_vec()).unwrap_or_default()
}

/// Any bit pattern is a seed.
fn seed(seed: Option<i64>) -> u64 {
    seed.map_or_else(rand::random, i64::cast_unsigned)
}

fn sampling(
    fields: Fields<'_>,
    defaults: &Defaults,
    temperature: Option<f64>,
    top_p: Option<f64>,
) -> Result<Sampling, RuntimeError> {
    let within = |field: &str, value: f64, high: f64| {
        if (0.0..=high).contains(&value) {
            Ok(value)
        } else {
            Err(RuntimeError::invalid_field(field, format_args!("expected 0 to {high}")))
        }
    };
    Ok(Sampling {
        temperature: within("temperature", temperature.unwrap_or(defaults.temperature), 2.0)?,
        top_p: within("top_p", top_p.unwrap_or(defaults.top_p), 1.0)?,
        presence_penalty: fields.penalty("presence_penalty")?,
        frequency_penalty: fields.penalty("frequency_penalty")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::Map;

    #[rstest]
    #[case(Some(2.5), None, "temperature")]
    #[case(Some(f64::NAN), None, "temperature")]
    #[case(None, Some(-0.1), "top_p")]
    fn numbers_out_of_range_are_refused(
        #[case] temperature: Option<f64>,
        #[case] top_p: Option<f64>,
        #[case] field: &str,
    ) {
        let extra = Map::new();
        let defaults = Defaults {
            max_tokens: 1,
            temperature: 0.7,
            top_p: 1.0,
        };
        let fields = Fields::of_chat(&extra).unwrap();
        let error = sampling(fields, &defaults, temperature, top_p).unwrap_err();
        assert!(error.to_string().contains(&format!("{field}:")), "{error}");
        assert!(choices(Some(0)).is_err() && choices(Some(129)).is_err());
    }
}
