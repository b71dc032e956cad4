//! `resultity jobs`: what was asked, and asking without waiting.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use futures::TryStreamExt;
use resultity_client::core::api::jobs::{Feedback, Job, JobQuery, JobRequest, JobsApi, Rating};
use resultity_client::core::capability::Capability;
use resultity_client::core::compute::ComputeRequest;
use resultity_client::core::id::{InvalidId, JobId};
use resultity_client::core::job::{Endpoint, JobState};
use resultity_client::core::raw_json::RawJson;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::asking::{AskingArguments, read_all};
use crate::compute::{object, read_file};
use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::progress::Progress;
use crate::table::{self, age, counted, if_any, list, moment, thing};

const LIST: &str = "resultity jobs list";

#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  resultity jobs submit \"Tell me a story.\" --wait
  id=$(resultity jobs submit --file request.json --endpoint embeddings)
  resultity jobs wait \"$id\" --json | jq .result
  resultity jobs list --status failed

A job goes on when you leave; its answer is kept for 24 hours. `resultity
receipt get JOB` proves what was asked, answered and paid."
)]
pub(crate) struct JobsArguments {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Subcommand)]
enum JobsCommand {
    /// List jobs, the newest first
    List(ListArguments),
    /// Show where a job stands
    Show(ShowArguments),
    /// Ask without waiting; prints the id of the job
    Submit(Box<SubmitArguments>),
    /// Wait until a job has ended, and print its answer
    Wait(WaitArguments),
    /// Cancel a job
    Cancel(ShowArguments),
    /// Say what you think of an answer
    Feedback(FeedbackArguments),
}

#[derive(Args)]
struct ListArguments {
    /// Only those that are queued, leased, running, succeeded, failed, expired or cancelled
    #[arg(long, value_name = "STATUS")]
    status: Option<JobState>,
    /// Only those of this model
    #[arg(short, long)]
    model: Option<String>,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one line of JSON a job
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ShowArguments {
    /// The job, or the id of its answer (chatcmpl-…, cmpl-… or compute-…)
    #[arg(value_parser = job_id)]
    job: JobId,
    /// Print it as JSON, with its answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct WaitArguments {
    /// The job, or the id of its answer (chatcmpl-…, cmpl-… or compute-…)
    #[arg(value_parser = job_id)]
    job: JobId,
    /// How long to wait; the job goes on after that
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 600)]
    patience: u64,
    /// Print the job as JSON, with its answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SubmitArguments {
    /// What to ask, of a container its data; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    prompt: Vec<String>,
    /// A whole request as JSON, as the endpoint takes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "max_tokens"])]
    file: Option<PathBuf>,
    /// What to ask for
    #[arg(long, value_enum, default_value_t = Kind::Chat)]
    endpoint: Kind,
    /// The model [default: the one of `dev`, else the first that can]
    #[arg(short, long, env = "RESULTITY_MODEL")]
    model: Option<String>,
    /// The most tokens to make
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Wait for the answer and print it
    #[arg(long)]
    wait: bool,
    /// How long to wait; the job goes on after that
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    patience: u64,
    /// Print the job as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: AskingArguments,
}

/// The id of a job, or of the answer that a job made.
pub(crate) fn job_id(text: &str) -> Result<JobId, InvalidId> {
    JobId::of_answer(text).map_or_else(|| text.parse(), Ok)
}

/// What can be asked for.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Chat,
    Completions,
    Embeddings,
    Compute,
}

impl Kind {
    fn endpoint(self) -> Endpoint {
        match self {
            Self::Chat => Endpoint::ChatCompletions,
            Self::Completions => Endpoint::Completions,
            Self::Embeddings => Endpoint::Embeddings,
            Self::Compute => Endpoint::Compute,
        }
    }

    /// The body of a request of this model with this text.
    fn body(self, model: &str, text: &str, max_tokens: Option<u64>) -> Result<RawJson, Failure> {
        let (field, value) = match self {
            Self::Chat => ("messages", json!([{"role": "user", "content": text}])),
            Self::Completions => ("prompt", json!(text)),
            Self::Embeddings => ("input", json!(text)),
            Self::Compute => {
                let data = object(text);
                let data = data.map_err(|why| Failure::usage(format!("the data is no JSON object: {why}")))?;
                return written(&ComputeRequest::of(model, data));
            }
        };
        let mut body = Map::from_iter([(field.to_owned(), value), ("model".to_owned(), json!(model))]);
        if let Some(tokens) = max_tokens {
            body.insert("max_tokens".into(), json!(tokens));
        }
        written(&body)
    }
}

