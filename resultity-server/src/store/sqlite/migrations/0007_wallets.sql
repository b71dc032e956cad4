-- Added with the Gate API: EVM wallets that sign in, second factors.

CREATE TABLE wallets (
    -- Lower case, with 0x.
    address      TEXT NOT NULL PRIMARY KEY,
    account      TEXT NOT NULL REFERENCES accounts (id),
    created_at   INTEGER NOT NULL,
    -- The last time that somebody signed in with it.
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX wallets_of_account ON wallets (account);

-- Nonces of signed messages that counted, until nobody would believe the message any more.
CREATE TABLE used_nonces (
    nonce      TEXT NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX used_nonces_by_expiry ON used_nonces (expires_at);

CREATE TABLE second_factors (
    account      TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
    -- Encrypted with a key that comes from the network's.
    secret       BLOB NOT NULL,
    -- The last time step whose code counted: none counts twice.
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    -- NULL: it asks for nothing yet.
    confirmed_at INTEGER,
    -- Wrong codes since the last right one, and when the last of them came.
    failures     INTEGER NOT NULL,
    failed_at    INTEGER
) STRICT, WITHOUT ROWID;

-- Those that are left.
CREATE TABLE recovery_codes (
    account TEXT NOT NULL REFERENCES accounts (id),
    hash    BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;
