//! What a container computed: one JSON, of any form, passed on as it is.

use resultity_core::B256;
use resultity_core::raw_json::RawJson;
use resultity_core::wire::output_hash;

use super::Violation;

/// Reads what a node sent; gives it with its output hash.
pub(super) fn take(output: &str) -> Result<(RawJson, B256), Violation> {
    let [json]: [RawJson; 1] = serde_json::from_str(output).map_err(|error| Violation::unreadable(&error))?;
    let bytes = json.get().len();
    let json = json
        .compact()
        .ok_or_else(|| Violation::Malformed("it is too deep for readers".into()))?;
    // Who reads the answer could not compute its hash, and a line of a file is one line.
    if json.get().len() != bytes {
        return Err(Violation::Malformed("there is white space between its parts".into()));
    }
    let hash = output_hash([(0, json.get())]);
    Ok((json, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("null")]
    #[case(r#""a b\n""#)]
    #[case("123456789012345678901234567890.10")]
    #[case(r#"{"output":[],"n":1E400}"#)]
    fn any_json_passes_as_it_is(#[case] json: &str) {
        let (taken, hash) = take(&format!("[{json}]")).unwrap();
        assert_eq!(taken.get(), json);
        assert_eq!(hash, output_hash([(0, json)]));
    }

    #[rstest]
    #[case("{}")]
    #[case("[]")]
    #[case("[1,2]")]
    #[case("[1")]
    #[case("[nothing]")]
    #[case("[\"a\nb\"]")]
    #[case("[{\"a\": 1}]")]
    #[case("[[1,\n2]]")]
    #[case(&format!("[{}{}]", "[".repeat(101), "]".repeat(101)))]
    fn what_is_none_is_found(#[case] output: &str) {
        assert!(matches!(take(output), Err(Violation::Malformed(_))), "{output}");
    }
}
