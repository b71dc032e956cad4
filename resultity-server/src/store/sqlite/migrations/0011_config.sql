-- Added with the Gate API: who published what and why; how the network's key changed.

ALTER TABLE snapshots ADD COLUMN actor TEXT NOT NULL DEFAULT 'operator';
ALTER TABLE snapshots ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE TRIGGER snapshots_no_update BEFORE UPDATE ON snapshots
BEGIN SELECT RAISE(ABORT, 'published snapshots stay as they are'); END;
CREATE TRIGGER snapshots_no_delete BEFORE DELETE ON snapshots
BEGIN SELECT RAISE(ABORT, 'published snapshots stay as they are'); END;

-- What the configuration file offered at the last start: only another offer is published at the next.
CREATE TABLE config_offers (
    environment TEXT NOT NULL PRIMARY KEY,
    digest      BLOB NOT NULL,
    CONSTRAINT config_offer_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;

-- The chain of the network's keys: each names the next.
CREATE TABLE key_rotations (
    environment TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    -- JSON of a KeyRotation.
    signed      TEXT NOT NULL,
    PRIMARY KEY (environment, sequence),
    CONSTRAINT key_rotation_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER key_rotations_no_update BEFORE UPDATE ON key_rotations
BEGIN SELECT RAISE(ABORT, 'the chain of keys stays as it is'); END;
CREATE TRIGGER key_rotations_no_delete BEFORE DELETE ON key_rotations
BEGIN SELECT RAISE(ABORT, 'the chain of keys stays as it is'); END;
