//! `resultity node batch`: many jobs at once.

use clap::Args;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::infernet::{BatchAnswer, BatchRequest, NodeError, NodeErrorKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::ask::read_text;
use super::connection::Node;
use crate::output::{Failure, Output};
use crate::table::{counted, json, list};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node batch requests.jsonl
  resultity node batch requests.json --json | jq -r '.[].id'

The file is a JSON array, or one line of JSON a request:
  {\"containers\": [\"summarise\"], \"data\": {\"text\": \"…\"}}
A request may also be a signed subscription, as `resultity node delegate
--sign-only` prints it. Each is taken or refused by itself.")]
pub(crate) struct BatchArguments {
    /// The requests; `-` for standard input
    file: String,
    /// Print the answers as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: BatchArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let (text, place) = read_text(&arguments.file).await?;
    let requests = parse(&text).map_err(|why| {
        Failure::new(format!("{place}: {why}")).hint("`resultity node batch --help` shows what a request looks like.")
    })?;
    let answers = node.client.create_batch(requests).await;
    let answers = answers.map_err(|error| node.explain(&error))?;
    if arguments.json {
        output.write_line(&json(&answers)?)?;
    } else if answers.is_empty() {
        output.note("There is no request in it.");
    } else {
        let rows = answers.iter().enumerate().map(|(index, answer)| {
            let (job, refused) = match answer {
                BatchAnswer::Job(response) => (response.id.to_string(), String::new()),
                BatchAnswer::Delegated => ("(on the chain)".to_owned(), String::new()),
                BatchAnswer::Error(error) => {
                    let error = NodeError::from_response(NodeErrorKind::Refused, error.clone());
                    (String::new(), error.to_string())
                }
            };
            vec![(index + 1).to_string(), job, refused]
        });
        output.write_line(&list(&["REQUEST", "JOB", "REFUSED"], rows))?;
    }
    let refused = answers.iter().filter(|answer| matches!(answer, BatchAnswer::Error(_)));
    match refused.count() {
        0 => Ok(()),
        refused => {
            let all = counted(answers.len() as u64, "request");
            Err(Failure::new(format!("{refused} of {all} refused")))
        }
    }
}

fn parse(text: &str) -> Result<Vec<BatchRequest>, String> {
    if text.trim_start().starts_with('[') {
        let all: Vec<Box<RawValue>> =
            serde_json::from_str(text).map_err(|error| format!("it is not a JSON array: {error}"))?;
        let read =
            |(index, json)| request(json).map_err(|error| format!("request {} cannot be read: {error}", index + 1));
        return all.iter().map(|json| json.get()).enumerate().map(read).collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line)| request(line).map_err(|error| format!("line {} cannot be read: {error}", index + 1));
    lines.map(read).collect()
}

fn request(json: &str) -> Result<BatchRequest, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        subscription: Option<IgnoredAny>,
    }
    let kind: Kind = serde_json::from_str(json)?;
    Ok(if kind.subscription.is_some() {
        BatchRequest::Delegated(Box::new(serde_json::from_str(json)?))
    } else {
        BatchRequest::Job(serde_json::from_str(json)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_lines_are_read() {
        let one = r#"{"containers":["a"],"data":{"n":1.0}}"#;
        for text in [format!(" [{one}, {one}]"), format!("{one}\n\n{one}\r\n")] {
            let requests = parse(&text).unwrap();
            let json = serde_json::to_string(&requests).unwrap();
            assert_eq!(json, format!("[{one},{one}]"));
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert!(wrong("[{}]").starts_with("request 1 cannot be read: missing field `containers`"));
        assert!(wrong("\n{}").starts_with("line 2 cannot be read: missing field"));
        assert!(wrong("[").starts_with("it is not a JSON array"));
    }
}
