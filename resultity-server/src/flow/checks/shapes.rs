//! What requests look like lately, without what they say; and questions of the network in the same shapes.

use std::collections::VecDeque;

use resultity_core::clock::Entropy;
use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_core::openai::embedding::EmbeddingRequest;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::questions::{self, Past};
use crate::flow::validate::{self, ValidJob};

/// How many are remembered.
const MOST: usize = 256;

/// With fewer than this they are looked for.
const FEW: usize = 64;

/// The most tokens that a question of the network asks for. Requests that ask for more are no model for one.
const MOST_TOKENS: u64 = 2048;

/// The most bytes that a question of the network has; the same.
const MOST_BYTES: usize = 32 * 1024;

/// The most messages or texts; the same.
const MOST_PARTS: usize = 32;

/// How many of the likeliest tokens are asked for where two nodes are to be compared and the shape does not say.
const COMPARED_TOKENS: u64 = 5;

/// Fields that say how an answer is made and nothing of who asks: they are repeated as they are.
const REPEATED: [&str; 6] = [
    "temperature",
    "top_p",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
];

/// Texts that end an answer in many an app.
const STOPS: [&str; 4] = ["\n\n", "###", "User:", "END"];

/// Who says something, or what is to be embedded or continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    System,
    User,
    Assistant,
    Text,
}

/// The shape of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) model: String,
    pub(super) kind: JobKind,
    stream: bool,
    /// Those of [`REPEATED`] that are there.
    numbers: Map<String, Value>,
    has_seed: bool,
    has_stop: bool,
    /// How many of the likeliest tokens, where log-probabilities are asked for.
    logprobs: Option<u64>,
    /// What there is of texts, with their bytes.
    parts: Vec<(Part, usize)>,
}

