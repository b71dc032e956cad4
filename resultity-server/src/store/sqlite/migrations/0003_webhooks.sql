-- Added with the complete Cloud API.

CREATE TABLE webhooks (
    id              TEXT NOT NULL PRIMARY KEY,
    namespace       TEXT NOT NULL REFERENCES namespaces (id),
    environment     TEXT NOT NULL,
    url             TEXT NOT NULL,
    description     TEXT NOT NULL,
    -- Names of event types, separated by spaces; none: all.
    events          TEXT NOT NULL,
    enabled         INTEGER NOT NULL,
    -- Encrypted: the key for it is not in the database.
    secret          BLOB NOT NULL,
    previous_secret BLOB,
    previous_until  INTEGER,
    -- How many of its deliveries are pending.
    pending         INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    CONSTRAINT webhook_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet'),
    CONSTRAINT webhook_pending_not_negative CHECK (pending >= 0),
    CONSTRAINT webhook_previous_secret_ends CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX webhooks_of_namespace ON webhooks (namespace, id);
-- What every event looks at.
CREATE INDEX webhooks_enabled ON webhooks (namespace) WHERE enabled = 1;
CREATE INDEX webhooks_with_pending ON webhooks (id) WHERE pending > 0;

CREATE TABLE webhook_deliveries (
    id              TEXT NOT NULL PRIMARY KEY,
    webhook         TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event           TEXT NOT NULL,
    kind            TEXT NOT NULL,
    -- What the event is about.
    data_id         TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    state           TEXT NOT NULL,
    -- How often it was sent, and how often since it became pending: the latter decides about the next pause.
    attempts        INTEGER NOT NULL,
    step            INTEGER NOT NULL,
    next_attempt_at INTEGER,
    last_attempt_at INTEGER,
    last_status     INTEGER,
    last_error      TEXT,
    -- One thing happens once.
    CONSTRAINT webhook_delivery_once UNIQUE (webhook, kind, data_id),
    CONSTRAINT webhook_delivery_state_known
        CHECK (state = 'pending' OR state = 'delivered' OR state = 'failed'),
    CONSTRAINT webhook_delivery_pending_is_due CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook, id);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';
