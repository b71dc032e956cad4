//! What is kept of an answer to look at it: its texts, and what was told of their tokens. However large the answer, little.

use std::collections::BTreeMap;

use resultity_core::clock::Entropy;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::score::MAX_SCORED_TEXTS;
use serde_json::{Map, Value};

use super::shapes;
use crate::trust::compare::logprobs::Told;

/// The most bytes of all texts of an answer: a very long one is judged by its beginning.
const MOST_READ: usize = 128 * 1024;

/// The most tokens of all texts whose log-probabilities are looked at.
const MOST_TOLD: usize = 2048;

/// The most of the likeliest tokens at a place that are looked at.
const MOST_TOP: usize = 5;

/// Bytes of the longest name of a token.
const MAX_TOKEN: usize = 256;

/// Of fewer tokens than this an answer may well be empty at its limit: they may be the pieces of one letter.
const FEW_TOKENS: u64 = 8;

/// What is kept of an answer.
#[derive(Debug, Default)]
pub(in crate::flow) struct Given {
    /// How many choices it had.
    pub(super) of: usize,
    /// Those that are looked at, in their order.
    pub(super) wholes: Vec<Whole>,
    /// Whether more came than was kept: then this is its beginning.
    pub(in crate::flow) is_beginning: bool,
}

/// One choice of an answer, put together.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) index: u32,
    pub(super) text: String,
    /// What the model is said to have thought before.
    pub(super) thoughts: String,
    pub(super) reason: String,
    pub(super) told: Vec<Told>,
    pub(super) has_calls: bool,
    /// Bytes of all that came, kept or not.
    pub(super) bytes: usize,
}

impl Given {
    /// Of an answer that came whole or in pieces. Where there are many choices some are taken at random, so that none is known before
    /// to be left out.
    pub(in crate::flow) fn of(
        choices: &[Choice],
        chunks: &[ChunkChoice],
        reasons: &BTreeMap<u32, String>,
        entropy: &dyn Entropy,
    ) -> Self {
        let choices_of = choices.iter().map(|choice| choice.index);
        let all = choices_of
            .chain(chunks.iter().map(|piece| piece.index))
            .chain(reasons.keys().copied());
        let mut wholes: BTreeMap<u32, Whole> = all.map(|index| (index, Whole::default())).collect();
        let of = wholes.len();
        let mut indices: Vec<u32> = wholes.keys().copied().collect();
        while indices.len() > MAX_SCORED_TEXTS {
            let place = shapes::random(entropy, indices.len()).unwrap_or_default();
            wholes.remove(&indices.swap_remove(place));
        }
        let each = Each {
            bytes: MOST_READ / wholes.len().max(1),
            told: MOST_TOLD / wholes.len().max(1),
        };
        for choice in choices {
            if let Some(whole) = wholes.get_mut(&choice.index) {
                let message = &choice.message;
                whole.adds(
                    message.content.as_deref(),
                    &message.extra,
                    choice.logprobs.as_ref(),
                    each,
                );
                whole.reason = choice.finish_reason.clone().unwrap_or_default();
            }
        }
        for piece in chunks {
            if let Some(whole) = wholes.get_mut(&piece.index) {
                let delta = &piece.delta;
                whole.adds(delta.content.as_deref(), &delta.extra, piece.logprobs.as_ref(), each);
            }
        }
        for (index, reason) in reasons {
            if let Some(whole) = wholes.get_mut(index) {
                whole.reason.clone_from(reason);
            }
        }
        let wholes = wholes.into_iter().map(|(index, whole)| Whole { index, ..whole });
        Self {
            of,
            wholes: wholes.collect(),
            is_beginning: false,
        }
    }

    /// The tokens of the first choice with their log-probabilities. None: it has none.
    pub(super) fn told_first(&self) -> Option<&[Told]> {
        let first = self.wholes.first().map(|whole| whole.told.as_slice());
        first.filter(|told| !told.is_empty())
    }

