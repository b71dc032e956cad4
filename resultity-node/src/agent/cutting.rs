//! Cutting what an engine made at once into chunks that the network reads. Pure.

use resultity_core::openai::chat::{ChunkChoice, Delta};
use resultity_core::wire::MAX_CHUNK_BYTES;
use serde_json::{Map, Value};

/// What a chunk holds: bytes of JSON. A part of a piece may come out somewhat larger, and is still read.
const WANTED: usize = MAX_CHUNK_BYTES / 2;

/// The pieces in their order, each group small enough for a chunk. None: what a piece has beside text and log-probabilities is too large.
pub(super) fn in_chunks(pieces: Vec<ChunkChoice>) -> Option<Vec<Vec<ChunkChoice>>> {
    let mut chunks: Vec<Vec<ChunkChoice>> = Vec::new();
    let mut room = 0;
    for piece in pieces {
        let size = size_of(&piece);
        let parts = if size <= WANTED {
            vec![piece]
        } else {
            parts_of(&piece, size)?
        };
        for part in parts {
            let size = size_of(&part);
            match chunks.last_mut() {
                Some(chunk) if size <= room => chunk.push(part),
                _ => {
                    chunks.push(vec![part]);
                    room = WANTED;
                }
            }
            room = room.saturating_sub(size);
        }
    }
    Some(chunks)
}

/// Bytes of it in an array.
fn size_of(piece: &ChunkChoice) -> usize {
    // Texts, numbers and JSON: always JSON.
    serde_json::to_vec(piece).map_or(0, |json| json.len() + 1)
}

/// One piece as several: text and arrays of log-probabilities in as many parts, all else with the last one.
fn parts_of(piece: &ChunkChoice, size: usize) -> Option<Vec<ChunkChoice>> {
    // Neither text nor numbers are equally long everywhere.
    let counts = [2, 8, 32].map(|finer| size.div_ceil(WANTED) * finer);
    counts
        .into_iter()
        .map(|count| cut(piece, count))
        .find(|parts| parts.iter().all(|part| size_of(part) <= WANTED))
}

fn cut(piece: &ChunkChoice, count: usize) -> Vec<ChunkChoice> {
    let text = piece.delta.content.as_deref().unwrap_or_default();
    let mut begin = 0;
    (1..=count)
        .map(|part| {
            let mut end = text.len() * part / count;
            while !text.is_char_boundary(end) {
                end += 1;
            }
            let content = (end > begin).then(|| text[begin..end].to_owned());
            begin = begin.max(end);
            let is_last = part == count;
            ChunkChoice {
                index: piece.index,
                delta: Delta {
                    role: None,
                    content,
                    extra: if is_last { piece.delta.extra.clone() } else { Map::new() },
                },
                logprobs: piece.logprobs.as_ref().map(|told| part_of(told, part - 1, count)),
                finish_reason: if is_last { piece.finish_reason.clone() } else { None },
            }
        })
        .collect()
}

/// A part of log-probabilities: of an object with arrays by token, in the form of either endpoint.
fn part_of(told: &Value, part: usize, count: usize) -> Value {
    match told {
        Value::Object(fields) => {
            let cut = fields.iter().map(|(name, value)| {
                let value = match value {
                    Value::Array(all) => {
                        let of = |part: usize| all.len() * part / count;
                        Value::Array(all[of(part)..of(part + 1)].to_vec())
                    }
                    other if part + 1 == count => other.clone(),
                    _ => Value::Null,
                };
                (name.clone(), value)
            });
            Value::Object(cut.collect())
        }
        other if part + 1 == count => other.clone(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use resultity_core::wire::OutputHasher;
    use serde_json::json;

    fn texts(chunks: &[Vec<ChunkChoice>]) -> OutputHasher {
        let mut hasher = OutputHasher::default();
        for chunk in chunks {
            hasher.add(chunk);
        }
        hasher
    }

    fn assert_small(chunks: &[Vec<ChunkChoice>]) {
        for chunk in chunks {
            assert!(serde_json::to_vec(chunk).unwrap().len() <= MAX_CHUNK_BYTES);
        }
    }

    #[test]
    fn many_choices_that_come_at_once_go_into_few_chunks() {
        let pieces: Vec<_> = (0..128)
            .map(|index| ChunkChoice::text(index, "é\n".repeat(4_500)))
            .collect();
        let chunks = in_chunks(pieces.clone()).unwrap();
        assert_small(&chunks);
        assert!((3..=8).contains(&chunks.len()), "{}", chunks.len());
        assert_eq!(chunks.concat(), pieces);
    }

    #[test]
    fn one_long_piece_is_cut_with_its_log_probabilities_and_ends_once() {
        let told: Vec<Value> = (0..20_000).map(|token| json!({"token": token.to_string(), "logprob": -1.5, "top_logprobs": [{"token": "x", "logprob": -9.0}]})).collect();
        let piece = ChunkChoice {
            logprobs: Some(json!({ "content": told, "refusal": null })),
            finish_reason: Some("stop".into()),
            ..ChunkChoice::text(3, "\u{1}".repeat(300_000))
        };
        let chunks = in_chunks(vec![piece.clone()]).unwrap();
        assert_small(&chunks);
        assert!(chunks.len() <= 40, "{}", chunks.len());
        assert_eq!(texts(&chunks).texts()[&3], piece.delta.content.unwrap());
        let all = chunks.concat();
        let again: Vec<Value> = all
            .iter()
            .flat_map(|part| part.logprobs.as_ref().unwrap()["content"].as_array().unwrap().clone())
            .collect();
        assert_eq!(again, told);
        let ends: Vec<_> = all.iter().filter(|part| part.finish_reason.is_some()).collect();
        assert_eq!((ends.len(), ends[0]), (1, all.last().unwrap()));
    }

    #[test]
    fn what_can_not_be_cut_is_not_sent() {
        let mut piece = ChunkChoice::text(0, "");
        let arguments = json!([{"index": 0, "function": {"arguments": "x".repeat(MAX_CHUNK_BYTES)}}]);
        piece.delta.extra.insert("tool_calls".into(), arguments);
        assert_eq!(in_chunks(vec![piece]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_text_stays_the_same(texts_of in proptest::collection::vec((0_u32..3, "[a-zé\u{1f600}\u{1}]{0,40}", 1_usize..8_000), 1..6)) {
            let pieces: Vec<_> = texts_of
                .iter()
                .map(|(index, text, times)| ChunkChoice::text(*index, text.repeat(*times)))
                .collect();
            let chunks = in_chunks(pieces.clone()).unwrap();
            assert_small(&chunks);
            prop_assert_eq!(texts(&chunks).finish(), texts(&[pieces]).finish());
        }
    }
}
