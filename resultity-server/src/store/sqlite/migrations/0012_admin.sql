-- Added with the Gate API: what administrators see and decide.

CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);

-- What an inbox counts.
CREATE INDEX notifications_unread ON notifications (account) WHERE read_at IS NULL;

-- Environments that take no new jobs.
CREATE TABLE intake_stops (
    environment TEXT NOT NULL PRIMARY KEY,
    reason      TEXT NOT NULL,
    -- What askers are told.
    message     TEXT,
    actor       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT intake_stop_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet')
) STRICT, WITHOUT ROWID;

-- Jobs in the background that failed through no fault of their request. They go with what is kept of the job.
CREATE TABLE dead_letters (
    job             TEXT NOT NULL PRIMARY KEY REFERENCES payloads (job) ON DELETE CASCADE,
    environment     TEXT NOT NULL,
    namespace       TEXT NOT NULL,
    -- How large the request is.
    bytes           INTEGER NOT NULL,
    -- The job's idempotency key, which stands for nothing since the job failed.
    idempotency_key TEXT,
    request_hash    BLOB,
    created_at      INTEGER NOT NULL,
    -- Somebody queues it again until then.
    claimed_until   INTEGER,
    CONSTRAINT dead_letter_key_is_whole CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_of_namespace ON dead_letters (namespace, bytes);
CREATE INDEX dead_letters_of_environment ON dead_letters (environment, job);

CREATE TABLE plans (
    environment         TEXT NOT NULL,
    name                TEXT NOT NULL,
    title               TEXT NOT NULL,
    description         TEXT NOT NULL,
    -- Of each namespace; NULL: the network's own.
    requests_per_minute INTEGER CONSTRAINT plan_requests_positive CHECK (requests_per_minute > 0),
    tokens_per_minute   INTEGER CONSTRAINT plan_tokens_positive CHECK (tokens_per_minute > 0),
    monthly_credits     INTEGER NOT NULL CONSTRAINT plan_credits_not_negative CHECK (monthly_credits >= 0),
    -- Whether anybody may choose it.
    open                INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (environment, name),
    CONSTRAINT plan_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet')
) STRICT, WITHOUT ROWID;

CREATE TABLE account_plans (
    account        TEXT NOT NULL REFERENCES accounts (id),
    environment    TEXT NOT NULL,
    plan           TEXT NOT NULL,
    -- Who gets the monthly credits; NULL: the account's first namespace.
    namespace      TEXT REFERENCES namespaces (id) ON DELETE SET NULL,
    since          INTEGER NOT NULL,
    PRIMARY KEY (account, environment),
    FOREIGN KEY (environment, plan) REFERENCES plans (environment, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_plans_of_plan ON account_plans (environment, plan);
CREATE INDEX account_plans_of_namespace ON account_plans (namespace);

-- Months whose credits an account had, whichever its plan was: the last one.
CREATE TABLE plan_credits (
    account     TEXT NOT NULL REFERENCES accounts (id),
    environment TEXT NOT NULL,
    -- Such as '2026-11'.
    month       TEXT NOT NULL,
    PRIMARY KEY (account, environment)
) STRICT, WITHOUT ROWID;

-- Whether a key's account is suspended: kept here, so that admission looks at no row more.
ALTER TABLE keys ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER keys_follow_their_account AFTER UPDATE OF suspended_at ON accounts
BEGIN
    UPDATE keys SET suspended = NEW.suspended_at IS NOT NULL
    WHERE namespace IN (SELECT id FROM namespaces WHERE account = NEW.id);
END;
CREATE TRIGGER keys_of_a_suspended_account AFTER INSERT ON keys
WHEN EXISTS (
    SELECT 1 FROM namespaces JOIN accounts ON accounts.id = namespaces.account
    WHERE namespaces.id = NEW.namespace AND accounts.suspended_at IS NOT NULL
)
BEGIN UPDATE keys SET suspended = 1 WHERE id = NEW.id; END;
