//! `resultity node stream`: what the last container sends, as it comes.

use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use resultity_client::core::api::node::NodeApi;
use serde_json::json;

use super::ask::{RequestArguments, ended};
use super::connection::Node;
use crate::output::{Failure, Output};
use crate::progress::Progress;
use crate::table::json_line;

/// How long the node may take to write down how a stream ended.
const AFTER_THE_END: Duration = Duration::from_secs(10);

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node stream -c story --data '{\"prompt\": \"Once upon a time\"}'
  resultity node stream -c speech --data text.json > speech.wav

What comes is printed as it is. Ctrl-C cancels the job.")]
pub(crate) struct StreamArguments {
    #[command(flatten)]
    request: RequestArguments,
    /// Print one line of JSON a piece, after one with the id of the job
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: StreamArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let request = arguments.request.read().await?;
    let stream = node.client.stream_job(request).await;
    let mut stream = stream.map_err(|error| node.explain(&error))?;
    if arguments.json {
        output.write_line(&json_line(&json!({ "id": stream.id }))?)?;
    } else if output.is_terminal() || output.verbose {
        output.note(&format!("job {}", stream.id));
    }
    let mut waiting = Some(Progress::new("waiting"));
    let mut texts = Texts::default();
    while let Some(piece) = stream.bytes.try_next().await.map_err(|error| node.explain(&error))? {
        waiting.take();
        if arguments.json {
            let text = texts.add(&piece);
            if !text.is_empty() {
                output.write_line(&json_line(&json!({ "text": text }))?)?;
            }
        } else if output.is_terminal() {
            output.write(&texts.add(&piece))?;
        } else {
            output.write_bytes(&piece)?;
        }
    }
    drop(waiting);
    let rest = texts.end();
    if arguments.json && !rest.is_empty() {
        output.write_line(&json_line(&json!({ "text": rest }))?)?;
    }
    if output.is_terminal() {
        output.write(&rest)?;
        output.end_line()?;
    }
    // A container that fails ends the stream as one that is done: only the job tells them apart.
    let result = node.client.wait_for(&stream.id, AFTER_THE_END, AFTER_THE_END).await;
    ended(&result.map_err(|error| node.explain(&error))?)
}

/// Pieces of bytes as texts: a character that is cut waits for its rest; what is none becomes U+FFFD.
#[derive(Default)]
struct Texts {
    cut: Vec<u8>,
}

impl Texts {
    fn add(&mut self, piece: &[u8]) -> String {
        self.cut.extend_from_slice(piece);
        let mut whole = self.cut.len();
        if let Some(last) = self.cut.utf8_chunks().last()
            && let invalid = last.invalid()
            && !invalid.is_empty()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
        {
            whole -= invalid.len();
        }
        let text = String::from_utf8_lossy(&self.cut[..whole]).into_owned();
        self.cut.drain(..whole);
        text
    }

    fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_torn() {
        let text = "a€b\u{1f600}c";
        for size in 1..text.len() {
            let mut texts = Texts::default();
            let mut all: String = text.as_bytes().chunks(size).map(|piece| texts.add(piece)).collect();
            all += &texts.end();
            assert_eq!(all, text, "in pieces of {size}");
        }
        let mut texts = Texts::default();
        assert_eq!(texts.add(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(texts.end(), "\u{fffd}");
    }
}
