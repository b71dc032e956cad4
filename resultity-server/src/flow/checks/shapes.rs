//! What requests look like lately, without what they say; and questions of the network in the same shapes.

use std::collections::VecDeque;

use resultity_core::clock::Entropy;
use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::flow::validate::{self, ValidJob};

/// How many are remembered.
const MOST: usize = 256;

/// The most tokens that a question of the network asks for.
const MOST_TOKENS: u64 = 512;

/// How many of the likeliest tokens are asked for where two nodes are to be compared and the shape does not say.
const COMPARED_TOKENS: u64 = 5;

/// The shape of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) model: String,
    pub(super) kind: JobKind,
    stream: bool,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    /// How many of the likeliest tokens, where log-probabilities are asked for.
    logprobs: Option<u64>,
}

impl Shape {
    /// The shape of what a node was sent.
    pub(super) fn of(model: &str, kind: JobKind, body: &RawValue) -> Self {
        let fields: Map<String, Value> = serde_json::from_str(body.get()).unwrap_or_default();
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let wants_logprobs = fields.get("logprobs").and_then(Value::as_bool).unwrap_or_default();
        Self {
            model: model.to_owned(),
            kind,
            stream: fields.get("stream").and_then(Value::as_bool).unwrap_or_default(),
            max_tokens: number("max_tokens"),
            temperature: fields.get("temperature").and_then(Value::as_f64),
            logprobs: wants_logprobs.then(|| number("top_logprobs").unwrap_or_default()),
        }
    }

    /// The same as two nodes can be compared by: the likeliest tokens, with their log-probabilities.
    pub(super) fn comparable(mut self) -> Self {
        if self.kind == JobKind::Completion {
            self.kind = JobKind::ChatCompletion;
        }
        if self.kind == JobKind::ChatCompletion {
            self.temperature = Some(0.0);
            self.logprobs = Some(self.logprobs.unwrap_or_default().max(COMPARED_TOKENS));
        }
        self
    }

    /// A question in this shape.
    pub(super) fn question(&self, model: &ModelSpec, entropy: &dyn Entropy) -> Result<ValidJob, ApiError> {
        let text = text(entropy);
        let find = |_: &str| Ok(model.clone());
        let max_tokens = self.max_tokens.map(|tokens| tokens.min(MOST_TOKENS));
        match self.kind {
            JobKind::Embedding => validate::embedding(EmbeddingRequest::new(&model.name, text.as_str()), find),
            JobKind::Completion => {
                let mut request = CompletionRequest::new(&model.name, text.as_str());
                (request.max_tokens, request.temperature) = (max_tokens, self.temperature);
                validate::completion(request, self.stream, find)
            }
            _ => {
                let mut request = ChatRequest::new(&model.name, [Message::user(text)]);
                (request.max_tokens, request.temperature) = (max_tokens, self.temperature);
                if let Some(top) = self.logprobs {
                    request.extra.insert("logprobs".into(), json!(true));
                    request.extra.insert("top_logprobs".into(), json!(top));
                }
                validate::chat(request, self.stream, find)
            }
        }
    }
}

/// The same request as a node was sent, for another one. None: its answers can't be compared.
pub(super) fn duplicate(kind: JobKind, body: &RawValue, model: &ModelSpec) -> Option<ValidJob> {
    let find = |_: &str| Ok(model.clone());
    match kind {
        JobKind::Embedding => validate::embedding(serde_json::from_str(body.get()).ok()?, find).ok(),
        JobKind::ChatCompletion => {
            let shape = Shape::of(&model.name, kind, body);
            let request: ChatRequest = serde_json::from_str(body.get()).ok()?;
            let is_one = request.n.is_none_or(|choices| choices == 1);
            let is_told = shape.temperature == Some(0.0) && shape.logprobs.is_some_and(|top| top > 0);
            if !is_one || !is_told {
                return None;
            }
            validate::chat(request, shape.stream, find).ok()
        }
        _ => None,
    }
}

/// The last shapes of requests: so many and no more.
#[derive(Debug, Default)]
pub(super) struct Shapes(VecDeque<Shape>);

