//! The files that a batch writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::batch::{BatchOutput, BatchOutputError, BatchStatus};
use resultity_core::openai::file::FilePurpose;

use crate::flow::{Flow, internal};
use crate::session::batch::check;
use crate::session::batch::line::output_id;
use crate::session::batch::source::{Line, Source};
use crate::session::file_writer::FileWriter;
use crate::session::files::BATCH_FILES_LAST;
use crate::store::batches::BatchRecord;

/// Writes the answers; none if there are none.
pub(super) async fn write_output(flow: &Arc<Flow>, batch: &BatchRecord) -> Result<Option<FileWriter>, ApiError> {
    if batch.counts.completed == 0 {
        return Ok(None);
    }
    let mut file = FileWriter::begin(flow, batch.namespace, None).await?;
    let mut after = 0;
    loop {
        let answers = flow
            .store
            .line_outcomes(batch.id, false, after)
            .await
            .map_err(internal)?;
        let Some((last, _)) = answers.last() else {
            return Ok(Some(file));
        };
        after = *last;
        for (_, text) in &answers {
            write_line(&mut file, text).await?;
        }
    }
}

/// Writes the errors, and what did not run, in the order of the lines; none if there are none.
pub(super) async fn write_errors(
    flow: &Arc<Flow>,
    batch: &BatchRecord,
    source: &mut Source,
    lines: &[Line],
) -> Result<Option<FileWriter>, ApiError> {
    if batch.counts.completed == batch.counts.total {
        return Ok(None);
    }
    let finished = flow.store.finished_lines(batch.id).await.map_err(internal)?;
    let finished: HashSet<u32> = finished.into_iter().collect();
    let mut missing = lines
        .iter()
        .copied()
        .filter(|line| !finished.contains(&line.number))
        .peekable();
    let mut file = FileWriter::begin(flow, batch.namespace, None).await?;
    let mut after = 0;
    loop {
        let errors = flow
            .store
            .line_outcomes(batch.id, true, after)
            .await
            .map_err(internal)?;
        let Some((last, _)) = errors.last() else { break };
        after = *last;
        for (number, text) in &errors {
            while let Some(line) = missing.next_if(|line| line.number < *number) {
                write_line(&mut file, &not_run(batch, source, line).await?).await?;
            }
            write_line(&mut file, text).await?;
        }
    }
    for line in missing {
        write_line(&mut file, &not_run(batch, source, line).await?).await?;
    }
    Ok(Some(file))
}

async fn write_line(file: &mut FileWriter, text: &str) -> Result<(), ApiError> {
    file.write(text.as_bytes()).await?;
    file.write(b"\n").await
}

async fn not_run(batch: &BatchRecord, source: &mut Source, line: Line) -> Result<String, ApiError> {
    let text = source.read(line).await?;
    let (code, message) = if batch.status == BatchStatus::Cancelling {
        (
            "batch_cancelled",
            "This request was not executed because the batch was cancelled.",
        )
    } else {
        (
            "batch_expired",
            "This request could not be executed before the completion window expired.",
        )
    };
    let output = BatchOutput {
        id: output_id(batch.id, line),
        custom_id: check::reread(&text)?.custom_id,
        response: None,
        error: Some(BatchOutputError {
            code: code.to_owned(),
            message: message.to_owned(),
        }),
    };
    serde_json::to_string(&output)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "an outcome could not be written").with_source(error))
}

/// What the store needs to make a file of a batch visible.
pub(super) async fn finished(
    file: Option<&mut FileWriter>,
    batch: &BatchRecord,
    what: &str,
) -> Result<Option<crate::store::files::FinishedFile>, ApiError> {
    let Some(file) = file else { return Ok(None) };
    let lasts = batch.output_ttl.map_or(BATCH_FILES_LAST, Duration::from_secs);
    let name = format!("{}_{what}.jsonl", batch.id);
    file.finish(&name, FilePurpose::BatchOutput, Some(lasts))
        .await
        .map(Some)
}
