//! Batches.

use std::time::Duration;

use resultity_core::clock::Clock;
use resultity_core::id::{BatchId, FileId};
use resultity_core::job::Endpoint;
use resultity_core::openai::batch::{BatchError, BatchStatus, RequestCounts};
use resultity_core::openai::file::FilePurpose;
use resultity_core::webhook::EventType;

use super::Scenario;
use super::files::{append, begun, file, finished, purge, read};
use super::webhooks::{log, made, new_webhook};
use super::world::World;
use crate::store::batches::{BatchCreation, BatchRecord, BatchStep, LineOutcome, NewBatch};
use crate::store::files::FileDeletion;

/// The scenarios of this file.
pub(super) const SCENARIOS: [(&str, Scenario); 5] = [
    ("the end of a batch is an event", |world| {
        Box::pin(the_end_of_a_batch_is_an_event(world))
    }),
    ("a batch needs a file of its own namespace", |world| {
        Box::pin(a_batch_needs_a_file_of_its_own_namespace(world))
    }),
    ("a batch takes its steps in order", |world| {
        Box::pin(a_batch_takes_its_steps_in_order(world))
    }),
    ("the first outcome of a line counts", |world| {
        Box::pin(the_first_outcome_of_a_line_counts(world))
    }),
    ("a file that a batch reads stays", |world| {
        Box::pin(a_file_that_a_batch_reads_stays(world))
    }),
];