#[derive(Args)]
struct FeedbackArguments {
    /// The job, or the id of its answer (chatcmpl-…, cmpl-… or compute-…)
    #[arg(value_parser = job_id)]
    job: JobId,
    /// Good or bad
    #[arg(value_enum)]
    rating: Thumb,
    /// What it is about, in a word such as wrong, slow, unsafe
    #[arg(long, value_name = "WORD")]
    category: Option<String>,
    /// In words
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Ask that a person looks at it
    #[arg(long)]
    review: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Thumb {
    Up,
    Down,
}

pub(crate) async fn run(
    arguments: JobsArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    until_interrupted(async {
        match arguments.command {
            JobsCommand::List(arguments) => list_jobs(arguments, &connection, output).await,
            JobsCommand::Show(arguments) => {
                let job = connection.client.job(arguments.job).await;
                let job = job.map_err(|error| connection.explain_listed(error, LIST))?;
                show(&job.body, arguments.json, output)
            }
            JobsCommand::Submit(arguments) => submit(*arguments, &connection, output).await,
            JobsCommand::Wait(arguments) => {
                wait(arguments.job, arguments.patience, arguments.json, &connection, output).await
            }
            JobsCommand::Cancel(arguments) => {
                let job = connection.client.cancel_job(arguments.job).await;
                let job = job.map_err(|error| connection.explain_listed(error, LIST))?;
                show(&job.body, arguments.json, output)
            }
            JobsCommand::Feedback(arguments) => feedback(arguments, &connection, output).await,
        }
    })
    .await
}

async fn list_jobs(arguments: ListArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let query = JobQuery {
        status: arguments.status,
        model: arguments.model,
        limit: Some(u32::try_from(arguments.limit.clamp(1, 100)).unwrap_or(100)),
        ..JobQuery::default()
    };
    let mut jobs = connection.client.jobs_stream(query);
    let mut rows = Vec::new();
    let mut count = 0;
    while count < arguments.limit {
        let job = jobs.try_next().await.map_err(|error| connection.explain(error))?;
        let Some(job) = job else { break };
        count += 1;
        if arguments.json {
            output.write_line(&table::json_line(&job)?)?;
            continue;
        }
        rows.push(vec![
            job.id.to_string(),
            job.status.to_string(),
            age(job.created_at),
            if_any(job.cost),
            job.model,
        ]);
    }
    if arguments.json {
        return Ok(());
    }
    if rows.is_empty() {
        output.note("There is no such job.");
        return Ok(());
    }
    output.write_line(&list(&["JOB", "STATUS", "AGE", "COST", "MODEL"], rows))
}

fn show(job: &Job, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&table::json(job)?);
    }
    let lost = job.attempts.iter().filter_map(|attempt| attempt.reason.as_deref());
    let lost: Vec<&str> = lost.collect();
    let attempts = match (job.attempts.len(), lost.as_slice()) {
        (0, _) => String::new(),
        (all, []) => all.to_string(),
        (all, lost) => format!("{all} ({})", lost.join(", ")),
    };
    let tokens = job.usage.map(|usage| {
        let (tokens_in, tokens_out) = (usage.prompt_tokens, usage.completion_tokens);
        format!("{tokens_in} in, {tokens_out} out")
    });
    let error = job.error.as_ref().map(|error| match &error.param {
        Some(param) => format!("{} ({param})", error.message),
        None => error.message.clone(),
    });
    output.write_line(&thing([
        ("job", job.id.to_string()),
        ("status", job.status.to_string()),
        ("endpoint", job.endpoint.to_string()),
        ("model", job.model.clone()),
        ("priority", job.priority.to_string()),
        ("created", moment(job.created_at)),
        ("finished", job.finished_at.map(moment).unwrap_or_default()),
        ("jobs before it", if_any(job.queue_place)),
        (
            "may wait for",
            if_any(job.estimated_wait_ms.map(|wait| format!("{} s", wait.div_ceil(1000)))),
        ),
        ("attempts", attempts),
        (
            "held",
            if job.status.is_final() {
                String::new()
            } else {
                job.held.to_string()
            },
        ),
        ("cost", if_any(job.cost)),
        ("tokens", if_any(tokens)),
        ("error", if_any(error)),
        ("answer kept until", job.expires_at.map(moment).unwrap_or_default()),
    ]))
}

async fn submit(arguments: SubmitArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let endpoint = arguments.endpoint.endpoint();
    let body = match &arguments.file {
        Some(path) => read_request(path).await?,
        None => {
            let text = match arguments.prompt.as_slice() {
                [dash] if dash == "-" => read_all().await?,
                words => words.join(" "),
            };
            let named = arguments.model.clone();
            let model = match arguments.endpoint {
                Kind::Embeddings => connection.model_that_can(named, Capability::Embeddings).await?,
                Kind::Compute => connection.model_that_can(named, Capability::Container).await?,
                Kind::Chat | Kind::Completions => connection.model(named).await?,
            };
            arguments.endpoint.body(&model, &text, arguments.max_tokens)?
        }
    };
    let asking = &arguments.asking;
    if asking.dry_run {
        return asking.quote(connection, endpoint, &body, arguments.json, output).await;
    }
    let job = asking
        .client(connection)
        .create_job(JobRequest { endpoint, body })
        .await;
    let job = job.map_err(|error| connection.explain(error))?;
    if arguments.wait {
        // Who stops the waiting needs it: the job goes on.
        output.note(&format!("job {}", job.id));
        return wait(job.id, arguments.patience, arguments.json, connection, output).await;
    }
    if arguments.json {
        output.write_line(&table::json(&job.body)?)?;
    } else {
        output.write_line(&job.id.to_string())?;
    }
    if output.is_terminal() {
        output.note(&format!("`resultity jobs wait {}` prints the answer.", job.id));
    }
    Ok(())
}