impl Shape {
    /// The shape of what a node was sent. None: the network asks nothing like it.
    pub(super) fn of(model: &str, kind: JobKind, body: &RawValue) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_str(body.get()).ok()?;
        let texts = match kind {
            JobKind::ChatCompletion => fields.remove("messages"),
            JobKind::Completion => fields.remove("prompt"),
            JobKind::Embedding => fields.remove("input"),
            _ => None,
        };
        let parts = parts(kind, &texts?)?;
        let bytes: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        fields.remove("model");
        let stream = fields.remove("stream").as_ref().and_then(Value::as_bool);
        let (logprobs, top) = (fields.remove("logprobs"), fields.remove("top_logprobs"));
        let (seed, stop) = (fields.remove("seed"), fields.remove("stop"));
        let is_known = fields
            .iter()
            .all(|(name, value)| REPEATED.contains(&name.as_str()) && value.is_number());
        let tokens = fields.get("max_tokens").and_then(Value::as_u64).unwrap_or_default();
        let choices = fields.get("n").and_then(Value::as_u64).unwrap_or(1);
        let is_small = bytes <= MOST_BYTES && tokens.saturating_mul(choices) <= MOST_TOKENS;
        (is_known && is_small).then(|| Self {
            model: model.to_owned(),
            kind,
            stream: stream.unwrap_or_default(),
            numbers: fields,
            has_seed: seed.is_some(),
            has_stop: stop.is_some(),
            logprobs: match logprobs {
                Some(Value::Bool(true)) => Some(top.as_ref().and_then(Value::as_u64).unwrap_or_default()),
                Some(logprobs) => logprobs.as_u64(),
                None => None,
            },
            parts,
        })
    }

    /// Whether two nodes can be compared by it.
    fn is_comparable(&self) -> bool {
        match self.kind {
            JobKind::Embedding => true,
            JobKind::ChatCompletion => {
                let number = |name: &str| self.numbers.get(name).and_then(Value::as_f64);
                number("temperature") == Some(0.0)
                    && number("n").unwrap_or(1.0) <= 1.0
                    && self.logprobs.is_some_and(|top| top > 0)
            }
            _ => false,
        }
    }

    /// The same as two nodes can be compared by: the likeliest tokens, with their log-probabilities.
    pub(super) fn comparable(mut self) -> Self {
        if self.kind == JobKind::Completion {
            self.kind = JobKind::ChatCompletion;
            self.parts = self
                .parts
                .iter()
                .map(|(_, bytes)| (Part::User, *bytes))
                .take(1)
                .collect();
        }
        if self.kind == JobKind::ChatCompletion {
            self.numbers.insert("temperature".into(), json!(0.0));
            self.numbers.remove("n");
            self.logprobs = Some(self.logprobs.unwrap_or_default().max(COMPARED_TOKENS));
        }
        self
    }

    /// A question in this shape; and of a chat what is asked at its end.
    pub(super) fn question(
        &self,
        model: &ModelSpec,
        past: &Past,
        entropy: &dyn Entropy,
    ) -> Result<(ValidJob, String), ApiError> {
        let find = |_: &str| Ok(model.clone());
        let mut extra = self.numbers.clone();
        if self.has_seed {
            let seed = random(entropy, 1 << 31).unwrap_or_default();
            extra.insert("seed".into(), seed.into());
        }
        if self.has_stop {
            let stop = STOPS[random(entropy, STOPS.len()).unwrap_or_default()];
            extra.insert("stop".into(), json!([stop]));
        }
        let unreadable =
            |error| ApiError::new(resultity_core::error::ErrorCode::Internal, "no request").with_source(error);
        match self.kind {
            JobKind::Embedding => {
                let texts: Vec<String> = self
                    .parts
                    .iter()
                    .map(|(_, bytes)| questions::question(entropy, past, near(entropy, *bytes)))
                    .collect();
                let input = match <[String; 1]>::try_from(texts) {
                    Ok([text]) => Prompt::Text(text),
                    Err(texts) => Prompt::Texts(texts),
                };
                let request = EmbeddingRequest::new(&model.name, input);
                Ok((validate::embedding(request, find)?, String::new()))
            }
            JobKind::Completion => {
                let bytes = self.parts.first().map_or(80, |(_, bytes)| *bytes);
                let text = questions::question(entropy, past, near(entropy, bytes));
                extra.extend(self.logprobs.map(|top| ("logprobs".to_owned(), top.into())));
                extra.insert("prompt".into(), text.clone().into());
                extra.insert("model".into(), model.name.clone().into());
                let request: CompletionRequest = serde_json::from_value(extra.into()).map_err(unreadable)?;
                Ok((validate::completion(request, self.stream, find)?, text))
            }
            _ => {
                let (messages, asked) = self.messages(past, entropy);
                if let Some(top) = self.logprobs {
                    extra.insert("logprobs".into(), json!(true));
                    extra.insert("top_logprobs".into(), json!(top));
                }
                extra.insert("messages".into(), json!(messages));
                extra.insert("model".into(), model.name.clone().into());
                let request: ChatRequest = serde_json::from_value(extra.into()).map_err(unreadable)?;
                Ok((validate::chat(request, self.stream, find)?, asked))
            }
        }
    }

    /// A conversation: earlier ones of the network's, and what comes next.
    fn messages(&self, past: &Past, entropy: &dyn Entropy) -> (Vec<Message>, String) {
        let (mut messages, mut asked, mut answer) = (Vec::new(), String::new(), None);
        for (place, (part, bytes)) in self.parts.iter().enumerate() {
            let bytes = near(entropy, *bytes);
            let is_answered = matches!(self.parts.get(place + 1), Some((Part::Assistant, _)));
            match part {
                Part::System => messages.push(Message::system(questions::instruction(entropy, bytes))),
                Part::Assistant => {
                    let text = answer.take().unwrap_or_else(|| questions::instruction(entropy, bytes));
                    messages.push(Message::assistant(text));
                }
                Part::User | Part::Text => {
                    let is_first = messages.iter().all(|message: &Message| message.role != "assistant");
                    asked = match past.one(entropy).filter(|_| is_answered) {
                        Some((question, answered)) => {
                            answer = Some(answered.clone());
                            question.clone()
                        }
                        None if is_first => questions::question(entropy, past, bytes),
                        None => questions::follow_up(entropy, past, bytes),
                    };
                    messages.push(Message::user(asked.clone()));
                }
            }
        }
        (messages, asked)
    }
}

