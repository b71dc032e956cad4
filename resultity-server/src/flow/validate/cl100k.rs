//! Token ids of OpenAI's encoding `cl100k_base`, as text: some libraries send nothing else, whatever the model.

use resultity_core::error::ApiError;

use super::invalid;

/// The text that these ids stand for. The vocabulary is read at the first call. Bytes that are no UTF-8, where a list of ids
/// was cut within a character, become U+FFFD.
pub(super) fn decode(tokens: &[u32]) -> Result<String, ApiError> {
    let bytes = tiktoken_rs::cl100k_base_singleton().decode_bytes(tokens).map_err(|_| {
        invalid(
            "input",
            "input must hold texts, or token ids of the encoding cl100k_base, but there are ids beyond it",
        )
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
