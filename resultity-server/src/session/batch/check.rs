//! Whether a batch's file can be run: all that is wrong with it is listed, with the line.

use std::collections::HashSet;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;
use resultity_core::openai::batch::{BatchError, BatchLine};
use serde::Deserialize;
use serde_json::Value;

use crate::json::parse;
use crate::session::CloudSession;
use crate::session::batch::source::{Found, MAX_LINE, Source};

/// The most requests of a batch.
pub(super) const MAX_REQUESTS: usize = 50_000;

/// The most problems that are listed.
const MAX_PROBLEMS: usize = 100;

/// The longest `custom_id`: characters.
const MAX_CUSTOM_ID: usize = 512;

/// What was found out about a file.
#[derive(Debug)]
pub(super) enum Checked {
    /// It can be run: so many requests, to this model.
    Good {
        /// How many requests.
        total: u64,
        /// The model, as the first request calls it.
        model: String,
    },
    /// It can't.
    Bad(Vec<BatchError>),
}

/// Looks at every line.
pub(super) async fn check(
    session: &CloudSession,
    source: &mut Source,
    endpoint: Endpoint,
) -> Result<Checked, ApiError> {
    let mut seen = Seen {
        session,
        endpoint,
        custom_ids: HashSet::new(),
        model: None,
    };
    let mut problems = Vec::new();
    let mut reader = source.reader();
    let mut total = 0;
    loop {
        match reader.next().await? {
            Found::Line(line, text) => {
                total += 1;
                if total > MAX_REQUESTS {
                    let message = format!("a batch may have {MAX_REQUESTS} requests");
                    problems.push(problem("too_many_requests", message, None, Some(line.number)));
                    break;
                }
                if let Err(error) = seen.look_at(&text) {
                    problems.push(BatchError {
                        line: Some(line.number.into()),
                        ..error
                    });
                }
            }
            Found::TooLong(line) => {
                let message = format!("the line is longer than {MAX_LINE} bytes; what follows was not read");
                problems.push(problem("invalid_json_line", message, None, Some(line)));
                break;
            }
            Found::End => break,
        }
        if problems.len() >= MAX_PROBLEMS {
            let message = format!("there are {MAX_PROBLEMS} problems; what follows was not read");
            problems.push(problem("too_many_problems", message, None, None));
            break;
        }
        // Some lines take a while to check; others want to run too.
        tokio::task::yield_now().await;
    }
    Ok(match seen.model {
        Some((asked, _)) if problems.is_empty() => Checked::Good {
            total: total as u64,
            model: asked,
        },
        _ => {
            if total == 0 && problems.is_empty() {
                problems.push(problem("empty_file", "the file has no requests", None, None));
            }
            Checked::Bad(problems)
        }
    })
}

/// What was seen in earlier lines.
struct Seen<'a> {
    session: &'a CloudSession,
    endpoint: Endpoint,
    custom_ids: HashSet<String>,
    /// As the first request calls it, and as the snapshot does.
    model: Option<(String, String)>,
}

impl Seen<'_> {
    fn look_at(&mut self, text: &[u8]) -> Result<(), BatchError> {
        let line = read(text)?;
        if line.custom_id.is_empty() || line.custom_id.chars().count() > MAX_CUSTOM_ID {
            let message = format!("custom_id must have 1 to {MAX_CUSTOM_ID} characters");
            return Err(problem("invalid_custom_id", message, Some("custom_id"), None));
        }
        if !self.custom_ids.insert(line.custom_id.clone()) {
            let shown: String = line.custom_id.chars().take(100).collect();
            let message = format!("an earlier line has the custom_id {shown:?} too");
            return Err(problem("duplicate_custom_id", message, Some("custom_id"), None));
        }
        if line.method != "POST" {
            return Err(problem("invalid_method", "method must be POST", Some("method"), None));
        }
        if line.url != self.endpoint.as_str() {
            let message = format!("url must be {}, the endpoint of the batch", self.endpoint);
            return Err(problem("invalid_url", message, Some("url"), None));
        }
        let model = model_of(self.session, &line)?;
        match &self.model {
            None => self.model = Some(model),
            Some((_, name)) if *name == model.1 => {}
            Some((asked, _)) => {
                let message = format!("all requests of a batch ask one model, and the first asks {asked}");
                return Err(problem("mismatched_model", message, Some("body.model"), None));
            }
        }
        Ok(())
    }
}

/// Reads a line.
fn read(text: &[u8]) -> Result<BatchLine, BatchError> {
    parse(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).map_err(|error: ApiError| {
        let code = match error.code {
            ErrorCode::InvalidJson => "invalid_json_line",
            code => code.as_str(),
        };
        let message = error
            .message
            .replacen("the body is not JSON", "the line is not JSON", 1);
        problem(code, message, error.param.as_deref(), None)
    })
}

/// Reads a line of a file that was checked.
pub(in crate::session) fn reread(text: &[u8]) -> Result<BatchLine, ApiError> {
    read(text).map_err(|problem| ApiError::new(ErrorCode::InvalidValue, problem.message))
}

/// The model that a line asks. What else is wrong with its body concerns this line alone: it is said in the error file.
fn model_of(session: &CloudSession, line: &BatchLine) -> Result<(String, String), BatchError> {
    /// What the file as a whole depends on.
    #[derive(Deserialize)]
    struct Body {
        model: String,
        /// What asks for an answer in another way than in a file.
        #[serde(default)]
        stream: Option<Value>,
        #[serde(default)]
        background: Option<Value>,
    }
    let in_body = |error: ApiError| {
        let param = error
            .param
            .map_or_else(|| "body".to_owned(), |param| format!("body.{param}"));
        problem(error.code.as_str(), error.message, Some(&param), None)
    };
    let body: Body = parse(line.body.get().as_bytes()).map_err(in_body)?;
    for (field, value) in [("stream", body.stream), ("background", body.background)] {
        if value == Some(Value::Bool(true)) {
            let (message, param) = (format!("{field} is not for batches"), format!("body.{field}"));
            let code = ErrorCode::UnsupportedParameter.as_str();
            return Err(problem(code, message, Some(&param), None));
        }
    }
    let model = session.model_to_ask(&body.model).map_err(in_body)?;
    Ok((body.model, model.name))
}

fn problem(code: &str, message: impl Into<String>, param: Option<&str>, line: Option<u32>) -> BatchError {
    BatchError {
        code: code.to_owned(),
        message: message.into(),
        param: param.map(str::to_owned),
        line: line.map(Into::into),
    }
}