fn new_batch(world: &World, file: FileId) -> NewBatch {
    let now = world.now();
    NewBatch {
        id: BatchId::new(&world.clock, &world.entropy),
        environment: world.key.environment,
        namespace: world.key.namespace,
        key: world.key.id,
        endpoint: Endpoint::Embeddings,
        input_file: file,
        metadata: Some(r#"{"a":"b"}"#.to_owned()),
        output_ttl: Some(7_200),
        now,
        expires_at: now.after(Duration::from_hours(24)),
        most_open: 10,
        most_files: 1_000,
        most_bytes: 1_000,
        most_kept: 1_000,
        idempotency: None,
    }
}

/// A batch whose file was not looked at yet.
async fn batch(world: &World) -> BatchRecord {
    let input = file(world, FilePurpose::Batch, b"x").await;
    match world
        .store
        .create_batch(new_batch(world, input.id))
        .await
        .expect("an answer")
    {
        BatchCreation::Created(record) => *record,
        other => unreachable!("its file is there, but: {other:?}"),
    }
}

async fn step(world: &World, batch: BatchId, step: BatchStep) -> Option<BatchRecord> {
    let stepped = world.store.step_batch(batch, step, world.now()).await;
    stepped.expect("an answer")
}

fn begin(total: u64) -> BatchStep {
    BatchStep::Begin {
        total,
        model: "m".to_owned(),
    }
}

const NO_FILES: BatchStep = BatchStep::Finish {
    output: None,
    errors: None,
};

fn outcome(batch: BatchId, line: u32, failed: bool) -> LineOutcome {
    LineOutcome {
        batch,
        line,
        failed,
        text: format!("line {line}"),
        prompt_tokens: 3,
        completion_tokens: 2,
    }
}

async fn a_batch_needs_a_file_of_its_own_namespace(world: &World) {
    let store = &world.store;
    let input = file(world, FilePurpose::Batch, b"x").await;
    let unknown = new_batch(world, FileId::new(&world.clock, &world.entropy));
    assert_eq!(
        store.create_batch(unknown).await.expect("an answer"),
        BatchCreation::UnknownFile
    );
    for (most_files, most_bytes) in [(1, 1_000), (1_000, 1)] {
        let full = NewBatch {
            most_files,
            most_bytes,
            ..new_batch(world, input.id)
        };
        assert_eq!(
            store.create_batch(full).await.expect("an answer"),
            BatchCreation::NoRoom
        );
    }
    let other = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let others = NewBatch {
        namespace: other.namespace,
        key: other.id,
        ..new_batch(world, input.id)
    };
    assert_eq!(
        store.create_batch(others).await.expect("an answer"),
        BatchCreation::UnknownFile
    );
    let data = file(world, FilePurpose::UserData, b"x").await;
    let wrong = store.create_batch(new_batch(world, data.id)).await.expect("an answer");
    assert_eq!(wrong, BatchCreation::WrongPurpose(FilePurpose::UserData));

    let mut changes = store.batch_changes();
    changes.mark_unchanged();
    let new = NewBatch {
        most_open: 1,
        ..new_batch(world, input.id)
    };
    let created = store.create_batch(new.clone()).await.expect("an answer");
    let BatchCreation::Created(record) = created else {
        unreachable!("its file is there, but: {created:?}")
    };
    assert!(changes.has_changed().expect("the store is there"));
    assert_eq!((record.id, record.status), (new.id, BatchStatus::Validating));
    assert_eq!(
        (record.endpoint, record.output_ttl, &record.metadata),
        (new.endpoint, new.output_ttl, &new.metadata)
    );
    assert_eq!((record.created_at, record.expires_at), (new.now, new.expires_at));
    assert_eq!(record.counts, RequestCounts::default());
    let second = NewBatch {
        most_open: 1,
        ..new_batch(world, input.id)
    };
    assert_eq!(
        store.create_batch(second).await.expect("an answer"),
        BatchCreation::TooMany
    );

    // Seen by its owner, and by whoever runs it.
    let seen = store.batch(world.key.namespace, new.id).await.expect("an answer");
    assert_eq!(seen.as_ref(), Some(&*record));
    assert_eq!(store.batch(other.namespace, new.id).await.expect("an answer"), None);
    let listed = store
        .batches(world.key.namespace, None, false, 10)
        .await
        .expect("an answer");
    assert_eq!(listed, [(*record).clone()]);
    let after = store.batches(world.key.namespace, Some(new.id), false, 10).await;
    assert_eq!(after.expect("an answer"), []);
    let open = store.open_batches(world.key.environment).await.expect("an answer");
    assert_eq!(open, [(*record, world.key.clone())]);
}

async fn a_batch_takes_its_steps_in_order(world: &World) {
    let store = &world.store;
    let failed = batch(world).await.id;
    for early in [BatchStep::Finalize, NO_FILES] {
        assert_eq!(step(world, failed, early).await, None);
    }
    let error = BatchError {
        code: "empty_file".to_owned(),
        message: "no requests".to_owned(),
        param: None,
        line: None,
    };
    let record = step(world, failed, BatchStep::Fail(vec![error.clone()]))
        .await
        .expect("a step");
    assert_eq!(record.status, BatchStatus::Failed);
    assert!(record.ended_at.is_some());
    let errors: Vec<BatchError> = serde_json::from_str(&record.errors.expect("errors")).expect("a list");
    assert_eq!(errors, [error]);

    // What has ended can't be given up.
    assert_eq!(step(world, failed, BatchStep::GiveUp(Vec::new())).await, None);
    let cancelled = batch(world).await.id;
    assert!(step(world, cancelled, begin(3)).await.is_some());
    let mut changes = store.batch_changes();
    changes.mark_unchanged();
    let record = step(world, cancelled, BatchStep::Cancel).await.expect("a step");
    assert!(changes.has_changed().expect("the store is there"));
    assert_eq!(
        (record.status, record.cancelling_at.is_some()),
        (BatchStatus::Cancelling, true)
    );
    assert!(step(world, cancelled, BatchStep::Finalize).await.is_none());
    assert!(
        store
            .record_line(outcome(cancelled, 1, false))
            .await
            .expect("an answer")
    );
    let record = step(world, cancelled, NO_FILES).await.expect("a step");
    assert_eq!(record.status, BatchStatus::Cancelled);
    assert_eq!((record.counts.completed, record.counts.failed), (1, 2));

    // Whether all have run decides between the two other ends.
    for (runs, end) in [(1, BatchStatus::Expired), (2, BatchStatus::Completed)] {
        let id = batch(world).await.id;
        let record = step(world, id, begin(2)).await.expect("a step");
        assert_eq!((record.status, record.counts.total), (BatchStatus::InProgress, 2));
        assert_eq!(record.model.as_deref(), Some("m"));
        assert!(step(world, id, begin(2)).await.is_none());
        for line in 1..=runs {
            assert!(
                store
                    .record_line(outcome(id, line, line == 2))
                    .await
                    .expect("an answer")
            );
        }
        let record = step(world, id, BatchStep::Finalize).await.expect("a step");
        assert_eq!(record.status, BatchStatus::Finalizing);
        assert!(step(world, id, BatchStep::Cancel).await.is_none());
        let output = begun(world).await;
        append(world, output, 0, b"{}").await;
        let finish = BatchStep::Finish {
            output: Some(finished(world, output, FilePurpose::BatchOutput)),
            errors: None,
        };
        assert_eq!(read(world, output).await, None);
        let record = step(world, id, finish.clone()).await.expect("a step");
        assert_eq!((record.status, record.output_file), (end, Some(output)));
        assert_eq!((record.counts.completed, record.counts.failed), (1, 1));
        assert!(read(world, output).await.is_some());
        assert!(step(world, id, finish).await.is_none());
    }
    assert_eq!(store.open_batches(world.key.environment).await.expect("an answer"), []);
    // A file that is not being written any more: nothing is changed.
    let id = batch(world).await.id;
    step(world, id, begin(0)).await.expect("a step");
    step(world, id, BatchStep::Finalize).await.expect("a step");
    let finish = BatchStep::Finish {
        output: Some(finished(
            world,
            FileId::new(&world.clock, &world.entropy),
            FilePurpose::BatchOutput,
        )),
        errors: None,
    };
    assert!(store.step_batch(id, finish, world.now()).await.is_err());
    let record = store
        .batch(world.key.namespace, id)
        .await
        .expect("an answer")
        .expect("the batch");
    assert_eq!(record.status, BatchStatus::Finalizing);
}

async fn the_first_outcome_of_a_line_counts(world: &World) {
    let store = &world.store;
    let id = batch(world).await.id;
    let record = async |line, failed| {
        let recorded = store.record_line(outcome(id, line, failed)).await;
        recorded.expect("an answer")
    };
    assert!(!record(1, false).await, "it does not run yet");
    step(world, id, begin(3)).await.expect("a step");
    assert!(record(2, false).await);
    assert!(!record(2, true).await);
    assert!(record(3, true).await);
    assert!(record(1, false).await);
    assert!(!record(4, false).await, "there are three");
    let now = store
        .batch(world.key.namespace, id)
        .await
        .expect("an answer")
        .expect("the batch");
    let counts = RequestCounts {
        total: 3,
        completed: 2,
        failed: 1,
    };
    assert_eq!(now.counts, counts);
    assert_eq!(
        (now.usage.input_tokens, now.usage.output_tokens, now.usage.total_tokens),
        (9, 6, 15)
    );
    assert_eq!(store.finished_lines(id).await.expect("an answer"), [1, 2, 3]);
    let answers = store.line_outcomes(id, false, 0).await.expect("an answer");
    assert_eq!(answers, [(1, "line 1".to_owned()), (2, "line 2".to_owned())]);
    let rest = store.line_outcomes(id, false, 1).await.expect("an answer");
    assert_eq!(rest, [(2, "line 2".to_owned())]);
    let errors = store.line_outcomes(id, true, 0).await.expect("an answer");
    assert_eq!(errors, [(3, "line 3".to_owned())]);
    // Kept until it has ended.
    assert_eq!(store.purge_line_outcomes().await.expect("an answer"), 0);
    step(world, id, BatchStep::Finalize).await.expect("a step");
    assert!(!record(1, false).await);
    step(world, id, NO_FILES).await.expect("a step");
    assert!(store.purge_line_outcomes().await.expect("an answer") > 0);
    assert_eq!(store.purge_line_outcomes().await.expect("an answer"), 0);
    assert_eq!(store.finished_lines(id).await.expect("an answer"), [0; 0]);
}

async fn a_file_that_a_batch_reads_stays(world: &World) {
    let store = &world.store;
    let batch = batch(world).await;
    let delete = async || {
        let deleted = store
            .delete_file(world.key.namespace, batch.input_file, world.clock.now())
            .await;
        deleted.expect("an answer")
    };
    assert_eq!(delete().await, FileDeletion::InUse);
    // Expired for its owner, but the batch reads on.
    world.clock.advance(Duration::from_hours(2));
    assert_eq!(purge(world).await, 0);
    assert!(
        store
            .file_chunk(batch.input_file, 0)
            .await
            .expect("an answer")
            .is_some()
    );
    step(world, batch.id, BatchStep::Fail(Vec::new()))
        .await
        .expect("a step");
    assert_eq!(purge(world).await, 2);
    assert_eq!(store.file_chunk(batch.input_file, 0).await.expect("an answer"), None);
}

async fn the_end_of_a_batch_is_an_event(world: &World) {
    let webhook = made(world, new_webhook(world, &[])).await.id;
    let mut expected = Vec::new();
    for (steps, kind) in [
        (vec![BatchStep::Fail(Vec::new())], EventType::BatchFailed),
        (vec![begin(0), BatchStep::Finalize, NO_FILES], EventType::BatchCompleted),
        (vec![begin(1), BatchStep::Finalize, NO_FILES], EventType::BatchExpired),
        (vec![BatchStep::Cancel, NO_FILES], EventType::BatchCancelled),
        (vec![begin(1), BatchStep::GiveUp(Vec::new())], EventType::BatchFailed),
    ] {
        let id = batch(world).await.id;
        for next in steps {
            let told = log(world, webhook).await.len();
            assert_eq!(told, expected.len(), "only the end is told");
            step(world, id, next).await.expect("a step");
        }
        expected.push((kind, id.to_string()));
    }
    let told: Vec<_> = log(world, webhook)
        .await
        .into_iter()
        .map(|delivery| (delivery.kind, delivery.data_id))
        .collect();
    assert_eq!(told, expected);
}
