//! Files, chunk by chunk.

use bytes::Bytes;
use resultity_core::clock::Timestamp;
use resultity_core::id::{FileId, NamespaceId};
use resultity_core::openai::file::FilePurpose;
use rusqlite::{Connection, Row};

use super::retention;
use super::rows::{all, behind, count, counted, execute, first, parsed};
use crate::store::StoreError;
use crate::store::files::{FileDeletion, FileFilter, FileRecord, FileWrite, FinishedFile, NewChunk, NewFile};

/// How many chunks are freed in one operation: 4 MiB.
const PURGED_AT_ONCE: usize = 16;

/// The columns that [`file_record`] reads.
const FILE: &str = "id, namespace, filename, purpose, bytes, created_at, expires_at";

/// Begins a file, unless the namespace has as many as it may.
pub(super) fn begin(connection: &Connection, file: &NewFile) -> Result<FileWrite, StoreError> {
    let namespace = file.namespace.to_string();
    if retention::keeps_nothing(connection, &namespace)? {
        return Ok(FileWrite::NotKept);
    }
    if let Some(most) = file.most_files {
        let there = first(
            connection,
            "SELECT count(*) FROM files WHERE namespace = ?1 AND state <> 'deleted'",
            &[&namespace],
            |row| row.get::<_, i64>(0),
        )?;
        if there.unwrap_or_default() >= count(most) {
            return Ok(FileWrite::AboveLimit);
        }
    }
    execute(
        connection,
        "INSERT INTO files (id, namespace, state, filename, bytes, chunks, created_at)
         VALUES (?1, ?2, 'writing', '', 0, 0, ?3)",
        &[&file.id.to_string(), &namespace, &file.now.as_millis()],
    )?;
    Ok(FileWrite::Written)
}

/// Adds the next chunk, unless the namespace would have more bytes than it may.
pub(super) fn append(connection: &Connection, chunk: &NewChunk) -> Result<FileWrite, StoreError> {
    let file = chunk.file.to_string();
    let namespace = first(
        connection,
        "SELECT namespace FROM files WHERE id = ?1 AND state = 'writing' AND chunks = ?2",
        &[&file, &chunk.place],
        |row| row.get::<_, String>(0),
    )?;
    let Some(namespace) = namespace else {
        return Ok(FileWrite::NotOpen);
    };
    let content: &[u8] = &chunk.content;
    let bytes = count(content.len() as u64);
    if let Some(most) = chunk.most_bytes {
        let there = first(
            connection,
            "SELECT coalesce(sum(bytes), 0) FROM files WHERE namespace = ?1 AND state <> 'deleted'",
            &[&namespace],
            |row| row.get::<_, i64>(0),
        )?;
        if there.unwrap_or_default().saturating_add(bytes) > count(most) {
            return Ok(FileWrite::AboveLimit);
        }
    }
    execute(
        connection,
        "INSERT INTO file_chunks (file, place, content) VALUES (?1, ?2, ?3)",
        &[&file, &chunk.place, &content],
    )?;
    execute(
        connection,
        "UPDATE files SET chunks = chunks + 1, bytes = bytes + ?2, created_at = ?3 WHERE id = ?1",
        &[&file, &bytes, &chunk.now.as_millis()],
    )?;
    Ok(FileWrite::Written)
}

/// Makes a file visible.
pub(super) fn finish(connection: &Connection, file: &FinishedFile) -> Result<Option<FileRecord>, StoreError> {
    let sql = format!(
        "UPDATE files SET state = 'complete', filename = ?2, purpose = ?3, expires_at = ?4, created_at = ?5
         WHERE id = ?1 AND state = 'writing' RETURNING {FILE}"
    );
    first(
        connection,
        &sql,
        &[
            &file.id.to_string(),
            &file.filename,
            &file.purpose.as_str(),
            &file.expires_at.map(Timestamp::as_millis),
            &file.now.as_millis(),
        ],
        file_record,
    )
}

/// Gives up a file that is being written.
pub(super) fn abandon(connection: &Connection, file: FileId) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE files SET state = 'deleted' WHERE id = ?1 AND state = 'writing'",
        &[&file.to_string()],
    )?;
    Ok(())
}

