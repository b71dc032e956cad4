//! What scores of honest and other texts say.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::trust::evidence::{Evidence, MilliNats};

/// Tokens that surprise by `excess` thousandths more than they should.
fn drawn_with(tokens: usize, excess: i64) -> Score {
    let entropy = 1_500_u32;
    let answer = AnswerScore {
        surprisal: vec![(i64::from(entropy) + excess).max(0) as u32; tokens],
        entropy: vec![entropy; tokens],
        variance: vec![1_000; tokens],
        gap: vec![700; tokens],
        plain: vec![1_500; tokens],
        ..AnswerScore::default()
    };
    Score {
        prompt_tokens: 20,
        greedy: false,
        answers: vec![answer],
    }
}

fn greedy_with(hits: usize, misses: usize) -> Score {
    let mut score = drawn_with(hits + misses, 0);
    score.greedy = true;
    score.answers[0].gap = std::iter::repeat_n(0, hits)
        .chain(std::iter::repeat_n(2_000, misses))
        .collect();
    score
}

fn ended(mut score: Score, surprisal: u32) -> Score {
    score.answers[0].end = Some(EndScore {
        surprisal,
        gap: surprisal,
    });
    score
}

fn claim(score: &Score) -> Claim {
    Claim {
        prompt_tokens: score.prompt_tokens,
        completion_tokens: score.answers.iter().map(|answer| answer.tokens() as u64).sum(),
        limit: 1_000,
        at_limit: 0,
        has_stops: false,
        has_hidden: false,
        is_outlier: false,
        drift: DRIFT,
        is_calibrated: true,
        is_odd: false,
    }
}

#[rstest]
#[case::as_it_should_be(drawn_with(100, 0), None)]
#[case::other_hardware(drawn_with(400, 20), None)]
#[case::few_tokens(drawn_with(2, 900), None)]
#[case::a_smaller_model(drawn_with(100, 400), Some(Aspect::Text))]
#[case::junk(drawn_with(50, 8_000), Some(Aspect::Text))]
#[case::a_tail_that_the_engine_leaves_out(drawn_with(400, -200), None)]
#[case::colder_than_asked(drawn_with(200, -700), Some(Aspect::Text))]
#[case::the_likeliest(greedy_with(100, 0), None)]
#[case::a_near_tie(greedy_with(60, 2), None)]
#[case::not_the_likeliest(greedy_with(60, 20), Some(Aspect::Text))]
#[case::it_ended(ended(drawn_with(100, 0), 2_000), None)]
#[case::cut_off(ended(drawn_with(100, 0), 12_000), Some(Aspect::End))]
#[case::cut_off_when_greedy(ended(greedy_with(100, 0), 9_000), Some(Aspect::End))]
fn texts_speak_for_themselves(#[case] score: Score, #[case] expected: Option<Aspect>) {
    let evidence = Evidence::new(findings(&score, &claim(&score)));
    assert_eq!(evidence.against().next(), expected, "{evidence:?}");
    assert_eq!(evidence.speaks_against(), expected.is_some(), "{evidence:?}");
}

#[rstest]
#[case::right(20, 100, 0, None)]
#[case::ends_count(20, 101, 0, None)]
#[case::cut_otherwise(21, 108, 0, None)]
#[case::inflated(20, 150, 0, Some(Aspect::TokenCount))]
#[case::prompt_inflated(60, 100, 0, Some(Aspect::TokenCount))]
#[case::shorter_than_said(20, 200, 1, Some(Aspect::TokenCount))]
#[case::stopped_early(20, 100, 1, Some(Aspect::Length))]
fn counts_have_to_be_right(
    #[case] prompt_tokens: u64,
    #[case] completion_tokens: u64,
    #[case] at_limit: u32,
    #[case] expected: Option<Aspect>,
) {
    let score = drawn_with(100, 0);
    let claim = Claim {
        prompt_tokens,
        completion_tokens,
        limit: 200,
        at_limit,
        ..claim(&score)
    };
    let evidence = Evidence::new(findings(&score, &claim));
    assert_eq!(evidence.against().next(), expected, "{evidence:?}");
}

#[rstest]
#[case::an_outlier(|claim: &mut Claim| claim.is_outlier = true, Some(Aspect::TokenCount))]
#[case::prompt_inflated_behind_thoughts(|claim: &mut Claim| { claim.has_hidden = true; claim.prompt_tokens = 60 }, Some(Aspect::TokenCount))]
#[case::thoughts(|claim: &mut Claim| { claim.has_hidden = true; claim.completion_tokens = 500 }, None)]
#[case::odd(|claim: &mut Claim| claim.is_odd = true, Some(Aspect::Form))]
#[case::an_honest_text_that_a_stop_cut_away(|claim: &mut Claim| { claim.has_stops = true; claim.completion_tokens = 108 }, None)]
#[case::held_back_at_the_limit(|claim: &mut Claim| { claim.has_stops = true; claim.at_limit = 1; claim.completion_tokens = 1_000 }, None)]
#[case::of_a_grammar(|claim: &mut Claim| { claim.is_calibrated = false; claim.completion_tokens = 208 }, None)]
#[case::inflated_behind_a_grammar(|claim: &mut Claim| { claim.is_calibrated = false; claim.completion_tokens = 209 }, Some(Aspect::TokenCount))]
fn what_can_not_be_read_is_no_way_around_the_rest(#[case] change: fn(&mut Claim), #[case] expected: Option<Aspect>) {
    let score = drawn_with(100, 0);
    let mut claim = claim(&score);
    change(&mut claim);
    let evidence = Evidence::new(findings(&score, &claim));
    assert_eq!(evidence.against().next(), expected, "{evidence:?}");
    assert_eq!(evidence.speaks_against(), expected.is_some(), "{evidence:?}");
}