fn written(body: &impl serde::Serialize) -> Result<RawJson, Failure> {
    RawJson::of(body).map_err(|error| Failure::new(error.to_string()))
}

async fn read_request(path: &std::path::Path) -> Result<RawJson, Failure> {
    object(&read_file(path).await?).map_err(|why| {
        Failure::new(format!("{} is not a JSON object: {why}", path.display()))
            .hint("It has to hold the body of a request, such as {\"model\": \"…\", \"messages\": […]}.")
    })
}

/// Waits for a job's end and prints its answer.
async fn wait(
    id: JobId,
    patience: u64,
    as_json: bool,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let progress = Progress::new("waiting");
    let mut watched = connection.client.watch_job(id);
    let ended = async {
        while let Some(job) = watched.try_next().await? {
            if job.status.is_final() {
                return Ok(Some(job));
            }
            progress.say(match job.queue_place {
                Some(place) if place > 0 => format!("queued behind {}", counted(place, "job")),
                _ => job.status.to_string(),
            });
        }
        Ok(None)
    };
    let ended = tokio::time::timeout(Duration::from_secs(patience), ended).await;
    drop(progress);
    let job = match ended {
        Ok(Ok(Some(job))) => job,
        Ok(Err(error)) => return Err(connection.explain_listed(error, LIST)),
        Ok(Ok(None)) | Err(_) => {
            return Err(
                Failure::new(format!("the job has not ended after {patience} s; it goes on"))
                    .hint(format!("`resultity jobs wait {id} --for SECONDS` waits on.")),
            );
        }
    };
    if as_json {
        output.write_line(&table::json(&job.body)?)?;
    } else if let Some(result) = &job.result {
        output.write_line(&shown(result)?)?;
    }
    output.note_job(&job.body);
    if job.status == JobState::Succeeded {
        return Ok(());
    }
    let why = job.error.as_ref().map(|error| format!(": {}", error.message));
    Err(Failure::new(format!("the job is {}{}", job.status, if_any(why)))
        .hint(format!("`resultity jobs show {id}` tells more.")))
}

/// An answer for people; of a container what it gave, with every digit.
fn shown(result: &RawJson) -> Result<String, Failure> {
    #[derive(serde::Deserialize)]
    struct Kind {
        object: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Computed<'a> {
        #[serde(borrow)]
        output: &'a RawValue,
    }
    let unreadable = |error| Failure::new(format!("the answer is not JSON: {error}"));
    // What a container gave is not looked into: not every JSON is a value here.
    let kind: Kind = result.read().map_err(unreadable)?;
    if kind.object.as_deref() == Some("compute") {
        let computed: Computed<'_> = result.read().map_err(unreadable)?;
        return Ok(computed.output.get().to_owned());
    }
    let value: Value = result.read().map_err(unreadable)?;
    text_of(&value).map_or_else(|| table::json(&value), Ok)
}

/// The text of an answer's first choice, if it is of a kind that has one.
fn text_of(result: &Value) -> Option<String> {
    let choice = result.get("choices")?.get(0)?;
    let text = choice.get("text").or_else(|| choice.get("message")?.get("content"))?;
    text.as_str().map(str::to_owned)
}

async fn feedback(arguments: FeedbackArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let feedback = Feedback {
        rating: match arguments.rating {
            Thumb::Up => Rating::Up,
            Thumb::Down => Rating::Down,
        },
        category: arguments.category,
        comment: arguments.comment,
        review: arguments.review,
    };
    let kept = connection.client.feedback(arguments.job, feedback).await;
    kept.map_err(|error| connection.explain_listed(error, LIST))?;
    output.note("Thank you: it is noted.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_answer_is_found() {
        let chat = json!({"choices": [{"message": {"role": "assistant", "content": "a"}}]});
        let completion = json!({"choices": [{"text": "b"}]});
        let tools = json!({"choices": [{"message": {"content": null}}]});
        assert_eq!(text_of(&chat).as_deref(), Some("a"));
        assert_eq!(text_of(&completion).as_deref(), Some("b"));
        assert_eq!(text_of(&tools), None);
        assert_eq!(text_of(&json!({"data": []})), None);
    }

    #[test]
    fn of_a_container_every_digit_is_shown() {
        // Also of what not every reader of JSON takes.
        for output in [
            r#"{"n":123456789012345678901234567890}"#,
            "1E999",
            r#""\ud800""#,
            "null",
        ] {
            let result = format!(r#"{{"id":"compute-1","object":"compute","output":{output}}}"#);
            let shown = shown(&result.parse().unwrap());
            assert_eq!(shown.unwrap_or_default(), output);
        }
    }
}
