-- Added with the complete Cloud API.

-- Limits of a key; NULL: the network's own, or none.
ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER
    CONSTRAINT key_requests_positive CHECK (requests_per_minute > 0);
ALTER TABLE keys ADD COLUMN tokens_per_minute INTEGER
    CONSTRAINT key_tokens_positive CHECK (tokens_per_minute > 0);
ALTER TABLE keys ADD COLUMN spend_limit INTEGER
    CONSTRAINT key_spend_limit_not_negative CHECK (spend_limit >= 0);
-- What its jobs have cost, and what those that have not ended hold.
ALTER TABLE keys ADD COLUMN spent INTEGER NOT NULL DEFAULT 0
    CONSTRAINT key_spent_not_negative CHECK (spent >= 0);
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
-- A JSON array of model names.
ALTER TABLE keys ADD COLUMN models TEXT;

ALTER TABLE jobs ADD COLUMN endpoint TEXT NOT NULL DEFAULT '/v1/chat/completions';
-- The name that was asked for; NULL: the model's own.
ALTER TABLE jobs ADD COLUMN asked_model TEXT;
ALTER TABLE jobs ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal';
-- Whether it goes on without whoever asked, and survives a restart.
ALTER TABLE jobs ADD COLUMN detached INTEGER NOT NULL DEFAULT 0;
-- Whose events its end makes: 'job', 'response' or none.
ALTER TABLE jobs ADD COLUMN events TEXT;
ALTER TABLE jobs ADD COLUMN error_message TEXT;
ALTER TABLE jobs ADD COLUMN error_param TEXT;

-- Lists and usage of a namespace. Ids sort by time.
CREATE INDEX jobs_of_namespace ON jobs (namespace, id);

-- What was asked and answered, of jobs that are kept for somebody who comes back for them.
CREATE TABLE payloads (
    job        TEXT NOT NULL,
    -- As it was asked.
    request    TEXT NOT NULL,
    -- As it was checked: all that is needed to run it (again).
    work       TEXT NOT NULL,
    answer     TEXT,
    expires_at INTEGER NOT NULL,
    CONSTRAINT payload_once UNIQUE (job)
) STRICT;
CREATE INDEX payloads_by_expiry ON payloads (expires_at);

CREATE TABLE idempotency_keys (
    namespace    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    job          TEXT NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job);

-- What askers think of answers.
CREATE TABLE feedback (
    job        TEXT NOT NULL PRIMARY KEY,
    rating     TEXT NOT NULL,
    category   TEXT,
    comment    TEXT,
    review     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT feedback_rating_known CHECK (rating = 'up' OR rating = 'down')
) STRICT, WITHOUT ROWID;
