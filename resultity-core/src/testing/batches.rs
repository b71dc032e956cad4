//! The contract of [`BatchesApi`]: against a model that answers in text, of any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;

use crate::api::batches::BatchesApi;
use crate::api::files::{FileUpload, FilesApi};
use crate::api::page::PageQuery;
use crate::error::ErrorCode;
use crate::id::{BatchId, FileId};
use crate::job::Endpoint;
use crate::openai::batch::{Batch, BatchLine, BatchOutput, BatchRequest, BatchStatus, RequestCounts};
use crate::openai::chat::{ChatCompletion, ChatRequest, Message};
use crate::openai::file::FilePurpose;
use crate::testing::Setting;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: batches: {}", stringify!($scenario));
            $scenario(api, setting).await;
        )*};
    }
    run! {
        every_line_is_answered_once
        a_bad_file_is_told_line_by_line
        a_batch_can_be_cancelled
        batches_are_listed_a_page_at_a_time
        bad_requests_name_the_field
    }
}

fn line(id: &str, model: &str, max_tokens: u64) -> String {
    let question = Message::user(format!("Say something about {id}."));
    let request = ChatRequest::new(model, [question]).max_tokens(max_tokens);
    let line = BatchLine::new(id, Endpoint::ChatCompletions, &request).expect("a request is JSON");
    serde_json::to_string(&line).expect("a line is JSON") + "\n"
}

async fn upload<A: FilesApi + ?Sized>(api: &A, text: String) -> FileId {
    let upload = FileUpload::new("batch.jsonl", FilePurpose::Batch, text);
    api.upload_file(upload).await.expect("a file is stored").id
}

async fn create<A: BatchesApi + FilesApi + ?Sized>(api: &A, text: String) -> Batch {
    let file = upload(api, text).await;
    let request = BatchRequest::new(file, Endpoint::ChatCompletions).note("about", "the contract");
    let batch = api.create_batch(request).await.expect("a batch is begun").body;
    assert_eq!(
        (batch.object.as_str(), batch.completion_window.as_str()),
        ("batch", "24h")
    );
    assert_eq!(batch.input_file_id, file);
    assert_eq!(batch.endpoint, Endpoint::ChatCompletions);
    let notes = batch.metadata.as_ref().and_then(|notes| notes.get("about"));
    assert_eq!(notes.map(String::as_str), Some("the contract"));
    batch
}

/// The batch when it has ended.
async fn ended<A: BatchesApi + ?Sized>(api: &A, setting: &Setting<'_>, id: BatchId) -> Batch {
    loop {
        let batch = api.batch(id).await.expect("a batch can be asked for").body;
        if batch.status.is_final() {
            return batch;
        }
        (setting.pause)().await;
    }
}

/// The lines of a file, by their names for themselves.
async fn output<A: FilesApi + ?Sized>(api: &A, file: Option<FileId>) -> BTreeMap<String, BatchOutput> {
    let Some(file) = file else { return BTreeMap::new() };
    let content = api.file_content(file).await.expect("the file is there");
    let pieces: Vec<Bytes> = content.try_collect().await.expect("it ends well");
    let text = String::from_utf8(pieces.concat()).expect("it is a text");
    let lines = text.lines().map(|line| {
        let line: BatchOutput = serde_json::from_str(line).expect("every line is an outcome");
        (line.custom_id.clone(), line)
    });
    lines.collect()
}

/// Every request of the file is answered, once, by its name. Panics if not.
pub async fn every_line_is_answered_once<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let names = ["rivers", "mountains", "clouds"];
    let text = names.iter().map(|name| line(name, setting.model, 4)).collect();
    let batch = create(api, text).await;
    let batch = ended(api, setting, batch.id).await;
    assert_eq!(batch.status, BatchStatus::Completed, "{batch:?}");
    let counts = RequestCounts {
        total: 3,
        completed: 3,
        failed: 0,
    };
    assert_eq!(batch.request_counts, counts);
    assert!(
        batch.completed_at.is_some() && batch.error_file_id.is_none(),
        "{batch:?}"
    );
    let lines = output(api, batch.output_file_id).await;
    assert!(lines.keys().all(|name| names.contains(&name.as_str())) && lines.len() == 3);
    let mut tokens = 0;
    for line in lines.into_values() {
        let response = line.response.expect("it was answered");
        assert!(response.status_code == 200 && line.error.is_none());
        let answer: ChatCompletion = serde_json::from_str(response.body.get()).expect("as its endpoint gives it");
        assert!(!answer.text().is_empty(), "there is no text in {answer:?}");
        tokens += answer.usage.expect("an answer has its token counts").total_tokens;
    }
    assert_eq!(batch.usage.map(|usage| usage.total_tokens), Some(tokens));
}

