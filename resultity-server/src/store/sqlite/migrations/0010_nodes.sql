-- Added with the Gate API: nodes as their owners and administrators manage them.

ALTER TABLE nodes ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- By its owner.
ALTER TABLE nodes ADD COLUMN paused_at INTEGER;
-- What it said of itself last: JSON.
ALTER TABLE nodes ADD COLUMN facts TEXT;
ALTER TABLE nodes ADD COLUMN seen_at INTEGER;

-- By a code, which the node signed, or by a wallet, about which it was not asked. NULL: by the server itself, or nobody.
ALTER TABLE nodes ADD COLUMN bound_by TEXT CONSTRAINT node_bound_by_known CHECK (bound_by = 'code' OR bound_by = 'wallet');

CREATE INDEX nodes_of_account ON nodes (account, environment, id) WHERE account IS NOT NULL;
CREATE INDEX nodes_of_environment ON nodes (environment, id);
CREATE INDEX nodes_of_nobody ON nodes (environment, coalesce(seen_at, created_at)) WHERE account IS NULL;

-- What binds a node to an account, once: a code for any node, or a message for one node that a wallet signs.
CREATE TABLE node_offers (
    -- SHA-256 of the code or of the message.
    hash        BLOB NOT NULL PRIMARY KEY,
    account     TEXT NOT NULL REFERENCES accounts (id),
    environment TEXT NOT NULL,
    -- NULL: any.
    node        TEXT,
    -- What the node is to be called; '': as before.
    name        TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    CONSTRAINT node_offer_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet')
) STRICT, WITHOUT ROWID;
CREATE INDEX node_offers_of_account ON node_offers (account);
CREATE INDEX node_offers_by_expiry ON node_offers (expires_at);

-- What administrators put on nodes. One that is over stays until it is taken off or put on again.
CREATE TABLE node_flags (
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    flag        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    until       INTEGER,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (node, environment, flag),
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment),
    CONSTRAINT node_flag_known CHECK (flag = 'pause' OR flag = 'freeze' OR flag = 'shadow'),
    CONSTRAINT node_flag_shadow_ends CHECK (flag <> 'shadow' OR until IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE penalties (
    id              TEXT NOT NULL PRIMARY KEY,
    node            TEXT NOT NULL,
    environment     TEXT NOT NULL,
    -- Who owned the node then.
    account         TEXT REFERENCES accounts (id),
    reason          TEXT NOT NULL,
    -- NULL: until it is lifted.
    until           INTEGER,
    created_at      INTEGER NOT NULL,
    lifted_at       INTEGER,
    appeal          TEXT,
    appealed_at     INTEGER,
    decision        TEXT,
    decision_reason TEXT,
    decided_at      INTEGER,
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment),
    CONSTRAINT penalty_appeal_has_time CHECK ((appeal IS NULL) = (appealed_at IS NULL)),
    CONSTRAINT penalty_decision_known CHECK (decision = 'lift' OR decision = 'uphold'),
    CONSTRAINT penalty_decision_is_whole
        CHECK ((decision IS NULL) = (decided_at IS NULL) AND (decision IS NULL) = (decision_reason IS NULL)),
    CONSTRAINT penalty_decision_answers_appeal CHECK (decision IS NULL OR appeal IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX penalties_of_node ON penalties (node, environment, id);
CREATE INDEX penalties_appealed ON penalties (environment, id) WHERE appealed_at IS NOT NULL;

-- The history of a node.
CREATE INDEX receipts_of_node ON receipts (node, job);
CREATE INDEX attempts_of_node ON attempts (node, job);
