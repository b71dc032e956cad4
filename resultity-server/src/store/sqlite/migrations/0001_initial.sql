-- Ids are text as people see them, hashes and signatures are bytes, times are milliseconds since the Unix epoch,
-- money is micro-credits.

CREATE TABLE accounts (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT account_name_unique UNIQUE (name)
) STRICT, WITHOUT ROWID;

CREATE TABLE namespaces (
    id          TEXT NOT NULL PRIMARY KEY,
    account     TEXT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    environment TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT namespace_name_unique UNIQUE (account, environment, name),
    CONSTRAINT namespace_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id         TEXT NOT NULL PRIMARY KEY,
    namespace  TEXT NOT NULL REFERENCES namespaces (id),
    hash       BLOB NOT NULL,
    label      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    CONSTRAINT key_hash_unique UNIQUE (hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id                TEXT NOT NULL PRIMARY KEY,
    environment       TEXT NOT NULL,
    namespace         TEXT NOT NULL REFERENCES namespaces (id),
    key               TEXT NOT NULL REFERENCES keys (id),
    kind              TEXT NOT NULL,
    model             TEXT NOT NULL,
    model_version     TEXT NOT NULL,
    stream            INTEGER NOT NULL,
    -- What is held for it. While the job has not ended, this is the balance of `escrow:<job>`, which for that reason
    -- has no row in `balances`; the audit compares it with the entries.
    held              INTEGER NOT NULL,
    request_hash      BLOB NOT NULL,
    created_at        INTEGER NOT NULL,
    deadline          INTEGER NOT NULL,
    state             TEXT NOT NULL,
    -- How many leases there were so far.
    attempt           INTEGER NOT NULL,
    -- Who holds or held the last lease.
    node              TEXT,
    lease_token       TEXT,
    lease_deadline    INTEGER,
    cost              INTEGER,
    error_code        TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    finished_at       INTEGER,
    CONSTRAINT job_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet'),
    -- Not `IN (…)` here: SQLite would build a table of the list at every change.
    CONSTRAINT job_state_known CHECK (
        state = 'queued' OR state = 'leased' OR state = 'running' OR state = 'succeeded' OR state = 'failed'
        OR state = 'expired' OR state = 'cancelled'
    ),
    CONSTRAINT job_hold_not_negative CHECK (held >= 0),
    CONSTRAINT job_cost_within_hold CHECK (cost IS NULL OR cost BETWEEN 0 AND held),
    CONSTRAINT job_ended_has_cost CHECK ((cost IS NULL) = (finished_at IS NULL)),
    CONSTRAINT job_ended_has_final_state
        CHECK ((finished_at IS NULL) = (state = 'queued' OR state = 'leased' OR state = 'running'))
) STRICT, WITHOUT ROWID;

-- Jobs that have not ended: what a namespace has held, and what recovery has to look at.
CREATE INDEX jobs_open ON jobs (namespace) WHERE finished_at IS NULL;

-- Leases that ended without a result.
CREATE TABLE attempts (
    job      TEXT NOT NULL REFERENCES jobs (id),
    attempt  INTEGER NOT NULL,
    node     TEXT NOT NULL,
    reason   TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (
    job               TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id),
    node              TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    request_hash      BLOB NOT NULL,
    transcript_hash   BLOB NOT NULL,
    output_hash       BLOB NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    finish_reason     TEXT NOT NULL,
    outcome           TEXT NOT NULL,
    cost              INTEGER NOT NULL,
    signature         BLOB NOT NULL,
    finished_at       INTEGER NOT NULL,
    CONSTRAINT receipt_outcome_known CHECK (outcome = 'complete' OR outcome = 'partial')
) STRICT, WITHOUT ROWID;

-- Contribution points: the total tokens of every settled job, once per job.
CREATE TABLE points (
    job         TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id),
    environment TEXT NOT NULL,
    node        TEXT NOT NULL,
    points      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT points_not_negative CHECK (points >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_transactions (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    -- What makes it happen once per kind: the job, or the id of the payment.
    reference   TEXT NOT NULL,
    environment TEXT NOT NULL,
    job         TEXT REFERENCES jobs (id),
    reason      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT ledger_transaction_once UNIQUE (kind, reference)
) STRICT;

CREATE TABLE ledger_entries (
    transaction_id INTEGER NOT NULL REFERENCES ledger_transactions (id),
    account        TEXT NOT NULL,
    amount         INTEGER NOT NULL,
    PRIMARY KEY (transaction_id, account),
    CONSTRAINT ledger_entry_not_zero CHECK (amount <> 0)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER ledger_transactions_no_update BEFORE UPDATE ON ledger_transactions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_transactions_no_delete BEFORE DELETE ON ledger_transactions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- The sum of the entries of every account but the escrows (see `jobs.held`).
CREATE TABLE balances (
    account TEXT NOT NULL PRIMARY KEY,
    balance INTEGER NOT NULL,
    CONSTRAINT balance_not_negative CHECK (balance >= 0 OR account GLOB 'issuance:*')
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    id          TEXT NOT NULL,
    environment TEXT NOT NULL,
    account     TEXT REFERENCES accounts (id),
    banned_at   INTEGER,
    created_at  INTEGER NOT NULL,
    bound_at    INTEGER,
    PRIMARY KEY (id, environment),
    CONSTRAINT node_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    environment TEXT NOT NULL,
    version     INTEGER NOT NULL,
    signed      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (environment, version),
    CONSTRAINT snapshot_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT;

-- One row that is changed to find out whether the database can be written to.
CREATE TABLE write_checks (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO write_checks (id, count) VALUES (1, 0);