/// A file with something wrong in it is not run; each bad line is named. Panics if not.
pub async fn a_bad_file_is_told_line_by_line<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let good = line("good", setting.model, 4);
    let text = [good.as_str(), "{\n", &good, &line("other", "no-such-model", 4)].concat();
    let batch = create(api, text).await;
    let batch = ended(api, setting, batch.id).await;
    assert_eq!(batch.status, BatchStatus::Failed, "{batch:?}");
    assert_eq!(batch.request_counts, RequestCounts::default());
    let errors = batch.errors.expect("it says what is wrong").data;
    let lines: Vec<Option<u64>> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(4)], "{errors:?}");
    assert!(errors.iter().all(|error| !error.message.is_empty()));
}

/// A batch that is cancelled comes to its end, and what it did is in its files. Panics if not.
pub async fn a_batch_can_be_cancelled<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let text = (0..20)
        .map(|number| line(&number.to_string(), setting.model, 16))
        .collect();
    let batch = create(api, text).await;
    let cancelled = api.cancel_batch(batch.id).await.expect("a batch can be cancelled");
    assert!(
        matches!(cancelled.status, BatchStatus::Cancelling | BatchStatus::Cancelled),
        "{cancelled:?}"
    );
    let batch = ended(api, setting, batch.id).await;
    assert_eq!(batch.status, BatchStatus::Cancelled, "{batch:?}");
    let counts = batch.request_counts;
    assert_eq!(
        output(api, batch.output_file_id).await.len() as u64,
        counts.completed,
        "{batch:?}"
    );
    let again = api.cancel_batch(batch.id).await.expect("once more does no harm");
    assert_eq!(again.body, batch);
}

/// Lists are in order, each batch once, however large the pages are. Panics if not.
pub async fn batches_are_listed_a_page_at_a_time<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let mut made = Vec::new();
    for _ in 0..3 {
        let batch = create(api, line("x", "no-such-model", 4)).await;
        made.push(ended(api, setting, batch.id).await);
    }
    let first = api.batches(PageQuery::first(2)).await;
    let first = first.expect("batches can be listed").body;
    assert_eq!(first.data, [made[2].clone(), made[1].clone()], "the newest come first");
    assert!(first.has_more);
    let after = first.last_id.expect("a page says where it ends");
    let next = api.batches(PageQuery::first(1).after(after)).await;
    assert_eq!(next.expect("batches can be listed").body.data, [made[0].clone()]);
}

/// What can't be a batch is refused with its place. Panics if not.
pub async fn bad_requests_name_the_field<A: BatchesApi + FilesApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let good = upload(api, line("x", setting.model, 4)).await;
    let notes = FileUpload::new("notes", FilePurpose::UserData, "x");
    let notes = api.upload_file(notes).await.expect("a file is stored").id;
    let of = |file| BatchRequest::new(file, Endpoint::ChatCompletions);
    let mut slow = of(good);
    slow.completion_window = "48h".into();
    let cases = [
        (
            of(FileId::from_uuid(uuid::Uuid::nil())),
            ErrorCode::NotFound,
            "input_file_id",
        ),
        (of(notes), ErrorCode::InvalidValue, "input_file_id"),
        (slow, ErrorCode::InvalidValue, "completion_window"),
        (
            of(good).output_expires_after(1),
            ErrorCode::InvalidValue,
            "output_expires_after.seconds",
        ),
        (of(good).note("x", "y".repeat(513)), ErrorCode::InvalidValue, "metadata"),
    ];
    for (request, code, param) in cases {
        let error = api.create_batch(request).await.expect_err(param);
        assert_eq!((error.code, error.param.as_deref()), (code, Some(param)), "{error}");
    }
    for file in [good, notes] {
        api.delete_file(file).await.expect("it can be deleted");
    }
    let nobody = BatchId::from_uuid(uuid::Uuid::nil());
    for outcome in [api.batch(nobody).await, api.cancel_batch(nobody).await] {
        let error = outcome.expect_err("there is no such batch");
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
}
