//! The contract of [`FilesApi`].
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::api::files::{FileQuery, FileUpload, FilesApi};
use crate::api::page::Order;
use crate::error::{ApiError, ErrorCode};
use crate::id::FileId;
use crate::openai::file::{File, FilePurpose};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: FilesApi + ?Sized>(api: &A) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: files: {}", stringify!($scenario));
            $scenario(api).await;
        )*};
    }
    run! {
        a_file_is_kept_until_it_is_deleted
        a_long_file_comes_back_as_it_was
        files_are_listed_a_page_at_a_time
        an_upload_that_breaks_off_leaves_nothing
        bad_uploads_name_the_field
        what_is_not_there_is_not_found
    }
}

async fn upload<A: FilesApi + ?Sized>(api: &A, upload: FileUpload) -> File {
    api.upload_file(upload).await.expect("a file is stored").body
}

async fn content<A: FilesApi + ?Sized>(api: &A, id: FileId) -> Vec<u8> {
    let content = api.file_content(id).await.expect("the content is there");
    let pieces: Vec<Bytes> = content.try_collect().await.expect("it ends well");
    pieces.concat()
}

fn check_not_found<T>(outcome: Result<T, ApiError>) {
    match outcome {
        Ok(_) => panic!("it should not be there"),
        Err(error) => assert_eq!(error.code, ErrorCode::NotFound, "{error}"),
    }
}

/// What was stored is there with its name and content, until it is deleted. Panics if not.
pub async fn a_file_is_kept_until_it_is_deleted<A: FilesApi + ?Sized>(api: &A) {
    let notes = FileUpload::new("Übung \"1\".txt", FilePurpose::UserData, "one\r\ntwo\0").expires_after(3600);
    let file = upload(api, notes).await;
    assert_eq!((file.object.as_str(), file.status.as_str()), ("file", "processed"));
    assert_eq!((file.bytes, file.purpose), (9, FilePurpose::UserData));
    assert_eq!(file.filename, "Übung \"1\".txt");
    assert_eq!(file.expires_at, Some(file.created_at + 3600));
    assert_eq!(api.file(file.id).await.expect("it is there").body, file);
    assert_eq!(content(api, file.id).await, b"one\r\ntwo\0");
    let deleted = api.delete_file(file.id).await.expect("it can be deleted").body;
    assert!(deleted.deleted && deleted.id == file.id, "{deleted:?}");
    check_not_found(api.file(file.id).await);
    check_not_found(api.file_content(file.id).await);
    check_not_found(api.delete_file(file.id).await);
}

/// A file that comes in many pieces is put together in order. Panics if not.
pub async fn a_long_file_comes_back_as_it_was<A: FilesApi + ?Sized>(api: &A) {
    let pieces: Vec<Bytes> = (0..40_u8).map(|piece| vec![piece; 70_001].into()).collect();
    let whole = pieces.concat();
    let content_in = stream::iter(pieces).map(Ok).boxed();
    let file = upload(api, FileUpload::streamed("long.bin", FilePurpose::UserData, content_in)).await;
    assert_eq!(file.bytes, whole.len() as u64);
    assert!(content(api, file.id).await == whole, "the content is another");
    api.delete_file(file.id).await.expect("it can be deleted");
}

/// Lists are in order, each file once, however large the pages are. Panics if not.
pub async fn files_are_listed_a_page_at_a_time<A: FilesApi + ?Sized>(api: &A) {
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(upload(api, FileUpload::new(name, FilePurpose::UserData, name)).await);
    }
    let query = |limit, after: Option<&File>| FileQuery {
        purpose: Some(FilePurpose::UserData),
        limit: Some(limit),
        after: after.map(|file| file.id),
        ..FileQuery::default()
    };
    let first = api.files(query(2, None)).await.expect("files can be listed").body;
    assert_eq!(first.data, [made[2].clone(), made[1].clone()], "the newest come first");
    assert!(first.has_more);
    let next = api.files(query(1, first.data.last())).await;
    assert_eq!(next.expect("files can be listed").body.data, [made[0].clone()]);
    let forward = FileQuery {
        order: Some(Order::Asc),
        ..query(10, made.first())
    };
    let forward = api.files(forward).await.expect("files can be listed").body;
    assert_eq!(forward.data, made[1..], "the other way round");
    assert!(!forward.has_more);
    let others = FileQuery {
        purpose: Some(FilePurpose::Batch),
        ..FileQuery::default()
    };
    let others = api.files(others).await.expect("files can be listed").body;
    assert!(others.data.iter().all(|file| file.purpose == FilePurpose::Batch));
    for file in made {
        api.delete_file(file.id).await.expect("it can be deleted");
    }
}

/// A file whose content can't be read to its end is not stored, and the caller's own error comes back. Panics if not.
pub async fn an_upload_that_breaks_off_leaves_nothing<A: FilesApi + ?Sized>(api: &A) {
    let before = api.files(FileQuery::default()).await.expect("files can be listed").body;
    let broken = ApiError::new(ErrorCode::Cancelled, "the disk is gone");
    let pieces = stream::iter([Ok(Bytes::from_static(b"begin")), Err(broken)]);
    let upload = FileUpload::streamed("broken", FilePurpose::UserData, pieces.boxed());
    let error = api.upload_file(upload).await.expect_err("it is not whole");
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Cancelled, "the disk is gone")
    );
    let after = api.files(FileQuery::default()).await.expect("files can be listed").body;
    assert_eq!(after.data, before.data);
}

/// Bad uploads are refused with their place, and store nothing. Panics if not.
pub async fn bad_uploads_name_the_field<A: FilesApi + ?Sized>(api: &A) {
    let before = api.files(FileQuery::default()).await.expect("files can be listed").body;
    let of = |purpose, text: &'static str| FileUpload::new("x", purpose, text);
    let cases = [
        (of(FilePurpose::UserData, ""), "file"),
        (of(FilePurpose::BatchOutput, "x"), "purpose"),
        (
            of(FilePurpose::UserData, "x").expires_after(3599),
            "expires_after.seconds",
        ),
        (
            of(FilePurpose::Batch, "x").expires_after(2_592_001),
            "expires_after.seconds",
        ),
    ];
    for (upload, param) in cases {
        let error = api.upload_file(upload).await.expect_err(param);
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param)),
            "{error}"
        );
    }
    let after = api.files(FileQuery::default()).await.expect("files can be listed").body;
    assert_eq!(after.data, before.data);
}

/// What never was cannot be asked for, read or deleted. Panics if not.
pub async fn what_is_not_there_is_not_found<A: FilesApi + ?Sized>(api: &A) {
    let nobody = FileId::from_uuid(uuid::Uuid::nil());
    check_not_found(api.file(nobody).await);
    check_not_found(api.file_content(nobody).await);
    check_not_found(api.delete_file(nobody).await);
}
