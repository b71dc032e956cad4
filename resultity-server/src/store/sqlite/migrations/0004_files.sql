-- Added with the complete Cloud API.

CREATE TABLE files (
    id         TEXT NOT NULL PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (id),
    -- 'writing' until its content is complete; 'deleted' until its chunks are gone.
    state      TEXT NOT NULL,
    filename   TEXT NOT NULL,
    purpose    TEXT,
    bytes      INTEGER NOT NULL,
    chunks     INTEGER NOT NULL,
    -- While it is written: when that was done last.
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    CONSTRAINT file_state_known CHECK (state = 'writing' OR state = 'complete' OR state = 'deleted'),
    CONSTRAINT file_bytes_not_negative CHECK (bytes >= 0),
    CONSTRAINT file_complete_has_purpose CHECK (state <> 'complete' OR purpose IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- Lists, and how much a namespace has.
CREATE INDEX files_of_namespace ON files (namespace, state, id, bytes);
CREATE INDEX files_by_expiry ON files (expires_at) WHERE state = 'complete' AND expires_at IS NOT NULL;
CREATE INDEX files_to_purge ON files (state, created_at) WHERE state <> 'complete';

-- With row ids: large rows make an index slow.
CREATE TABLE file_chunks (
    file    TEXT NOT NULL REFERENCES files (id),
    place   INTEGER NOT NULL,
    content BLOB NOT NULL,
    CONSTRAINT file_chunk_once UNIQUE (file, place)
) STRICT;

CREATE TABLE batches (
    id                TEXT NOT NULL PRIMARY KEY,
    environment       TEXT NOT NULL,
    namespace         TEXT NOT NULL REFERENCES namespaces (id),
    key               TEXT NOT NULL REFERENCES keys (id),
    endpoint          TEXT NOT NULL,
    model             TEXT,
    input_file        TEXT NOT NULL,
    metadata          TEXT,
    output_ttl        INTEGER,
    status            TEXT NOT NULL,
    errors            TEXT,
    output_file       TEXT,
    error_file        TEXT,
    total             INTEGER NOT NULL,
    completed         INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    in_progress_at    INTEGER,
    cancelling_at     INTEGER,
    finalizing_at     INTEGER,
    ended_at          INTEGER,
    -- Whether there may be rows of it in batch_lines.
    has_lines         INTEGER NOT NULL DEFAULT 1,
    CONSTRAINT batch_status_known CHECK (
        status = 'validating' OR status = 'failed' OR status = 'in_progress' OR status = 'finalizing'
        OR status = 'completed' OR status = 'expired' OR status = 'cancelling' OR status = 'cancelled'
    ),
    CONSTRAINT batch_ended_has_final_status CHECK (
        (ended_at IS NOT NULL)
        = (status = 'failed' OR status = 'completed' OR status = 'expired' OR status = 'cancelled')
    ),
    CONSTRAINT batch_counts_within_total CHECK (completed >= 0 AND failed >= 0 AND completed + failed <= total)
) STRICT, WITHOUT ROWID;

CREATE INDEX batches_of_namespace ON batches (namespace, id);
CREATE INDEX batches_open ON batches (namespace) WHERE ended_at IS NULL;
CREATE INDEX batches_to_purge ON batches (id) WHERE ended_at IS NOT NULL AND has_lines = 1;
CREATE INDEX batches_open_by_file ON batches (input_file) WHERE ended_at IS NULL;

-- What became of the requests that ran, until the files of the batch have it.
CREATE TABLE batch_lines (
    batch  TEXT NOT NULL REFERENCES batches (id),
    line   INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    text   TEXT NOT NULL,
    CONSTRAINT batch_line_once UNIQUE (batch, line)
) STRICT;
