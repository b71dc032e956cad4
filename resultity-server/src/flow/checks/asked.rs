//! What a request says of how its answer is made, and so of what its answer can say. An asker chooses both the request and, with
//! it, much of the answer: nothing that a request can ask for may make an honest node look like a liar.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// Fields that are known here. What an engine does for any other is not.
const KNOWN: [&str; 17] = [
    "model",
    "messages",
    "prompt",
    "stream",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "best_of",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "logit_bias",
];

/// Fields that a trusted node is sent. All others would change nothing that is weighed, and it might refuse them.
const READ: [&str; 9] = [
    "model",
    "messages",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "echo",
    "user",
];

/// The highest temperature at which texts are weighed. At higher ones what is drawn are not the tokens that a tokenizer makes of their
/// text.
const HOTTEST: f64 = 1.0;

/// Up to this temperature what is drawn is the likeliest token, or one that is tied with it on some hardware.
const COLDEST: f64 = 0.1;

/// A request.
pub(super) struct Asked(Map<String, Value>);

impl Asked {
    pub(super) fn new(body: &RawValue) -> Self {
        Self(serde_json::from_str(body.get()).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !says_nothing(value))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    /// Whether it names texts that end the answer.
    pub(super) fn has_stops(&self) -> bool {
        self.get("stop").is_some()
    }

    /// Whether it names functions that may be called.
    pub(super) fn has_functions(&self) -> bool {
        let is_list = |name| self.get(name).is_some_and(Value::is_array);
        is_list("tools") || is_list("functions")
    }

    /// Whether its prompt is given as tokens, which may be others than a tokenizer makes of their text. A model goes on like that.
    fn is_of_tokens(&self) -> bool {
        let texts = self.get("prompt").and_then(Value::as_array);
        texts.is_some_and(|texts| texts.iter().any(|text| !text.is_string()))
    }

    /// Whether the best of more texts is chosen than are wanted.
    fn is_best_of_more(&self) -> bool {
        self.number("best_of") > self.number("n").or(Some(1.0))
    }

    /// Whether an answer begins with the prompt, as its engine writes it.
    fn is_echoed(&self) -> bool {
        self.get("echo").is_some_and(|echo| echo == true)
    }

    fn has_unknown(&self) -> bool {
        self.0
            .iter()
            .any(|(name, value)| !KNOWN.contains(&name.as_str()) && !says_nothing(value))
    }

    /// Whether tokens may be made that are not shown, or others than those of the text that is shown: of control tokens that a bias
    /// asks for there is no text at all, and of the rest nobody knows how it was cut.
    pub(super) fn hides_tokens(&self) -> bool {
        self.get("logit_bias").is_some() || self.is_of_tokens() || self.is_best_of_more()
    }

    /// Whether an engine's prompt has what a trusted node does not read, such as functions.
    pub(super) fn hides_prompt(&self) -> bool {
        self.has_unknown() && !self.is_echoed()
    }

    /// Whether the length of an answer is bounded by the tokens it may have.
    pub(super) fn is_bounded(&self) -> bool {
        !self.hides_tokens() && !self.is_echoed()
    }

    /// Whether engines draw tokens for it alike: by temperature and nucleus, both named. Of penalties, of answers in a given form, of
    /// the best of several and of all that is not known here that is not so.
    pub(super) fn is_calibrated(&self) -> bool {
        let is_plain = |name: &str| self.number(name).unwrap_or_default() == 0.0;
        let format = self.get("response_format").and_then(|format| format.get("type"));
        self.number("temperature").is_some_and(|number| number <= HOTTEST)
            && is_plain("presence_penalty")
            && is_plain("frequency_penalty")
            && format.is_none_or(|kind| kind == "text")
            && !self.hides_tokens()
            && !self.has_unknown()
    }

    /// Whether log-probabilities that engines tell are those of the model itself: some tell them after the temperature.
    pub(super) fn tells_plainly(&self) -> bool {
        self.is_calibrated()
            && self
                .number("temperature")
                .is_some_and(|number| number == 0.0 || (number - 1.0).abs() < 1e-9)
    }

    /// The temperature that counts.
    pub(super) fn temperature(&self) -> f64 {
        let temperature = self.number("temperature").unwrap_or(HOTTEST);
        if temperature <= COLDEST { 0.0 } else { temperature }
    }

    /// How many choices it asks for, over all prompts.
    pub(super) fn choices(&self) -> usize {
        let prompts = self.get("prompt").and_then(Value::as_array);
        let several = prompts.filter(|prompts| !prompts.iter().any(Value::is_number));
        several.map_or(1, Vec::len).saturating_mul(self.each())
    }

    /// How many of each prompt.
    fn each(&self) -> usize {
        let each = self.get("n").and_then(Value::as_u64).unwrap_or(1).max(1);
        usize::try_from(each).unwrap_or(usize::MAX)
    }

    /// Whether it has several prompts.
    pub(super) fn has_several(&self) -> bool {
        self.choices() > self.each()
    }

    /// What a trusted node is asked about these choices: with the fields that it reads, and for those choices alone.
    pub(super) fn read_again(&self, chosen: &[u32]) -> serde_json::Result<Box<RawValue>> {
        let mut fields = self.0.clone();
        fields.retain(|name, value| READ.contains(&name.as_str()) && !value.is_null());
        if self.get("temperature").is_some() {
            fields.insert("temperature".to_owned(), self.temperature().into());
        }
        if chosen.len() < self.choices() {
            let mut n = chosen.len();
            if self.has_several()
                && let Some(Value::Array(prompts)) = fields.get_mut("prompt")
            {
                let of_choice = |index: &u32| prompts.get(*index as usize / self.each()).cloned();
                let wanted = chosen.iter().filter_map(of_choice).collect();
                *prompts = wanted;
                n = 1;
            }
            fields.insert("n".to_owned(), n.into());
        }
        to_raw_value(&fields)
    }
}

/// Null, false, or an empty text, list or object.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What of a text is surely as it was made where a stop text ended it: without its last word, as a token may have been cut in its
/// middle.
pub(super) fn before_stop(text: &str) -> &str {
    text.trim_end()
        .trim_end_matches(|letter: char| !letter.is_whitespace())
        .trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn asked(fields: &Value) -> Asked {
        Asked(fields.as_object().unwrap().clone())
    }

    #[rstest]
    #[case(json!({"temperature": 0.7, "top_p": 0.9}), true)]
    #[case(json!({"temperature": 0, "presence_penalty": 0, "response_format": {"type": "text"}}), true)]
    #[case(json!({"temperature": 1, "best_of": 2, "n": 2}), true)]
    #[case(json!({"temperature": 1, "logit_bias": {}, "seed": 5, "stop": ["x"], "logprobs": true, "top_logprobs": 0}), true)]
    #[case(json!({"temperature": 1, "prompt": ["one", "two"], "echo": false, "tools": []}), true)]
    #[case(json!({}), false)]
    #[case(json!({"temperature": 1, "presence_penalty": 0.5}), false)]
    #[case(json!({"temperature": 1, "frequency_penalty": -1}), false)]
    #[case(json!({"temperature": 1, "response_format": {"type": "json_object"}}), false)]
    #[case(json!({"temperature": 1, "best_of": 3}), false)]
    #[case(json!({"temperature": 1, "logit_bias": {"5": 100}}), false)]
    #[case(json!({"temperature": 1.5}), false)]
    #[case(json!({"temperature": 1, "prompt": [1, 2]}), false)]
    #[case(json!({"temperature": 1, "prompt": [[1, 2]]}), false)]
    #[case(json!({"temperature": 1, "echo": true}), false)]
    #[case(json!({"temperature": 1, "suffix": "end"}), false)]
    #[case(json!({"temperature": 1, "tools": [{}]}), false)]
    #[case(json!({"temperature": 1, "min_p": 0.1}), false)]
    #[case(json!({"temperature": 1, "top_k": 5}), false)]
    #[case(json!({"temperature": 1, "a_field_of_tomorrow": 1}), false)]
    fn texts_are_weighed_where_engines_draw_alike(#[case] fields: Value, #[case] expected: bool) {
        assert_eq!(asked(&fields).is_calibrated(), expected);
    }

    #[rstest]
    #[case::plain(json!({"temperature": 1, "stop": "x", "n": 2}), [false, false, true])]
    #[case::biased(json!({"logit_bias": {"5": 100}}), [true, false, false])]
    #[case::tokens(json!({"prompt": [[1, 2]]}), [true, false, false])]
    #[case::best(json!({"best_of": 2}), [true, false, false])]
    #[case::echoed(json!({"echo": true}), [false, false, false])]
    #[case::tools(json!({"tools": [{}]}), [false, true, true])]
    #[case::suffix(json!({"suffix": "x"}), [false, true, true])]
    #[case::extra(json!({"chat_template": "x"}), [false, true, true])]
    #[case::no_extra(json!({"chat_template": null, "tools": []}), [false, false, true])]
    fn what_a_request_hides_is_not_counted(#[case] fields: Value, #[case] expected: [bool; 3]) {
        let asked = asked(&fields);
        assert_eq!(
            [asked.hides_tokens(), asked.hides_prompt(), asked.is_bounded()],
            expected
        );
    }

    #[rstest]
    #[case(json!({"temperature": 1}), true)]
    #[case(json!({"temperature": 0}), true)]
    #[case(json!({"temperature": 0.7}), false)]
    #[case(json!({"temperature": 1, "presence_penalty": 1}), false)]
    #[case(json!({"temperature": 1, "logit_bias": {"5": 1}}), false)]
    fn log_probabilities_are_weighed_where_all_engines_tell_the_same(#[case] fields: Value, #[case] expected: bool) {
        assert_eq!(asked(&fields).tells_plainly(), expected);
    }

    #[test]
    fn a_trusted_node_is_sent_what_it_reads() {
        let fields = json!({"messages": [], "model": "m", "stream": true, "max_tokens": 5, "temperature": 0.05, "top_p": 0.9,
            "tools": [{}], "top_k": 4, "logit_bias": {"1": 5}, "response_format": {"type": "json_schema"}, "stop": "x", "n": 2});
        let read = asked(&fields).read_again(&[0, 1]).unwrap();
        let expected = json!({"messages": [], "model": "m", "max_tokens": 5, "temperature": 0.0, "top_p": 0.9, "n": 2});
        assert_eq!(serde_json::from_str::<Value>(read.get()).unwrap(), expected);
    }

    #[rstest]
    #[case(json!({"n": 20}), json!({"n": 3}))]
    #[case(json!({"prompt": "a", "n": 20}), json!({"prompt": "a", "n": 3}))]
    #[case(json!({"prompt": ["a"], "n": 20}), json!({"prompt": ["a"], "n": 3}))]
    #[case(json!({"prompt": [1, 2], "n": 20}), json!({"prompt": [1, 2], "n": 3}))]
    #[case(json!({"prompt": ["a", "b"], "n": 10}), json!({"prompt": ["a", "a", "b"], "n": 1}))]
    #[case(json!({"prompt": [[1], [2]], "n": 10}), json!({"prompt": [[1], [1], [2]], "n": 1}))]
    fn of_some_choices_alone_their_prompts_are_read(#[case] fields: Value, #[case] expected: Value) {
        let read = asked(&fields).read_again(&[0, 7, 12]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(read.get()).unwrap(), expected);
    }

    #[rstest]
    #[case("The quick brown fo", "The quick brown")]
    #[case("Hell", "")]
    #[case("", "")]
    #[case("Yes!\n", "")]
    #[case("one two  \n", "one")]
    fn what_a_stop_text_may_have_cut_is_left_out(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(before_stop(text), expected);
    }
}