/// What there is of texts. None: more than texts.
fn parts(kind: JobKind, texts: &Value) -> Option<Vec<(Part, usize)>> {
    let of_text = |text: &Value| Some((Part::Text, text.as_str()?.len()));
    let of_message = |message: &Value| {
        let message = message.as_object().filter(|message| message.len() == 2)?;
        let part = match message.get("role")?.as_str()? {
            "system" => Part::System,
            "user" => Part::User,
            "assistant" => Part::Assistant,
            _ => return None,
        };
        Some((part, message.get("content")?.as_str()?.len()))
    };
    let found: Vec<(Part, usize)> = match (kind, texts) {
        (JobKind::ChatCompletion, Value::Array(messages)) => messages.iter().map(of_message).collect::<Option<_>>()?,
        (JobKind::Embedding, Value::Array(texts)) => texts.iter().map(of_text).collect::<Option<_>>()?,
        (JobKind::Embedding | JobKind::Completion, text) => vec![of_text(text)?],
        _ => return None,
    };
    let ends_well = kind != JobKind::ChatCompletion || matches!(found.last(), Some((Part::User, _)));
    ((1..=MOST_PARTS).contains(&found.len()) && ends_well).then_some(found)
}

/// About as many, a fifth more or less.
fn near(entropy: &dyn Entropy, bytes: usize) -> usize {
    let fifth = bytes / 5;
    bytes - fifth + random(entropy, 2 * fifth + 1).unwrap_or_default()
}

/// The same request as a node was sent, for another one. None: its answers can't be compared.
pub(super) fn duplicate(kind: JobKind, body: &RawValue, model: &ModelSpec) -> Option<ValidJob> {
    let find = |_: &str| Ok(model.clone());
    let shape = Shape::of(&model.name, kind, body).filter(Shape::is_comparable)?;
    match kind {
        JobKind::Embedding => validate::embedding(serde_json::from_str(body.get()).ok()?, find).ok(),
        JobKind::ChatCompletion => {
            let request: ChatRequest = serde_json::from_str(body.get()).ok()?;
            validate::chat(request, shape.stream, find).ok()
        }
        _ => None,
    }
}

/// The last shapes of requests: so many and no more. With the last questions of the network's own.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    seen: VecDeque<Shape>,
    pub(super) past: Past,
}

impl Shapes {
    /// A request had this shape.
    pub(super) fn add(&mut self, shape: Shape) {
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(shape);
    }

    /// Whether more are needed before what the network asks looks like what is asked.
    pub(super) fn are_few(&self) -> bool {
        self.seen.len() < FEW
    }

    /// One of those for this model, at random; where nodes are to be compared, one by which they can be, if there is one.
    pub(super) fn pick(&self, model: &str, is_to_compare: bool, entropy: &dyn Entropy) -> Option<Shape> {
        let mut of_model: Vec<&Shape> = self.seen.iter().filter(|shape| shape.model == model).collect();
        if is_to_compare && of_model.iter().any(|shape| shape.is_comparable()) {
            of_model.retain(|shape| shape.is_comparable());
        }
        let place = random(entropy, of_model.len())?;
        of_model.get(place).map(|shape| (*shape).clone())
    }
}

