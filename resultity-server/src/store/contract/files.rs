//! Files.

use std::time::Duration;

use bytes::Bytes;
use resultity_core::clock::Clock;
use resultity_core::id::FileId;
use resultity_core::openai::file::FilePurpose;

use super::Scenario;
use super::world::World;
use crate::store::files::{
    FILE_CHUNK, FileDeletion, FileFilter, FileRecord, FileWrite, FinishedFile, NewChunk, NewFile,
};

/// The scenarios of this file.
pub(super) const SCENARIOS: [(&str, Scenario); 5] = [
    ("a file is seen once it is complete", |world| {
        Box::pin(a_file_is_seen_once_it_is_complete(world))
    }),
    ("chunks come one after the other", |world| {
        Box::pin(chunks_come_one_after_the_other(world))
    }),
    ("a namespace has as many files and bytes as it may", |world| {
        Box::pin(a_namespace_has_as_much_as_it_may(world))
    }),
    ("files are listed by purpose and page", |world| {
        Box::pin(files_are_listed_by_purpose_and_page(world))
    }),
    ("what nobody needs is purged", |world| {
        Box::pin(what_nobody_needs_is_purged(world))
    }),
];

pub(super) async fn begun(world: &World) -> FileId {
    let file = NewFile {
        id: FileId::new(&world.clock, &world.entropy),
        namespace: world.key.namespace,
        now: world.now(),
        most_files: None,
    };
    let id = file.id;
    assert_eq!(
        world.store.begin_file(file).await.expect("an answer"),
        FileWrite::Written
    );
    id
}

fn chunk(world: &World, file: FileId, place: u32, content: &[u8]) -> NewChunk {
    NewChunk {
        file,
        place,
        content: Bytes::copy_from_slice(content),
        now: world.now(),
        most_bytes: None,
    }
}

pub(super) async fn append(world: &World, file: FileId, place: u32, content: &[u8]) -> FileWrite {
    let chunk = chunk(world, file, place, content);
    world.store.append_to_file(chunk).await.expect("an answer")
}

pub(super) fn finished(world: &World, file: FileId, purpose: FilePurpose) -> FinishedFile {
    FinishedFile {
        id: file,
        filename: "a.jsonl".to_owned(),
        purpose,
        expires_at: Some(world.now().after(Duration::from_hours(1))),
        now: world.now(),
    }
}

/// A complete file with this content.
pub(super) async fn file(world: &World, purpose: FilePurpose, content: &[u8]) -> FileRecord {
    let id = begun(world).await;
    for (place, content) in content.chunks(FILE_CHUNK).enumerate() {
        let place = u32::try_from(place).expect("few chunks");
        assert_eq!(append(world, id, place, content).await, FileWrite::Written);
    }
    let record = world.store.finish_file(finished(world, id, purpose)).await;
    record.expect("an answer").expect("a complete file")
}

pub(super) async fn read(world: &World, id: FileId) -> Option<FileRecord> {
    let found = world.store.file(world.key.namespace, id, world.clock.now()).await;
    found.expect("an answer")
}

pub(super) async fn purge(world: &World) -> u64 {
    let now = world.now();
    let mut freed = 0;
    loop {
        match world.store.purge_files(now, now).await.expect("an answer") {
            0 => return freed,
            more => freed += more,
        }
    }
}

async fn a_file_is_seen_once_it_is_complete(world: &World) {
    let store = &world.store;
    let id = begun(world).await;
    append(world, id, 0, b"hello").await;
    assert_eq!(read(world, id).await, None);
    assert_eq!(store.file_chunk(id, 0).await.expect("an answer"), None);
    let finish = finished(world, id, FilePurpose::Batch);
    let record = store
        .finish_file(finish.clone())
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(
        (record.bytes, record.purpose, record.filename.as_str(), record.namespace),
        (5, FilePurpose::Batch, "a.jsonl", world.key.namespace)
    );
    assert_eq!((record.expires_at, record.created_at), (finish.expires_at, finish.now));
    assert_eq!(read(world, id).await, Some(record));
    assert_eq!(store.finish_file(finish).await.expect("an answer"), None);
    assert_eq!(append(world, id, 1, b"more").await, FileWrite::NotOpen);
    let content = store.file_chunk(id, 0).await.expect("an answer");
    assert_eq!(content.as_deref(), Some(&b"hello"[..]));
    assert_eq!(store.file_chunk(id, 1).await.expect("an answer"), None);
    // Not to others, and not once it has expired.
    let other = store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant")
        .namespace;
    assert_eq!(store.file(other, id, world.now()).await.expect("an answer"), None);
    let deleted = store.delete_file(other, id, world.now()).await.expect("an answer");
    assert_eq!(deleted, FileDeletion::Unknown);
    let later = world.now().after(Duration::from_hours(2));
    assert_eq!(
        store.file(world.key.namespace, id, later).await.expect("an answer"),
        None
    );
    // Deleted once.
    for expected in [FileDeletion::Deleted, FileDeletion::Unknown] {
        let deleted = store.delete_file(world.key.namespace, id, world.now()).await;
        assert_eq!(deleted.expect("an answer"), expected);
    }
    assert_eq!(read(world, id).await, None);
    assert_eq!(store.file_chunk(id, 0).await.expect("an answer"), None);
}

