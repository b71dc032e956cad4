//! The check of every answer: what was asked for, all of it, in order.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::HttpError;
use crate::prompt::{self, ANSWER_TOKENS};

/// Why an answer doesn't count.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Refused, cut with an error or lost.
    Error(String),
    /// Not what was asked for.
    Wrong(String),
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::Error(error.to_string())
    }
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    choices: Vec<WholeChoice<'a>>,
    usage: Tokens,
}

#[derive(Deserialize)]
struct WholeChoice<'a> {
    #[serde(borrow)]
    message: Text<'a>,
    finish_reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(default)]
    content: Option<&'a str>,
}

#[derive(Deserialize)]
struct Tokens {
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    choices: Vec<PartChoice<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PartChoice<'a> {
    #[serde(borrow)]
    delta: Text<'a>,
    #[serde(default)]
    finish_reason: Option<&'a str>,
}

fn shorten(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(300).collect()
}

/// Checks an answer that was not streamed.
pub(crate) fn check_whole(status: u16, body: &[u8], nonce: &str) -> Result<(), Fault> {
    if status != 200 {
        return Err(Fault::Error(format!("status {status}: {}", shorten(body))));
    }
    let wrong = |what: &str| Fault::Wrong(format!("{what}; asked for {nonce}, got: {}", shorten(body)));
    let answer: Whole<'_> = serde_json::from_slice(body).map_err(|error| wrong(&format!("no completion: {error}")))?;
    match answer.choices.as_slice() {
        [choice] if choice.message.content != Some(&prompt::answer(nonce)) => Err(wrong("another text")),
        [choice] if choice.finish_reason != Some("stop") => Err(wrong("another finish_reason")),
        [_] if answer.usage.completion_tokens != ANSWER_TOKENS => Err(wrong("other token counts")),
        [_] => Ok(()),
        _ => Err(wrong("not one choice")),
    }
}

/// Follows a stream: the parts have to come in order and whole, then a reason, the token counts and `[DONE]`.
pub(crate) struct StreamCheck {
    expected: String,
    seen: usize,
    chunks: u32,
    finished: bool,
    counted: bool,
    done: bool,
}

impl StreamCheck {
    pub(crate) fn new(nonce: &str, chunks: u32) -> Self {
        let expected = prompt::streamed_answer(nonce, chunks);
        Self {
            expected,
            seen: 0,
            chunks,
            finished: false,
            counted: false,
            done: false,
        }
    }

    /// One line of the stream, without its end; whether it brought text.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<bool, Fault> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Empty lines, comments and fields other than the data mean nothing here.
        let Some(data) = line.strip_prefix(b"data:") else {
            return Ok(false);
        };
        let data = data.trim_ascii();
        let wrong = |what: &str| Err(Fault::Wrong(format!("{what}: {}", shorten(line))));
        if self.done {
            return wrong("an event behind the end");
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(false);
        }
        let part: Part<'_> = match serde_json::from_slice(data) {
            Ok(part) => part,
            Err(error) => return wrong(&format!("no chunk ({error})")),
        };
        if let Some(error) = part.error {
            return Err(Fault::Error(format!(
                "the stream broke: {}",
                shorten(error.get().as_bytes())
            )));
        }
        if let Some(usage) = part.usage {
            if usage.completion_tokens != u64::from(self.chunks) {
                return wrong("other token counts");
            }
            self.counted = true;
        }
        let mut text = false;
        for choice in &part.choices {
            let content = choice.delta.content.unwrap_or_default();
            if !self.expected[self.seen..].starts_with(content) {
                return wrong(&format!(
                    "expected {:?}",
                    self.expected[self.seen..].chars().take(20).collect::<String>()
                ));
            }
            self.seen += content.len();
            text |= !content.is_empty();
            match choice.finish_reason {
                None => {}
                Some("stop") => self.finished = true,
                Some(_) => return wrong("another finish_reason"),
            }
        }
        Ok(text)
    }

    /// Whether all of it came.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        let missing = match self {
            check if check.seen < check.expected.len() => "some of its parts",
            check if !check.finished => "a finish_reason",
            check if !check.counted => "the token counts",
            check if !check.done => "[DONE]",
            _ => return Ok(()),
        };
        Err(Fault::Wrong(format!("a stream ended without {missing}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TEXT: &str = r#"data: {"choices":[{"delta":{"role":"assistant","content":"n.0 "}}]}"#;
    const END: &str = r#"data: {"choices":[{"delta":{"content":"n.1 "},"finish_reason":"stop"}]}"#;
    const USAGE: &str = r#"data: {"choices":[],"usage":{"completion_tokens":2}}"#;
    const DONE: &str = "data: [DONE]";

    fn run(lines: &[&str]) -> Result<(), Fault> {
        let mut check = StreamCheck::new("n", 2);
        for line in lines {
            check.line(line.as_bytes())?;
        }
        check.end()
    }

    #[test]
    fn a_whole_stream_is_right() {
        assert!(run(&[TEXT, "", ": comment", END, USAGE, DONE]).is_ok());
    }

    #[rstest]
    #[case::cut(&[TEXT, END, USAGE])]
    #[case::part_missing(&[TEXT, USAGE, DONE])]
    #[case::out_of_order(&[END, TEXT, USAGE, DONE])]
    #[case::doubled(&[TEXT, TEXT, END, USAGE, DONE])]
    #[case::no_usage(&[TEXT, END, DONE])]
    #[case::behind_the_end(&[TEXT, END, USAGE, DONE, TEXT])]
    #[case::no_json(&[TEXT, "data: {", END, USAGE, DONE])]
    fn anything_else_is_wrong(#[case] lines: &[&str]) {
        assert!(matches!(run(lines), Err(Fault::Wrong(_))));
    }

    #[test]
    fn an_error_event_is_an_error_and_no_wrong_answer() {
        assert!(matches!(
            run(&[TEXT, r#"data: {"error":{"message":"m"}}"#]),
            Err(Fault::Error(_))
        ));
    }

    #[rstest]
    #[case("You asked for n.", 8, true)]
    #[case("You asked for m.", 8, false)]
    #[case("You asked for n.", 9, false)]
    fn a_whole_answer_is_checked(#[case] text: &str, #[case] tokens: u64, #[case] right: bool) {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"completion_tokens":{tokens}}}}}"#
        );
        assert_eq!(check_whole(200, body.as_bytes(), "n").is_ok(), right);
        assert!(matches!(check_whole(503, body.as_bytes(), "n"), Err(Fault::Error(_))));
    }
}