/// A number below `below`. None if there is none.
pub(super) fn random(entropy: &dyn Entropy, below: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes)
        .checked_rem(below as u64)
        .map(|place| place as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::model;
    use resultity_core::clock::SeededEntropy;
    use rstest::rstest;
    use std::collections::HashSet;

    fn body(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn read(body: &RawValue) -> Map<String, Value> {
        serde_json::from_str(body.get()).unwrap()
    }

    #[test]
    fn a_question_has_the_shape_of_what_was_asked_and_nothing_of_what_it_said() {
        let entropy = SeededEntropy::new(1);
        let messages = json!([
            {"role": "system", "content": format!("secret {}", "s".repeat(300))},
            {"role": "user", "content": "my secret"},
            {"role": "assistant", "content": "a secret answer"},
            {"role": "user", "content": format!("secret {}", "x".repeat(2_000))},
        ]);
        let real = body(&json!({
            "messages": messages, "model": "m", "stream": true, "max_tokens": 33, "temperature": 0.7, "top_p": 0.9, "seed": 5,
            "logprobs": true, "top_logprobs": 2, "stop": "secret", "presence_penalty": 0.5, "frequency_penalty": 0,
        }));
        let shape = Shape::of("m", JobKind::ChatCompletion, &real).unwrap();
        assert!(!format!("{shape:?}").contains("secret"));
        let mut past = Past::default();
        past.add("an earlier question".into(), "an earlier answer".into());
        let (question, asked) = shape.question(&model(), &past, &entropy).unwrap();
        assert!(question.stream && !question.body.get().contains("secret"));
        assert_eq!((question.max_completion_tokens, question.logprobs), (33, Some(2)));
        // What a node is sent has no field more or less than such a request, and the same numbers.
        let (asked_of_node, real) = (read(&question.body), read(&real));
        let names = |fields: &Map<String, Value>| -> HashSet<String> { fields.keys().cloned().collect() };
        assert_eq!(names(&asked_of_node), names(&real));
        for name in ["temperature", "top_p", "presence_penalty", "max_tokens", "top_logprobs"] {
            assert_eq!(asked_of_node[name], real[name], "{name}");
        }
        let roles = |fields: &Map<String, Value>| -> Vec<Value> {
            let messages = fields["messages"].as_array().unwrap();
            messages.iter().map(|message| message["role"].clone()).collect()
        };
        assert_eq!(roles(&asked_of_node), roles(&real));
        assert_eq!(asked_of_node["messages"][2]["content"], "an earlier answer");
        let length = asked.len();
        assert!((1_500..2_500).contains(&length), "{length}");
    }

    #[rstest]
    #[case::completion(JobKind::Completion, json!({"prompt": "once", "model": "m", "max_tokens": 5, "temperature": 1, "stream": false}))]
    #[case::embedding(JobKind::Embedding, json!({"input": ["one", "two"], "model": "m"}))]
    fn other_kinds_have_shapes_too(#[case] kind: JobKind, #[case] fields: Value) {
        let shape = Shape::of("m", kind, &body(&fields)).unwrap();
        let (job, _) = shape
            .question(&model(), &Past::default(), &SeededEntropy::new(1))
            .unwrap();
        assert_eq!(job.kind, kind);
        for name in ["prompt", "input"] {
            let shape_of = |value: Option<&Value>| value.map(|value| value.as_array().map(Vec::len));
            assert_eq!(shape_of(read(&job.body).get(name)), shape_of(fields.get(name)));
        }
    }

    #[rstest]
    #[case(json!({"tools": [{}]}))]
    #[case(json!({"response_format": {"type": "json_object"}}))]
    #[case(json!({"top_k": "x"}))]
    #[case(json!({"max_tokens": 100_000}))]
    #[case(json!({"messages": [{"role": "user", "content": "x".repeat(100_000)}]}))]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}))]
    #[case(json!({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}))]
    fn what_the_network_does_not_ask_is_no_shape(#[case] fields: Value) {
        let mut all = json!({"messages": [{"role": "user", "content": "x"}], "model": "m", "stream": false});
        assert!(Shape::of("m", JobKind::ChatCompletion, &body(&all)).is_some());
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        assert_eq!(Shape::of("m", JobKind::ChatCompletion, &body(&all)), None);
    }

    fn chat(extra: &Value) -> Box<RawValue> {
        let mut fields =
            json!({"messages": [{"role": "user", "content": "x"}], "model": "m", "stream": false, "max_tokens": 5});
        fields
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body(&fields)
    }

    #[test]
    fn so_many_shapes_are_kept_and_no_more() {
        let (mut shapes, entropy) = (Shapes::default(), SeededEntropy::new(3));
        assert_eq!(shapes.pick("m", false, &entropy), None);
        for tokens in 1..=1_000 {
            assert_eq!(shapes.are_few(), tokens <= FEW);
            let shape = Shape::of("m", JobKind::ChatCompletion, &chat(&json!({"max_tokens": tokens})));
            shapes.add(shape.unwrap());
        }
        assert_eq!(shapes.seen.len(), MOST);
        assert_eq!(shapes.pick("other", false, &entropy), None);
        let told = json!({"temperature": 0, "logprobs": true, "top_logprobs": 2});
        shapes.add(Shape::of("m", JobKind::ChatCompletion, &chat(&told)).unwrap());
        for _ in 0..10 {
            assert!(shapes.pick("m", true, &entropy).unwrap().is_comparable());
        }
    }

    #[test]
    fn what_two_nodes_can_be_compared_by_is_asked_of_another_one() {
        let twice = |extra: Value| duplicate(JobKind::ChatCompletion, &chat(&extra), &model());
        assert!(twice(json!({})).is_none());
        assert!(twice(json!({"temperature": 0.7, "logprobs": true, "top_logprobs": 2})).is_none());
        let shape = Shape::of("m", JobKind::ChatCompletion, &chat(&json!({})))
            .unwrap()
            .comparable();
        let (asked, _) = shape
            .question(&model(), &Past::default(), &SeededEntropy::new(4))
            .unwrap();
        let again = duplicate(JobKind::ChatCompletion, &asked.body, &model()).unwrap();
        assert_eq!(read(&again.body), read(&asked.body));
    }
}
