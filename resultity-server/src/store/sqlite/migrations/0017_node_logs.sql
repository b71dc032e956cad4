-- Added with the whole of the node link: what nodes tell of themselves, for their owners.

CREATE TABLE node_logs (
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    -- Rises with every line that is kept of the node.
    number      INTEGER NOT NULL,
    -- Who had the node then: nobody else sees the line.
    account     TEXT NOT NULL REFERENCES accounts (id),
    -- By the node's clock.
    time        INTEGER NOT NULL,
    -- From 0 (debug) to 3 (error).
    level       INTEGER NOT NULL,
    job         TEXT,
    message     TEXT NOT NULL,
    -- A JSON object.
    fields      TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (node, environment, number),
    CONSTRAINT node_log_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet'),
    CONSTRAINT node_log_level_known CHECK (level BETWEEN 0 AND 3)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_logs_by_age ON node_logs (received_at);
