//! Text to tokens and back, from what the GGUF file says.
//!
//! candle has a reader for this, but it knows few pre-tokenizers and takes a wrong one for the others, which gives wrong tokens
//! without an error. This one refuses what it does not know.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use candle_core::Error;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::Trouble;
use super::metadata::Metadata;

const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens that end an answer, by the names that models give them, beside the one that the file names.
const ENDS: [&str; 6] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "</s>",
];

/// Kinds of tokens in GGUF.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The tokenizer of one model.
pub(super) struct Tokenizer {
    inner: Inner,
    /// The same for texts in which nothing is a control token; made when there is one that looks as if.
    literal: OnceLock<Inner>,
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// Where each token's bytes begin in `bytes`; one more than there are tokens.
    starts: Vec<u32>,
    ends: HashSet<u32>,
    longest: usize,
    /// The token to put first, if the model wants one.
    begin: Option<u32>,
    blank: Option<u32>,
    pub(super) begin_text: Option<String>,
    pub(super) end_text: Option<String>,
}

impl Tokenizer {
    pub(super) fn new(metadata: &Metadata<'_>) -> Result<Self, Trouble> {
        let kind = metadata.text("tokenizer.ggml.model")?;
        if kind != "gpt2" {
            return Err(Trouble::Unsupported(format!(
                "its tokenizer is of the kind {kind:?}, not \"gpt2\""
            )));
        }
        let tokens = metadata.texts("tokenizer.ggml.tokens")?;
        let kinds = metadata.numbers("tokenizer.ggml.token_type")?;
        if kinds.len() != tokens.len() || u32::try_from(tokens.len()).is_err() {
            return Err(Trouble::Invalid(
                "its tokens and their kinds are not of one number".to_owned(),
            ));
        }
        let inner = build(metadata, &tokens, &kinds)?;
        let (bytes, starts) = bytes_of(&tokens, &kinds);
        let id = |name: &str| tokens.iter().position(|token| *token == name).map(|at| at as u32);
        let number = |key| {
            metadata
                .number(key)
                .filter(|id| *id < tokens.len() as u64)
                .map(|id| id as u32)
        };
        let (begin, end) = (
            number("tokenizer.ggml.bos_token_id"),
            number("tokenizer.ggml.eos_token_id"),
        );
        let mut ends: HashSet<u32> = ENDS
            .into_iter()
            .filter_map(id)
            .filter(|id| kinds[*id as usize] == CONTROL)
            .collect();
        ends.extend(end.into_iter().chain(number("tokenizer.ggml.eot_token_id")));
        let text = |id: Option<u32>| id.map(|id| tokens[id as usize].to_owned());
        Ok(Self {
            longest: tokens.iter().map(|token| token.len()).max().unwrap_or(1).max(1),
            begin: begin.filter(|_| metadata.flag("tokenizer.ggml.add_bos_token") == Some(true)),
            begin_text: text(begin),
            end_text: text(end),
            blank: id("<|endoftext|>").or(begin),
            inner,
            literal: OnceLock::new(),
            bytes,
            starts,
            ends,
        })
    }

    /// The tokens of a text in which control tokens are written out, with the first token that the model wants.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(Error::wrap)?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(begin) = self.begin.filter(|begin| ids.first() != Some(begin)) {
            ids.insert(0, begin);
        }
        Ok(ids)
    }

    /// The tokens of a text that goes on from another and was shown. Control tokens never are, so whatever it spells is none.
    pub(super) fn encode_shown(&self, text: &str) -> Result<Vec<u32>, Error> {
        let ids = self.encode_further(text)?;
        if !ids.iter().any(|token| self.is_control(*token)) {
            return Ok(ids);
        }
        let literal = self.literal.get_or_init(|| {
            let mut literal = self.inner.clone();
            literal.set_encode_special_tokens(true);
            literal
        });
        let encoding = literal.encode_fast(text, false).map_err(Error::wrap)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether a text writes control tokens out.
    pub(super) fn has_control(&self, text: &str) -> Result<bool, Error> {
        let ids = self.encode_further(text)?;
        Ok(ids.iter().any(|token| self.is_control(*token)))
    }

    /// The tokens of a text that goes on from another.
    fn encode_further(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(Error::wrap)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether a token stands for no text.
    fn is_control(&self, token: u32) -> bool {
        self.bytes(token).is_empty()
    }

    /// A text can't have fewer tokens than this. Saves cutting up what is far too long.
    pub(super) fn fewest_tokens(&self, text: &str) -> usize {
        text.len() / self.longest
    }

    /// The bytes that a token stands for; none for control tokens. May be a part of a character.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        let at = token as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.bytes[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// What a token is shown as: its bytes, or the name of a control token.
    pub(super) fn shown(&self, token: u32) -> Cow<'_, [u8]> {
        match self.bytes(token) {
            [] => self.inner.id_to_token(token).unwrap_or_default().into_bytes().into(),
            bytes => bytes.into(),
        }
    }

    /// How many tokens there are; their ids are below that.
    pub(super) fn count(&self) -> u32 {
        self.starts.len().saturating_sub(1) as u32
    }

    /// The bytes of every token, by id.
    pub(super) fn all_bytes(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count()).map(|token| self.bytes(token))
    }

    /// The token that stands for a text of which nothing is there yet.
    pub(super) fn blank(&self) -> Option<u32> {
        self.blank
    }

    /// Whether this token ends an answer.
    pub(super) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}

