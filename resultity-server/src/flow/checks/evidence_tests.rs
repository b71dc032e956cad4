//! What requests may do to the answers of an honest node, and what they may not hide of a liar's.

use std::collections::BTreeMap;

use resultity_core::clock::{SeededEntropy, SystemClock, Timestamp};
use resultity_core::id::JobId;
use resultity_core::openai::chat::Choice;
use resultity_core::signing::Keypair;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::flow::checks::Given;
use crate::trust::Aspect;

/// The most tokens of an answer.
const LIMIT: u64 = 64;

/// An answer of one choice to a request.
struct Answered {
    finished: Finished,
    score: Score,
}

impl Answered {
    /// The model finds it `excess` thousandths of a nat more surprising a token than it should be.
    fn new(request: &Value, text: &str, reason: &str, claimed: u64, counted: usize, excess: u32) -> Self {
        let entropy = SeededEntropy::new(1);
        let message = json!({"role": "assistant", "content": text});
        let choice: Choice =
            serde_json::from_value(json!({"index": 0, "message": message, "finish_reason": reason})).unwrap();
        let finished = Finished {
            node: Keypair::generate(&entropy).node_id(),
            job: JobId::new(&SystemClock, &entropy),
            kind: JobKind::ChatCompletion,
            model: "m".to_owned(),
            body: to_raw_value(request).unwrap(),
            given: Given::of(&[choice], &[], &BTreeMap::new(), &entropy),
            embeddings: Vec::new(),
            prompt_tokens: 20,
            completion_tokens: claimed,
            read: 20,
            tokens: 20 + claimed,
            is_outlier: false,
            is_partial: false,
            limit: LIMIT,
            took: Duration::ZERO,
            allowed: Duration::ZERO,
            ended: Timestamp::from_millis(0),
        };
        let answer = AnswerScore {
            surprisal: vec![1_500 + excess; counted],
            entropy: vec![1_500; counted],
            variance: vec![1_000; counted],
            gap: vec![excess; counted],
            plain: vec![1_500 + excess; counted],
            ..AnswerScore::default()
        };
        let score = Score {
            prompt_tokens: 20,
            greedy: Asked::new(&finished.body).temperature() == 0.0,
            answers: vec![answer],
        };
        Self { finished, score }
    }

    fn evidence(&self) -> Evidence {
        let asked = Asked::new(&self.finished.body);
        if is_too_long(&asked, &self.finished) || is_missing(&asked, &self.finished) {
            return Evidence::new(vec![text::form(true)]);
        }
        let wholes = &self.finished.given.wholes;
        let answers: Vec<GivenAnswer> = wholes
            .iter()
            .map(|whole| given(whole, &asked, &self.finished, false))
            .collect();
        let claim = claim(
            &asked,
            &self.finished,
            &answers,
            &self.score,
            self.finished.limit,
            false,
        );
        Evidence::new(text::findings(&self.score, &claim))
    }
}

const JUNK: u32 = 8_000;

#[rstest]
#[case::all_of_it_is_a_stop_text(json!({"temperature": 0, "stop": "one two three four five"}), "", "stop", 8, 0, 0)]
#[case::held_back_for_a_stop_text(json!({"temperature": 1, "stop": ["one two"]}), "", "length", LIMIT, 0, 0)]
#[case::a_control_token_by_a_bias(json!({"temperature": 1, "logit_bias": {"4": 100}}), "", "length", LIMIT, 0, 0)]
#[case::letters_by_a_bias(json!({"temperature": 0, "logit_bias": {"97": 100}}), &"ab".repeat(32), "length", LIMIT, 8, JUNK)]
#[case::other_tokens_in_the_prompt(json!({"temperature": 0, "prompt": [97, 97, 97]}), &"xyz".repeat(32), "length", LIMIT, 8, JUNK)]
#[case::one_letter_many_times(json!({"temperature": 0}), &"a".repeat(64), "length", LIMIT, 8, 0)]
#[case::hot(json!({"temperature": 2}), "asdf qwer uiop", "length", 8, 5, JUNK)]
#[case::the_best_of_four(json!({"temperature": 1, "best_of": 4}), "A fox.", "stop", 240, 4, 0)]
#[case::penalties(json!({"temperature": 1, "frequency_penalty": 2.0}), "fox f ox fo x", "length", 24, 10, JUNK)]
#[case::a_grammar(json!({"temperature": 1, "response_format": {"type": "json_schema"}}), "{\"a\":1}", "stop", 9, 5, JUNK)]
#[case::echoed(json!({"temperature": 1, "echo": true}), &"of the prompt ".repeat(200), "stop", 4, 600, JUNK)]
#[case::nothing_but_an_echo(json!({"temperature": 1, "max_tokens": 0, "echo": true}), "hello", "length", 0, 1, JUNK)]
#[case::half_a_letter(json!({"temperature": 1}), "", "length", 3, 0, 0)]
#[case::nearly_cold(json!({"temperature": 0.05, "top_p": 0.1}), "7, 3, 5, 1", "stop", 11, 10, 300)]
#[case::rather_cold(json!({"temperature": 0.15}), "7, 3, 5, 1", "stop", 61, 60, 300)]
fn no_request_makes_an_honest_node_look_like_a_liar(
    #[case] request: Value,
    #[case] text: &str,
    #[case] reason: &str,
    #[case] claimed: u64,
    #[case] counted: usize,
    #[case] excess: u32,
) {
    let mut answered = Answered::new(&request, text, reason, claimed, counted, excess);
    if reason == "length" {
        answered.finished.limit = claimed;
    }
    let evidence = answered.evidence();
    assert_eq!(evidence.against().next(), None, "{evidence:?}");
}