    /// The text of its first choice.
    pub(super) fn first_text(&self) -> String {
        self.wholes.first().map(|whole| whole.text.clone()).unwrap_or_default()
    }
}

/// What is kept of each choice at the most.
#[derive(Debug, Clone, Copy)]
struct Each {
    bytes: usize,
    told: usize,
}

impl Whole {
    fn adds(&mut self, content: Option<&str>, extra: &Map<String, Value>, logprobs: Option<&Value>, each: Each) {
        let room = |whole: &Self| each.bytes.saturating_sub(whole.text.len() + whole.thoughts.len());
        let content = content.unwrap_or_default();
        self.bytes += content.len();
        self.text.push_str(beginning(content, room(self)));
        for (name, value) in extra {
            match (name.as_str(), value.as_str()) {
                // It stands where the text would.
                ("refusal", Some(text)) => {
                    self.bytes += text.len();
                    self.text.push_str(beginning(text, room(self)));
                }
                (_, Some(text)) => {
                    self.bytes += text.len();
                    self.thoughts.push_str(beginning(text, room(self)));
                }
                (_, None) => self.has_calls = true,
            }
        }
        let left = each.told.saturating_sub(self.told.len());
        self.told.extend(told(logprobs).take(left));
    }

    /// What the model would have written. Where it is none that thinks, what it is said to have thought is a part of its text.
    pub(super) fn written(&self, thinks: bool) -> String {
        if self.thoughts.is_empty() || thinks {
            return self.text.clone();
        }
        format!("<think>\n{}\n</think>\n\n{}", self.thoughts, self.text)
    }

    /// Whether less was kept than came.
    pub(super) fn is_cut(&self) -> bool {
        self.text.len() + self.thoughts.len() < self.bytes
    }

    /// Whether nothing came, and not because the model wanted it so. `is_shown`: each token leaves some text.
    pub(super) fn is_oddly_empty(&self, limit: u64, is_shown: bool) -> bool {
        let is_odd = match self.reason.as_str() {
            "stop" => false,
            "length" => limit >= FEW_TOKENS && is_shown,
            _ => true,
        };
        self.bytes == 0 && !self.has_calls && is_odd && limit > 0
    }
}