/// A complete file that has not expired.
pub(super) fn read(
    connection: &Connection,
    namespace: NamespaceId,
    file: FileId,
    now: Timestamp,
) -> Result<Option<FileRecord>, StoreError> {
    let sql = format!(
        "SELECT {FILE} FROM files
         WHERE id = ?1 AND namespace = ?2 AND state = 'complete' AND (expires_at IS NULL OR expires_at > ?3)"
    );
    first(
        connection,
        &sql,
        &[&file.to_string(), &namespace.to_string(), &now.as_millis()],
        file_record,
    )
}

/// Complete files that have not expired. Ids sort by time.
pub(super) fn list(
    connection: &Connection,
    filter: &FileFilter,
    now: Timestamp,
) -> Result<Vec<FileRecord>, StoreError> {
    let (condition, order) = behind("id", "?4", filter.after.is_some(), filter.ascending);
    let sql = format!(
        "SELECT {FILE} FROM files
         WHERE namespace = ?1 AND state = 'complete' AND (expires_at IS NULL OR expires_at > ?2)
           AND (?3 IS NULL OR purpose = ?3) AND {condition}
         ORDER BY id {order} LIMIT ?5"
    );
    all(
        connection,
        &sql,
        &[
            &filter.namespace.to_string(),
            &now.as_millis(),
            &filter.purpose.map(FilePurpose::as_str),
            &filter.after.map(|after| after.to_string()),
            &filter.limit,
        ],
        file_record,
    )
}

/// A chunk of a complete file.
pub(super) fn chunk(connection: &Connection, file: FileId, place: u32) -> Result<Option<Bytes>, StoreError> {
    first(
        connection,
        "SELECT file_chunks.content FROM files JOIN file_chunks ON file_chunks.file = files.id
         WHERE files.id = ?1 AND files.state = 'complete' AND file_chunks.place = ?2",
        &[&file.to_string(), &place],
        |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)),
    )
}

/// Deletes a complete file that no batch reads; its chunks are freed later.
pub(super) fn delete(
    connection: &Connection,
    namespace: NamespaceId,
    file: FileId,
    now: Timestamp,
) -> Result<FileDeletion, StoreError> {
    if read(connection, namespace, file, now)?.is_none() {
        return Ok(FileDeletion::Unknown);
    }
    let deleted = execute(
        connection,
        "UPDATE files SET state = 'deleted' WHERE id = ?1
         AND NOT EXISTS (SELECT 1 FROM batches WHERE batches.input_file = files.id AND batches.ended_at IS NULL)",
        &[&file.to_string()],
    )?;
    Ok(if deleted > 0 {
        FileDeletion::Deleted
    } else {
        FileDeletion::InUse
    })
}

/// Gives up files that nobody writes to any more, and finds one that is to be freed. SQLite sees that the index of files that
/// are not complete is good for it only if that is said; else it would read all files.
pub(super) const ABANDON: &str =
    "UPDATE files SET state = 'deleted' WHERE state <> 'complete' AND state = 'writing' AND created_at < ?1";
pub(super) const DELETED: &str = "SELECT id FROM files WHERE state <> 'complete' AND state = 'deleted' LIMIT 1";

/// Frees a few chunks of one file that is no longer needed, and the file itself once it has none.
pub(super) fn purge(connection: &Connection, now: Timestamp, abandoned_before: Timestamp) -> Result<u64, StoreError> {
    execute(
        connection,
        "UPDATE files SET state = 'deleted' WHERE state = 'complete' AND expires_at <= ?1
         AND NOT EXISTS (SELECT 1 FROM batches WHERE batches.input_file = files.id AND batches.ended_at IS NULL)",
        &[&now.as_millis()],
    )?;
    execute(connection, ABANDON, &[&abandoned_before.as_millis()])?;
    let file = first(connection, DELETED, &[], |row| row.get::<_, String>(0))?;
    let Some(file) = file else { return Ok(0) };
    let mut freed = execute(
        connection,
        "DELETE FROM file_chunks WHERE rowid IN (SELECT rowid FROM file_chunks WHERE file = ?1 LIMIT ?2)",
        &[&file, &count(PURGED_AT_ONCE as u64)],
    )?;
    if freed < PURGED_AT_ONCE {
        freed += execute(connection, "DELETE FROM files WHERE id = ?1", &[&file])?;
    }
    Ok(freed as u64)
}

fn file_record(row: &Row<'_>) -> rusqlite::Result<FileRecord> {
    Ok(FileRecord {
        id: parsed(row, 0)?,
        namespace: parsed(row, 1)?,
        filename: row.get(2)?,
        purpose: parsed(row, 3)?,
        bytes: counted(row, 4)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
    })
}