#[rstest]
#[case::functions(json!({"temperature": 1, "tools": [{"type": "function"}]}))]
#[case::the_end_is_given(json!({"temperature": 1, "suffix": "the end"}))]
#[case::a_template(json!({"temperature": 1, "chat_template": "{{ messages }}"}))]
fn a_prompt_that_no_judge_reads_is_not_counted(#[case] request: Value) {
    let mut answered = Answered::new(&request, "A fox.", "stop", 4, 4, 0);
    answered.finished.prompt_tokens = 500;
    answered.finished.is_outlier = true;
    assert_eq!(answered.evidence().against().next(), None);
}

#[test]
fn control_tokens_that_an_asker_wrote_are_not_held_against_a_node() {
    let mut answered = Answered::new(&json!({"temperature": 0}), "", "length", LIMIT, 0, 0);
    answered.finished.prompt_tokens = 200;
    assert!(answered.evidence().speaks_against());
    answered.score.answers[0].unusual = true;
    assert_eq!(answered.evidence().against().next(), None);
}

#[rstest]
#[case::junk(json!({"temperature": 1}), "violet teapot", "stop", 20, 20, JUNK, Aspect::Text)]
#[case::junk_with_a_stop_text(json!({"temperature": 1, "stop": "x"}), "violet teapot", "stop", 20, 20, JUNK, Aspect::Text)]
#[case::junk_at_low_temperatures(json!({"temperature": 0.15}), "violet teapot", "stop", 20, 20, JUNK, Aspect::Text)]
#[case::junk_when_nearly_cold(json!({"temperature": 0.05}), "violet teapot", "stop", 20, 20, JUNK, Aspect::Text)]
#[case::inflated(json!({"temperature": 1}), "A fox.", "stop", 40, 4, 0, Aspect::TokenCount)]
#[case::inflated_behind_functions(json!({"temperature": 1, "tools": [{}]}), "A fox.", "stop", 40, 4, 0, Aspect::TokenCount)]
#[case::inflated_behind_a_grammar(json!({"response_format": {"type": "json_object"}}), "{}", "stop", 40, 4, 0, Aspect::TokenCount)]
#[case::shorter_than_said(json!({"temperature": 1}), "A fox.", "length", 10, 4, 0, Aspect::Length)]
#[case::nothing(json!({"temperature": 1}), "", "length", 0, 0, 0, Aspect::Form)]
#[case::nothing_behind_a_bias(json!({"logit_bias": {"1": 1}}), "", "content_filter", 0, 0, 0, Aspect::Form)]
#[case::far_too_long(json!({"temperature": 1}), &"violet ".repeat(4_000), "stop", 60, 0, 0, Aspect::Form)]
#[case::too_long(json!({"temperature": 1, "stop": "x"}), "violet teapot", "stop", 64, 600, 0, Aspect::Form)]
#[case::a_choice_is_missing(json!({"temperature": 1, "n": 2}), "A fox.", "stop", 4, 4, 0, Aspect::Form)]
fn no_request_hides_a_liar(
    #[case] request: Value,
    #[case] text: &str,
    #[case] reason: &str,
    #[case] claimed: u64,
    #[case] counted: usize,
    #[case] excess: u32,
    #[case] expected: Aspect,
) {
    let evidence = Answered::new(&request, text, reason, claimed, counted, excess).evidence();
    assert!(evidence.speaks_against(), "{evidence:?}");
    assert!(evidence.against().any(|aspect| aspect == expected), "{evidence:?}");
}

#[test]
fn of_a_stream_that_was_not_kept_to_its_end_the_beginning_is_judged() {
    let request = json!({"temperature": 1});
    for (text, counted, excess, speaks_against) in [("A fo", 2, 0, false), ("", 0, 0, false), ("xyz", 20, JUNK, true)] {
        let mut answered = Answered::new(&request, text, "length", LIMIT, counted, excess);
        answered.finished.given.is_beginning = true;
        assert_eq!(answered.evidence().speaks_against(), speaks_against, "{text}");
    }
}

#[test]
fn when_an_asker_hangs_up_says_nothing_about_the_node() {
    let mut answered = Answered::new(&json!({"temperature": 1}), "A fo", "", 4, 4, 0);
    (answered.finished.took, answered.finished.allowed) = (Duration::from_secs(59), Duration::from_mins(1));
    let deadline = |answered: &Answered| {
        let taken = taken(&answered.finished, &answered.score);
        latency::findings(&taken, Duration::ZERO)
    };
    assert!(!deadline(&answered).is_empty());
    answered.finished.is_partial = true;
    assert!(deadline(&answered).is_empty());
    assert_eq!(answered.evidence().against().next(), None);
}

#[test]
fn told_tokens_are_those_that_were_scored() {
    let mut answered = Answered::new(&json!({"temperature": 1}), "abc", "stop", 3, 2, 0);
    let mut whole = answered.finished.given.wholes.remove(0);
    whole.told = ["a", "b", "c"]
        .map(|token| Told {
            token: token.to_owned(),
            logprob: -1.0,
            top: Vec::new(),
        })
        .to_vec();
    let answer = &mut answered.score.answers[0];
    assert_eq!(told_of(&whole, answer), None);
    (answer.from, answer.counted) = (1, 3);
    assert_eq!(told_of(&whole, answer), Some(&whole.told[1..]));
    answer.from = 2;
    assert_eq!(told_of(&whole, answer), None);
}
