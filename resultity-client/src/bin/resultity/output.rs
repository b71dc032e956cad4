//! What is written to the terminal, and how a failure is told.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use resultity_client::core::api::cloud::ReplyMeta;
use resultity_client::core::api::jobs::Job;
use resultity_client::core::error::ApiError;
use resultity_client::core::openai::chat::Usage;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong: a sentence, and what to do next.
    Told {
        sentence: String,
        hint: Option<String>,
        detail: Option<Box<ApiError>>,
        exit_code: u8,
    },
    /// Whoever reads the output has had enough, as `head` does. Not worth a word.
    NobodyReads,
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Told {
            sentence: sentence.into(),
            hint: None,
            detail: None,
            exit_code: 1,
        }
    }

    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::Told {
            sentence: sentence.into(),
            hint: None,
            detail: None,
            exit_code: 2,
        }
    }

    pub(crate) fn api(error: ApiError, hint: Option<String>) -> Self {
        Self::Told {
            sentence: error.message.clone(),
            hint,
            detail: Some(Box::new(error)),
            exit_code: 1,
        }
    }

    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Told { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::new(format!("the output cannot be written: {error}"))
        }
    }
}

/// Standard output and standard error.
pub(crate) struct Output {
    pub(crate) verbose: bool,
    is_terminal: bool,
    out_colours: bool,
    error_colours: bool,
    is_mid_line: bool,
}

impl Output {
    pub(crate) fn new(verbose: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            verbose,
            is_terminal,
            out_colours: wanted && is_terminal,
            error_colours: wanted && std::io::stderr().is_terminal(),
            is_mid_line: false,
        }
    }

    /// Whether somebody reads it on a screen.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes a piece of an answer and shows it at once.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        // What a model says must not steer the terminal; a file gets it as it is.
        let text = if self.is_terminal {
            printable(text)
        } else {
            Cow::Borrowed(text)
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        if let Some(last) = text.chars().last() {
            self.is_mid_line = last != '\n';
        }
        Ok(())
    }

    /// Writes bytes as they are, for a file or another program.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        // Bytes have no lines: nothing is added to them.
        self.is_mid_line = false;
        Ok(())
    }

    /// Writes a text and ends the line.
    pub(crate) fn write_line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text)?;
        self.end_line()
    }

    /// Ends the line if one is begun.
    pub(crate) fn end_line(&mut self) -> Result<(), Failure> {
        if self.is_mid_line { self.write("\n") } else { Ok(()) }
    }

    /// Shows where to type.
    pub(crate) fn prompt(&mut self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(if self.out_colours { b"\x1b[1m>\x1b[0m " } else { b"> " })?;
        out.flush()?;
        Ok(())
    }

    /// Says something beside the answer.
    pub(crate) fn note(&self, text: &str) {
        let text = printable(text);
        // Nobody is left to be told that standard error is gone.
        let _ = if self.error_colours {
            writeln!(std::io::stderr(), "\x1b[2m{text}\x1b[0m")
        } else {
            writeln!(std::io::stderr(), "{text}")
        };
    }

    /// With `--verbose`: what the answer took.
    pub(crate) fn note_price(&self, usage: Option<Usage>, meta: &ReplyMeta) {
        if !self.verbose {
            return;
        }
        let mut parts = Vec::new();
        if let Some(usage) = usage {
            parts.push(format!(
                "tokens: {} in, {} out",
                usage.prompt_tokens, usage.completion_tokens
            ));
        }
        if let Some(cost) = meta.cost {
            parts.push(format!("cost: {cost} credits"));
        }
        if meta.replayed {
            parts.push("given again: it was asked and paid for before".to_owned());
        }
        if let Some(job) = meta.job_id {
            parts.push(format!("job: {job}"));
        }
        if let Some(request) = &meta.request_id {
            parts.push(format!("request: {request}"));
        }
        if let Some(rate) = &meta.rate {
            let (requests, tokens) = (rate.remaining_requests, rate.remaining_tokens);
            parts.push(format!("left for now: {requests} requests, {tokens} tokens"));
        }
        for part in parts {
            self.note(&part);
        }
    }

    /// With `--verbose`: what a job that has ended took.
    pub(crate) fn note_job(&self, job: &Job) {
        let mut meta = ReplyMeta::default();
        (meta.job_id, meta.cost) = (Some(job.id), job.cost);
        self.note_price(job.usage, &meta);
    }

    /// Tells what went wrong and what to do next.
    pub(crate) fn tell(&mut self, failure: &Failure) {
        let _ = self.end_line();
        let Failure::Told {
            sentence, hint, detail, ..
        } = failure
        else {
            return;
        };
        let label = if self.error_colours {
            "\x1b[1;31merror:\x1b[0m"
        } else {
            "error:"
        };
        let mut lines = vec![format!("{label} {}", printable(sentence))];
        lines.extend(hint.as_deref().map(|hint| format!("  {}", printable(hint))));
        if let Some(detail) = detail
            && self.verbose
        {
            lines.push(format!("  code: {}", detail.code));
            lines.extend(
                detail
                    .request_id
                    .as_deref()
                    .map(|id| format!("  request: {}", printable(id))),
            );
        }
        // Nobody is left to be told that standard error is gone.
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    }

    /// Tells how it ended and gives the exit status for it.
    pub(crate) fn finish(&mut self, result: Result<(), Failure>) -> ExitCode {
        let Err(failure) = result else { return ExitCode::SUCCESS };
        self.tell(&failure);
        match failure {
            Failure::Told { exit_code, .. } => ExitCode::from(exit_code),
            Failure::NobodyReads => ExitCode::SUCCESS,
            Failure::Interrupted => ExitCode::from(130),
        }
    }
}

/// The text without control characters, so that it cannot steer a terminal; line breaks and tabs stay.
fn printable(text: &str) -> Cow<'_, str> {
    let steers = |symbol: char| symbol.is_control() && !matches!(symbol, '\n' | '\t');
    if text.contains(steers) {
        text.chars().filter(|symbol| !steers(*symbol)).collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// Runs it until it ends or Ctrl-C is pressed; then it is dropped, which closes its connection.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n\tc\u{9b}"), "a[2Jb\n\tc");
        assert!(matches!(printable("plain\n"), Cow::Borrowed(_)));
    }
}