/// As much of a text as has room.
fn beginning(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

/// The tokens of a chat answer with their log-probabilities, where it has them.
fn told(logprobs: Option<&Value>) -> impl Iterator<Item = Told> + '_ {
    let content = logprobs.and_then(|logprobs| logprobs.get("content")?.as_array());
    let entry = |entry: &Value| {
        let name = entry.get("token")?.as_str().filter(|name| name.len() <= MAX_TOKEN)?;
        Some((name.to_owned(), entry.get("logprob")?.as_f64()?))
    };
    content.into_iter().flatten().filter_map(move |token| {
        let (name, logprob) = entry(token)?;
        let top = token.get("top_logprobs").and_then(Value::as_array);
        Some(Told {
            token: name,
            logprob,
            top: top.into_iter().flatten().filter_map(entry).take(MOST_TOP).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;
    use rstest::rstest;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn given(choices: &[Choice], chunks: &[ChunkChoice], reasons: &BTreeMap<u32, String>) -> Vec<Whole> {
        Given::of(choices, chunks, reasons, &SeededEntropy::new(1)).wholes
    }

    #[test]
    fn pieces_of_a_stream_are_put_together_by_choice() {
        let piece = |index: u32, text: &str| ChunkChoice::text(index, text.to_owned());
        let chunks = [piece(1, "b"), piece(0, "a "), piece(0, "fox")];
        let reasons = BTreeMap::from([(0, "stop".to_owned()), (1, "length".to_owned())]);
        let found = given(&[], &chunks, &reasons);
        let texts: Vec<_> = found
            .iter()
            .map(|whole| (whole.text.as_str(), whole.reason.as_str()))
            .collect();
        assert_eq!(texts, [("a fox", "stop"), ("b", "length")]);
    }

    fn choice(message: Value, reason: &str) -> Choice {
        serde_json::from_value(json!({"index": 0, "message": message, "finish_reason": reason})).unwrap()
    }

    #[test]
    fn what_a_model_is_said_to_have_thought_is_a_part_of_its_text_unless_it_thinks() {
        let message = json!({"role": "assistant", "content": "yes", "reasoning_content": "hm"});
        let found = given(&[choice(message, "stop")], &[], &BTreeMap::new());
        assert_eq!(found[0].written(true), "yes");
        assert_eq!(found[0].written(false), "<think>\nhm\n</think>\n\nyes");
        let refusal = json!({"role": "assistant", "content": null, "refusal": "no"});
        let found = given(&[choice(refusal, "stop")], &[], &BTreeMap::new());
        assert_eq!((found[0].written(false).as_str(), found[0].has_calls), ("no", false));
        let calls = json!({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]});
        assert!(given(&[choice(calls, "tool_calls")], &[], &BTreeMap::new())[0].has_calls);
    }

    #[rstest]
    #[case::the_model_says_nothing("", "stop", 100, true, false)]
    #[case::filtered("", "content_filter", 100, true, true)]
    #[case::calls_without_calls("", "tool_calls", 100, true, true)]
    #[case::full_of_nothing("", "length", 100, true, true)]
    #[case::half_a_letter("", "length", 1, true, false)]
    #[case::control_tokens_that_a_bias_asked_for("", "length", 100, false, false)]
    #[case::no_reason_at_all("", "", 100, true, true)]
    #[case::a_text("x", "content_filter", 100, true, false)]
    #[case::nothing_was_asked_for("", "content_filter", 0, true, false)]
    fn an_answer_that_is_empty_for_an_odd_reason_is_one(
        #[case] text: &str,
        #[case] reason: &str,
        #[case] limit: u64,
        #[case] is_shown: bool,
        #[case] expected: bool,
    ) {
        let message = json!({"role": "assistant", "content": text});
        let found = given(&[choice(message, reason)], &[], &BTreeMap::new());
        assert_eq!(found[0].is_oddly_empty(limit, is_shown), expected);
    }

    #[test]
    fn a_very_long_text_is_judged_by_its_beginning() {
        let long = [ChunkChoice::text(0, "é".repeat(MOST_READ)), ChunkChoice::text(0, "x")];
        let found = given(&[], &long, &BTreeMap::new());
        assert!(found[0].is_cut() && found[0].bytes == 2 * MOST_READ + 1);
        assert!((MOST_READ - 1..=MOST_READ).contains(&found[0].text.len()));
        assert!(!Whole::default().is_cut());
    }

    #[test]
    fn of_many_choices_some_are_taken_and_nobody_knows_which() {
        let pieces: Vec<_> = (0..40).map(|index| ChunkChoice::text(index, "x")).collect();
        let entropy = SeededEntropy::new(1);
        let mut taken = BTreeSet::new();
        for _ in 0..50 {
            let given = Given::of(&[], &pieces, &BTreeMap::new(), &entropy);
            assert_eq!((given.of, given.wholes.len()), (40, MAX_SCORED_TEXTS));
            assert!(given.wholes.is_sorted_by_key(|whole| whole.index));
            taken.extend(given.wholes.iter().map(|whole| whole.index));
        }
        assert_eq!(taken.len(), 40);
    }

    #[test]
    fn log_probabilities_are_read_and_what_is_none_is_left_out() {
        let logprobs = json!({"content": [
            {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}, {"token": 1}]},
            {"token": null},
            {"token": "x".repeat(1_000), "logprob": -0.5},
        ]});
        let found: Vec<Told> = told(Some(&logprobs)).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].logprob, found[0].top.len()), (-0.5, 1));
        assert_eq!(told(None).count(), 0);
    }
}
