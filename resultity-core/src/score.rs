//! How likely a model finds an answer that another machine gave: what the network asks a node that it trusts.
//!
//! The trusted node reads the request and the answer as if it had made them itself (teacher forcing) and says for each token
//! how surprising it was. All numbers are whole: thousandths of a nat, or of a nat squared.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::job::JobKind;

/// The most texts that one request may have scored.
pub const MAX_SCORED_TEXTS: usize = 16;

/// The most that a single number of a score can be, in thousandths: beyond it a token is as good as impossible.
pub const MOST_MILLI_NATS: u32 = 50_000;

/// A request and what was answered to it: the body of a job of that kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScoreRequest {
    /// What was asked: [`JobKind::ChatCompletion`] or [`JobKind::Completion`].
    pub kind: JobKind,
    /// The request's body, as the node got it.
    pub request: Box<RawValue>,
    /// What was answered, by choice.
    pub answers: Vec<GivenAnswer>,
    /// The most tokens of each answer that are to be scored; none: all. Of a longer one a part is scored that nobody knows in
    /// advance, and all are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

/// One choice of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Its text.
    pub text: String,
    /// Whether the model is said to have ended it by itself: then its end is scored too.
    pub ended: bool,
}

/// What a trusted node says: as many answers as were asked about, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Tokens of the prompt, by its count.
    pub prompt_tokens: u64,
    /// Whether the request asked for the likeliest token each time (temperature 0).
    pub greedy: bool,
    /// For each answer.
    pub answers: Vec<AnswerScore>,
}

/// The tokens of one answer. All lists have one number for each token that was scored.
///
/// A token within a stretch that repeats itself ([`repeated`]) is as surprising there as expected, without variance or gap: such a
/// stretch can be cut into tokens in many ways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerScore {
    /// How surprising the token was when drawn as the request asks (temperature, nucleus, biases): −ln p.
    pub surprisal: Vec<u32>,
    /// How surprising a token had to be expected there: the entropy of the same distribution.
    pub entropy: Vec<u32>,
    /// The variance of that surprise, in thousandths of a nat squared.
    pub variance: Vec<u32>,
    /// How much less likely the token was than the likeliest one, by the model itself.
    pub gap: Vec<u32>,
    /// How surprising the token was by the model itself, at temperature 1: what log-probabilities tell.
    pub plain: Vec<u32>,
    /// The end, where it is said to have come by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndScore>,
    /// Which token of the text is the first that was scored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: u64,
    /// How many tokens the text has, where more than were scored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub counted: u64,
    /// Whether the prompt holds control tokens that somebody wrote into it: a model may go on with some, which are never shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unusual: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl AnswerScore {
    /// How many tokens were scored.
    pub fn tokens(&self) -> usize {
        self.surprisal.len()
    }

    /// How many tokens the text has.
    pub fn counted(&self) -> u64 {
        self.counted.max(self.tokens() as u64)
    }

    /// Whether its lists are of one length.
    pub fn is_even(&self) -> bool {
        let lists = [&self.entropy, &self.variance, &self.gap, &self.plain];
        lists.into_iter().all(|list| list.len() == self.surprisal.len())
    }
}

/// How likely it was that the answer ended where it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndScore {
    /// How surprising the end was when drawn as the request asks.
    pub surprisal: u32,
    /// How much less likely it was than the likeliest token.
    pub gap: u32,
}

/// Thousandths of a nat, or of a nat squared, kept within what is sent.
pub fn in_milli_nats(nats: f64) -> u32 {
    if nats.is_nan() {
        return MOST_MILLI_NATS;
    }
    (nats * 1000.0).round().clamp(0.0, f64::from(MOST_MILLI_NATS)) as u32
}

/// The longest unit of a stretch that repeats itself, in bytes.
const LONGEST_UNIT: usize = 8;

/// So many bytes have to be the same as those one unit before them.
const FEWEST_REPEATED: usize = 8;

/// Which bytes of a text are in a stretch that repeats itself, such as many times one letter. A tokenizer cuts it in one way, and a
/// model may well write it in another: such tokens can be neither counted nor weighed.
pub fn repeated(text: &[u8]) -> Vec<bool> {
    let mut found = vec![false; text.len()];
    for unit in 1..=LONGEST_UNIT {
        let mut same = 0;
        for place in unit..=text.len() {
            if text.get(place).is_some_and(|byte| *byte == text[place - unit]) {
                same += 1;
                continue;
            }
            if same >= FEWEST_REPEATED {
                found[place - same - unit..place].fill(true);
            }
            same = 0;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_repeat_themselves_are_found() {
        let cases = [
            ("A fox and a goat went to town.", 0),
            ("        indented", 0),
            ("x aaaaaaaaaaaa y", 12),
            ("hahahahahaha", 12),
            ("\u{1f389}\u{1f389}\u{1f389}\u{1f389}!", 16),
            ("|-----------|", 11),
            ("", 0),
        ];
        for (text, expected) in cases {
            let found = repeated(text.as_bytes()).iter().filter(|is| **is).count();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn numbers_stay_within_what_is_sent() {
        let cases = [
            (0.5, 500),
            (-1.0, 0),
            (f64::INFINITY, MOST_MILLI_NATS),
            (f64::NAN, MOST_MILLI_NATS),
        ];
        for (nats, expected) in cases {
            assert_eq!(in_milli_nats(nats), expected, "{nats}");
        }
    }

    #[test]
    fn a_score_is_written_like_this() {
        let answer = AnswerScore {
            surprisal: vec![1200],
            entropy: vec![900],
            variance: vec![400],
            gap: vec![0],
            plain: vec![1100],
            end: Some(EndScore { surprisal: 30, gap: 0 }),
            ..AnswerScore::default()
        };
        assert!(answer.is_even() && answer.tokens() == 1 && answer.counted() == 1);
        let score = Score {
            prompt_tokens: 12,
            greedy: false,
            answers: vec![answer],
        };
        let text = r#"{"prompt_tokens":12,"greedy":false,"answers":[{"surprisal":[1200],"entropy":[900],"variance":[400],"gap":[0],"plain":[1100],"end":{"surprisal":30,"gap":0}}]}"#;
        assert_eq!(serde_json::to_string(&score).unwrap(), text);
        assert_eq!(serde_json::from_str::<Score>(text).unwrap(), score);
    }
}