#[test]
fn of_a_part_that_was_scored_the_whole_is_counted() {
    let mut score = drawn_with(50, 0);
    score.answers[0].counted = 500;
    let claimed = |completion_tokens| Claim {
        completion_tokens,
        ..claim(&score)
    };
    for (tokens, expected) in [(500, None), (600, Some(Aspect::TokenCount))] {
        let evidence = Evidence::new(findings(&score, &claimed(tokens)));
        assert_eq!(evidence.against().next(), expected, "{evidence:?}");
    }
}

#[rstest]
#[case::usual(1.0, DRIFT)]
#[case::as_in_many_apps(0.7, DRIFT)]
#[case::low(0.2, 250)]
#[case::none(0.0, 10_000)]
fn what_sets_machines_apart_counts_more_at_low_temperatures(#[case] temperature: f64, #[case] expected: u32) {
    assert!(
        drift_at(temperature).abs_diff(expected) <= 1,
        "{}",
        drift_at(temperature)
    );
}

#[test]
fn a_text_may_be_cut_into_more_tokens_than_it_was_made_of_but_not_into_many() {
    assert!(!is_beyond(1, 18) && is_beyond(1, 19));
    assert!(!is_beyond(u64::MAX, u64::MAX));
}

#[test]
fn where_engines_may_differ_the_text_says_nothing_and_the_rest_does() {
    let score = ended(drawn_with(50, 8_000), 20_000);
    let claim = Claim {
        is_calibrated: false,
        ..claim(&score)
    };
    let found: Vec<Aspect> = findings(&score, &claim).iter().map(|finding| finding.aspect).collect();
    assert_eq!(found, [Aspect::TokenCount, Aspect::Form]);
}

#[test]
fn a_score_that_is_none_says_nothing() {
    let mut score = drawn_with(10, 0);
    let claim = claim(&score);
    score.answers[0].gap.pop();
    assert_eq!(findings(&score, &claim), []);
    assert_eq!(findings(&Score::default(), &claim), []);
}

#[test]
fn the_gamma_function_is_right() {
    for (x, factorial) in [
        (1.0, 1.0_f64),
        (2.0, 1.0),
        (4.0, 6.0),
        (8.0, 5040.0),
        (11.0, 3_628_800.0),
    ] {
        assert!((ln_gamma(x) - factorial.ln()).abs() < 1e-9, "{x}");
    }
}

/// The mean of the e-value over what an honest node does.
#[test]
fn a_z_that_is_normal_gives_an_e_value_below_one() {
    let steps = (-8_000..8_000).map(|step| f64::from(step) / 1_000.0);
    for (mean, deviation) in [(0.0, 1.0), (0.0, 1.2), (0.3, 1.0)] {
        let average: f64 = steps
            .clone()
            .map(|z| e_value_of(z) * normal(z, mean, deviation) / 1_000.0)
            .sum();
        assert!(average <= 1.0, "{average} for a mean of {mean}, deviation {deviation}");
    }
}

proptest! {
    #[test]
    fn more_surprise_never_speaks_for_a_node(tokens in 5_usize..200, excess in 300_i64..4_000) {
        let weight = |excess| {
            let score = drawn_with(tokens, excess);
            findings(&score, &claim(&score))[0].weight
        };
        prop_assert!(weight(excess + 500) >= weight(excess) || weight(excess) >= MilliNats::new(5_500));
    }

    #[test]
    fn no_score_makes_it_fail(
        lists in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()), 0..50),
        claimed: u64, prompt: u64, at_limit in 0_u32..3, greedy: bool,
    ) {
        let answer = AnswerScore {
            surprisal: lists.iter().map(|list| list.0).collect(),
            entropy: lists.iter().map(|list| list.1).collect(),
            variance: lists.iter().map(|list| list.2).collect(),
            gap: lists.iter().map(|list| list.3).collect(),
            plain: lists.iter().map(|list| list.0).collect(),
            end: Some(EndScore { surprisal: claimed as u32, gap: prompt as u32 }),
            ..AnswerScore::default()
        };
        let score = Score { prompt_tokens: prompt / 2, greedy, answers: vec![answer] };
        let claim = Claim { prompt_tokens: prompt, completion_tokens: claimed, limit: claimed, at_limit, has_stops: false, has_hidden: false, is_outlier: greedy, drift: drift_at(claimed as f64), is_calibrated: !greedy, is_odd: false };
        for finding in findings(&score, &claim) {
            prop_assert!((MilliNats::LEAST..=MilliNats::MOST).contains(&finding.weight));
        }
    }
}