fn build(metadata: &Metadata<'_>, tokens: &[&str], kinds: &[u64]) -> Result<Inner, Trouble> {
    let wrong = |error: tokenizers::Error| Trouble::Invalid(format!("its tokenizer: {error}"));
    let vocabulary: tokenizers::models::bpe::Vocab = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| ((*token).to_owned(), id as u32))
        .collect();
    let merges = metadata
        .texts("tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| merge.split_once(' '));
    let merges = merges
        .map(|pair| pair.map(|(left, right)| (left.to_owned(), right.to_owned())))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Trouble::Invalid("its tokenizer has a merge without two sides".to_owned()))?;
    let name = metadata.optional_text("tokenizer.ggml.pre").unwrap_or("default");
    // The Llama 3 family takes a whole word that is a token as it is, before any merge.
    let ignore_merges = matches!(name, "llama3" | "llama-v3" | "llama-bpe");
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(ignore_merges);
    let mut inner = Inner::new(model.build().map_err(wrong)?);
    if name == "qwen2" {
        inner.with_normalizer(Some(NFC)).map_err(wrong)?;
    }
    inner.with_pre_tokenizer(Some(pre_tokenizer(name)?));
    let added = tokens
        .iter()
        .zip(kinds)
        .filter(|(_, kind)| matches!(**kind, CONTROL | USER_DEFINED));
    let added: Vec<_> = added
        .map(|(token, kind)| AddedToken::from((*token).to_owned(), *kind == CONTROL).normalized(false))
        .collect();
    inner.add_tokens(added).map_err(wrong)?;
    Ok(inner)
}

/// How text is cut up before merging, by the name that llama.cpp has for it.
fn pre_tokenizer(name: &str) -> Result<PreTokenizerWrapper, Trouble> {
    let split = |pattern: &str| {
        Split::new(
            SplitPattern::Regex(pattern.to_owned()),
            SplitDelimiterBehavior::Isolated,
            false,
        )
        .map_err(|error| Trouble::Invalid(error.to_string()))
    };
    let parts: Vec<PreTokenizerWrapper> = match name {
        "gpt-2" => vec![ByteLevel::new(false, true, true).into()],
        "smollm" => vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()],
        "llama3" | "llama-v3" | "llama-bpe" | "smaug-bpe" => {
            vec![split(LLAMA3)?.into(), ByteLevel::new(false, true, false).into()]
        }
        "qwen2" => vec![split(QWEN2)?.into(), ByteLevel::new(false, true, false).into()],
        other => return Err(Trouble::Unsupported(format!("its pre-tokenizer is {other:?}"))),
    };
    Ok(Sequence::new(parts).into())
}

/// The bytes behind each token: the vocabulary writes a byte as a printable character, as GPT-2 did.
fn bytes_of(tokens: &[&str], kinds: &[u64]) -> (Vec<u8>, Vec<u32>) {
    let table = byte_table();
    let mut bytes = Vec::new();
    let mut starts = Vec::with_capacity(tokens.len() + 1);
    for (token, kind) in tokens.iter().zip(kinds) {
        starts.push(bytes.len() as u32);
        match *kind {
            CONTROL => {}
            USER_DEFINED => bytes.extend_from_slice(token.as_bytes()),
            _ => {
                for character in token.chars() {
                    match table.get(character as usize).copied().flatten() {
                        Some(byte) => bytes.push(byte),
                        None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
            }
        }
    }
    starts.push(bytes.len() as u32);
    (bytes, starts)
}

/// By character: the byte that it stands for. Printable bytes stand for themselves, the others follow from U+0100 on.
fn byte_table() -> Vec<Option<u8>> {
    let mut table = vec![None; 0x100 + 0x100];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let at = if printable {
            usize::from(byte)
        } else {
            next += 1;
            next - 1
        };
        table[at] = Some(byte);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let table = byte_table();
        let mut bytes: Vec<u8> = table.iter().flatten().copied().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!(table['Ġ' as usize], Some(b' '));
        assert_eq!(table['Ċ' as usize], Some(b'\n'));
        assert_eq!(table['a' as usize], Some(b'a'));
    }

    #[test]
    fn an_unknown_pre_tokenizer_is_refused() {
        assert!(matches!(pre_tokenizer("tekken"), Err(Trouble::Unsupported(_))));
        assert!(pre_tokenizer("smollm").is_ok());
    }
}
