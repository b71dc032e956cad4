-- How the network finds out which nodes are honest.

-- One row a node and model; what it says is made of the checks alone.
CREATE TABLE reputations (
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    model       TEXT NOT NULL,
    -- JSON: `trust::Reputation`.
    state       TEXT NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (node, environment, model),
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment)
) STRICT, WITHOUT ROWID;

-- Every check, once for its job and kind. Never changed, never deleted.
CREATE TABLE checks (
    seq         INTEGER PRIMARY KEY,
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    model       TEXT NOT NULL,
    job         TEXT NOT NULL,
    kind        TEXT NOT NULL,
    -- Thousandths of a nat: above 0 it speaks against the node.
    weight      INTEGER NOT NULL,
    -- JSON: aspects with their weights.
    findings    TEXT NOT NULL,
    -- When the job ended.
    ended_at    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    -- The penalty that it led to.
    penalty     TEXT REFERENCES penalties (id),
    UNIQUE (job, node, kind),
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment),
    CONSTRAINT check_kind_known CHECK (kind IN ('sampled', 'blind', 'agreement', 'violation'))
) STRICT;
CREATE INDEX checks_of_node ON checks (node, environment, seq);
CREATE INDEX checks_with_penalty ON checks (node, environment) WHERE penalty IS NOT NULL;
CREATE TRIGGER checks_are_never_changed BEFORE UPDATE ON checks BEGIN
    SELECT RAISE(ABORT, 'checks are never changed');
END;
CREATE TRIGGER checks_are_never_deleted BEFORE DELETE ON checks BEGIN
    SELECT RAISE(ABORT, 'checks are never deleted');
END;

-- One more flag: `trusted`, whose node says whether others are honest.
CREATE TABLE node_flags_next (
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    flag        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    until       INTEGER,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (node, environment, flag),
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment),
    CONSTRAINT node_flag_known CHECK (flag IN ('pause', 'freeze', 'shadow', 'trusted')),
    CONSTRAINT node_flag_shadow_ends CHECK (flag <> 'shadow' OR until IS NOT NULL)
) STRICT, WITHOUT ROWID;
INSERT INTO node_flags_next SELECT node, environment, flag, reason, until, created_at FROM node_flags;
DROP TABLE node_flags;
ALTER TABLE node_flags_next RENAME TO node_flags;
