-- Jobs that have not ended. Small: rows leave when their job ends, so a job costs no page of its own until it has a result.
CREATE TABLE running (
    -- The canonical text of an IP address.
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    -- The first container; NULL for a job that a container registered.
    container  TEXT,
    -- The job's request as JSON, where jobs begin anew after a restart.
    request    TEXT,
    -- How many starts have taken it up again.
    taken_up   INTEGER NOT NULL DEFAULT 0,
    -- Milliseconds; NULL for a job that the node itself runs: that one never just vanishes.
    expires_at INTEGER,
    CONSTRAINT running_once PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX running_by_expiry ON running (expires_at) WHERE expires_at IS NOT NULL;

-- Jobs that have ended. Numbers grow in the order of the ends, so that the oldest are found and counted without an index.
CREATE TABLE ended (
    number       INTEGER PRIMARY KEY,
    owner        TEXT NOT NULL,
    id           TEXT NOT NULL,
    status       INTEGER NOT NULL CONSTRAINT ended_status_known CHECK (status IN (1, 2)),
    -- Milliseconds.
    ended_at     INTEGER NOT NULL,
    -- What the last container that ran said, as JSON; NULL for a job that a container registered.
    result       TEXT,
    -- What those before it said, as a JSON array; NULL: there are none.
    intermediate TEXT,
    CONSTRAINT ended_once UNIQUE (owner, id)
) STRICT;

-- The ids of the jobs that the node itself ran or runs, whoever asked for them: nobody else may say how they ended.
CREATE TABLE own (
    id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