impl Shapes {
    /// A request had this shape.
    pub(super) fn add(&mut self, shape: Shape) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(shape);
    }

    /// One of those for this model, at random.
    pub(super) fn pick(&self, model: &str, entropy: &dyn Entropy) -> Option<Shape> {
        let of_model: Vec<&Shape> = self.0.iter().filter(|shape| shape.model == model).collect();
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

/// One of these.
fn one(entropy: &dyn Entropy, words: &[&'static str]) -> &'static str {
    let place = random(entropy, words.len()).unwrap_or_default();
    words.get(place).copied().unwrap_or_default()
}

/// Something that somebody may well ask.
fn text(entropy: &dyn Entropy) -> String {
    let topic = || {
        one(
            entropy,
            &[
                "a lighthouse",
                "the tides",
                "sourdough bread",
                "a small town library",
                "honey bees",
                "public transport",
                "the moon",
                "an old oak tree",
                "winter in the mountains",
                "learning the violin",
                "a kitchen garden",
                "bicycles",
                "the history of paper",
                "coral reefs",
                "a night market",
                "chess openings",
                "thunderstorms",
                "making cheese",
                "a lost letter",
                "railway stations",
                "the colour blue",
                "volcanoes",
                "working from home",
                "a second-hand bookshop",
            ],
        )
    };
    let reader = || {
        one(
            entropy,
            &[
                "a child",
                "a colleague",
                "my grandmother",
                "a beginner",
                "a newsletter",
                "a friend",
                "a class of ten-year-olds",
            ],
        )
    };
    let number = 2 + random(entropy, 8).unwrap_or_default();
    match random(entropy, 8).unwrap_or_default() {
        0 => format!("Write {number} sentences about {} for {}.", topic(), reader()),
        1 => format!("Explain {} to {}.", topic(), reader()),
        2 => format!("What do {} and {} have in common?", topic(), topic()),
        3 => format!("Give me {number} ideas for a short story about {}.", topic()),
        4 => format!("Write a short poem about {} and {}.", topic(), topic()),
        5 => format!(
            "I have to talk about {} for {number} minutes. How should I begin?",
            topic()
        ),
        6 => format!("List {number} things that most people don't know about {}.", topic()),
        _ => format!("Write a friendly message to {} about {}.", reader(), topic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::model;
    use resultity_core::clock::SeededEntropy;
    use std::collections::HashSet;

    fn body(value: Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(&value).unwrap()
    }

    #[test]
    fn a_question_has_the_shape_of_what_was_asked_and_nothing_of_what_it_said() {
        let entropy = SeededEntropy::new(1);
        let real = body(json!({
            "messages": [{"role": "user", "content": "my secret"}], "model": "m", "stream": true, "max_tokens": 33,
            "temperature": 0.7, "logprobs": true, "top_logprobs": 2, "stop": "secret",
        }));
        let shape = Shape::of("m", JobKind::ChatCompletion, &real);
        assert!(!format!("{shape:?}").contains("secret"));
        let question = shape.question(&model(), &entropy).unwrap();
        assert!(question.stream && !question.body.get().contains("secret"));
        assert_eq!((question.max_completion_tokens, question.logprobs), (33, Some(2)));
        // What a node is sent has no field more or less than such a request.
        let fields = |body: &RawValue| -> HashSet<String> {
            let fields: Map<String, Value> = serde_json::from_str(body.get()).unwrap();
            fields.into_iter().map(|(name, _)| name).collect()
        };
        let mut expected = fields(&real);
        expected.remove("stop");
        assert_eq!(fields(&question.body), expected);
    }

    #[test]
    fn questions_differ() {
        let entropy = SeededEntropy::new(2);
        let texts: HashSet<String> = (0..200).map(|_| text(&entropy)).collect();
        assert!(texts.len() > 180, "{}", texts.len());
    }

    #[test]
    fn so_many_shapes_are_kept_and_no_more() {
        let (mut shapes, entropy) = (Shapes::default(), SeededEntropy::new(3));
        assert_eq!(shapes.pick("m", &entropy), None);
        for tokens in 0..1_000 {
            shapes.add(Shape::of(
                "m",
                JobKind::ChatCompletion,
                &body(json!({"max_tokens": tokens})),
            ));
        }
        assert_eq!(shapes.0.len(), MOST);
        assert!(shapes.pick("m", &entropy).unwrap().max_tokens.unwrap() >= 1_000 - MOST as u64);
        assert_eq!(shapes.pick("other", &entropy), None);
    }

    #[test]
    fn what_two_nodes_can_be_compared_by_is_asked_of_another_one() {
        let chat = |extra: Value| {
            let mut fields =
                json!({"messages": [{"role": "user", "content": "x"}], "model": "m", "stream": false, "max_tokens": 5});
            fields
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            duplicate(JobKind::ChatCompletion, &body(fields.clone()), &model()).map(|job| (job, body(fields)))
        };
        assert!(chat(json!({})).is_none());
        assert!(chat(json!({"temperature": 0.7, "logprobs": true, "top_logprobs": 2})).is_none());
        let (job, sent) = chat(json!({"temperature": 0.0, "logprobs": true, "top_logprobs": 2})).unwrap();
        let read = |body: &RawValue| serde_json::from_str::<Value>(body.get()).unwrap();
        assert_eq!(read(&job.body), read(&sent));
        let shape = Shape::of("m", JobKind::ChatCompletion, &body(json!({"max_tokens": 5}))).comparable();
        let asked = shape.question(&model(), &SeededEntropy::new(4)).unwrap();
        assert!(duplicate(JobKind::ChatCompletion, &asked.body, &model()).is_some());
    }
}