async fn chunks_come_one_after_the_other(world: &World) {
    let id = begun(world).await;
    assert_eq!(append(world, id, 1, b"b").await, FileWrite::NotOpen);
    assert_eq!(append(world, id, 0, b"a").await, FileWrite::Written);
    assert_eq!(append(world, id, 0, b"a").await, FileWrite::NotOpen);
    assert_eq!(append(world, id, 1, b"b").await, FileWrite::Written);
    world.store.abandon_file(id).await.expect("an answer");
    assert_eq!(append(world, id, 2, b"c").await, FileWrite::NotOpen);
    let finish = finished(world, id, FilePurpose::UserData);
    assert_eq!(world.store.finish_file(finish).await.expect("an answer"), None);
    // What is complete is not abandoned.
    let complete = file(world, FilePurpose::UserData, b"x").await;
    world.store.abandon_file(complete.id).await.expect("an answer");
    assert!(read(world, complete.id).await.is_some());
}

async fn a_namespace_has_as_much_as_it_may(world: &World) {
    let store = &world.store;
    let kept = file(world, FilePurpose::UserData, &[0; 60]).await;
    let new_file = |most_files| NewFile {
        id: FileId::new(&world.clock, &world.entropy),
        namespace: world.key.namespace,
        now: world.now(),
        most_files: Some(most_files),
    };
    assert_eq!(
        store.begin_file(new_file(1)).await.expect("an answer"),
        FileWrite::AboveLimit
    );
    let second = new_file(2);
    let id = second.id;
    assert_eq!(store.begin_file(second).await.expect("an answer"), FileWrite::Written);
    // A file that is being written counts.
    assert_eq!(
        store.begin_file(new_file(2)).await.expect("an answer"),
        FileWrite::AboveLimit
    );
    let limited = |place, bytes| NewChunk {
        most_bytes: Some(100),
        ..chunk(world, id, place, &vec![0; bytes])
    };
    for (place, bytes, expected) in [
        (0, 30, FileWrite::Written),
        (1, 11, FileWrite::AboveLimit),
        (1, 10, FileWrite::Written),
        (2, 1, FileWrite::AboveLimit),
    ] {
        let written = store.append_to_file(limited(place, bytes)).await.expect("an answer");
        assert_eq!(written, expected, "chunk {place} of {bytes} bytes");
    }
    let deleted = store.delete_file(world.key.namespace, kept.id, world.now()).await;
    assert_eq!(deleted.expect("an answer"), FileDeletion::Deleted);
    let written = store.append_to_file(limited(2, 60)).await.expect("an answer");
    assert_eq!(written, FileWrite::Written);
    assert_eq!(
        store.begin_file(new_file(2)).await.expect("an answer"),
        FileWrite::Written
    );
}

async fn files_are_listed_by_purpose_and_page(world: &World) {
    let mut ids = Vec::new();
    for purpose in [
        FilePurpose::Batch,
        FilePurpose::UserData,
        FilePurpose::Batch,
        FilePurpose::BatchOutput,
    ] {
        ids.push(file(world, purpose, b"x").await.id);
    }
    begun(world).await;
    let list = async |purpose, after, ascending, limit| {
        let filter = FileFilter {
            namespace: world.key.namespace,
            purpose,
            after,
            ascending,
            limit,
        };
        let files = world.store.files(filter, world.clock.now()).await.expect("an answer");
        files.into_iter().map(|file| file.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, true, 10).await, ids);
    assert_eq!(list(None, None, false, 2).await, [ids[3], ids[2]]);
    assert_eq!(list(None, Some(ids[2]), false, 10).await, [ids[1], ids[0]]);
    assert_eq!(list(Some(FilePurpose::Batch), None, true, 10).await, [ids[0], ids[2]]);
    assert_eq!(list(Some(FilePurpose::Batch), Some(ids[0]), true, 10).await, [ids[2]]);
}

async fn what_nobody_needs_is_purged(world: &World) {
    let store = &world.store;
    let kept = file(world, FilePurpose::UserData, b"kept").await;
    let deleted = file(world, FilePurpose::UserData, &vec![1; FILE_CHUNK * 20]).await;
    let abandoned = begun(world).await;
    append(world, abandoned, 0, b"half").await;
    let answer = store.delete_file(world.key.namespace, deleted.id, world.now()).await;
    assert_eq!(answer.expect("an answer"), FileDeletion::Deleted);
    // 20 chunks and one, and their two files.
    assert_eq!(purge(world).await, 23);
    assert!(read(world, kept.id).await.is_some());
    assert_eq!(append(world, abandoned, 1, b"rest").await, FileWrite::NotOpen);
    // Somebody writes to this one.
    let touched = begun(world).await;
    let before = world.clock.now();
    append(world, touched, 0, b"first").await;
    assert_eq!(store.purge_files(world.now(), before).await.expect("an answer"), 0);
    assert_eq!(append(world, touched, 1, b"second").await, FileWrite::Written);
    world.clock.advance(Duration::from_hours(2));
    assert_eq!(purge(world).await, 5, "the expired one and the one that was left");
    assert_eq!(read(world, kept.id).await, None);
}
