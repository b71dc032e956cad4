-- Added with the Gate API: credits beside jobs.

-- What changed what a namespace may spend, beside its jobs: an index that jobs cost nothing. `place` sorts among the ids of jobs:
-- the digits of the time, as a UUID of version 7 begins, then the number of the transaction.
CREATE TABLE namespace_moves (
    namespace      TEXT NOT NULL REFERENCES namespaces (id),
    place          TEXT NOT NULL,
    transaction_id INTEGER NOT NULL REFERENCES ledger_transactions (id),
    PRIMARY KEY (namespace, place)
) STRICT, WITHOUT ROWID;
INSERT INTO namespace_moves (namespace, place, transaction_id)
SELECT substr(entries.account, length('namespace:') + 1),
       printf('%08x-%04x-z%016d', transactions.created_at / 65536, transactions.created_at % 65536, transactions.id),
       transactions.id
FROM ledger_transactions AS transactions JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id
WHERE transactions.job IS NULL AND entries.account GLOB 'namespace:*';

CREATE TABLE transfers (
    id              TEXT NOT NULL PRIMARY KEY,
    account         TEXT NOT NULL REFERENCES accounts (id),
    environment     TEXT NOT NULL,
    source          TEXT NOT NULL REFERENCES namespaces (id),
    target          TEXT NOT NULL REFERENCES namespaces (id),
    amount          INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    CONSTRAINT transfer_once UNIQUE (account, idempotency_key),
    CONSTRAINT transfer_amount_positive CHECK (amount > 0),
    CONSTRAINT transfer_has_two_sides CHECK (source <> target)
) STRICT, WITHOUT ROWID;

CREATE TABLE faucet_claims (
    account    TEXT NOT NULL REFERENCES accounts (id),
    -- Of UTC, counted from the Unix epoch.
    day        INTEGER NOT NULL,
    namespace  TEXT NOT NULL REFERENCES namespaces (id),
    amount     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, day),
    CONSTRAINT faucet_amount_positive CHECK (amount > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE vouchers (
    id          TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the code.
    hash        BLOB NOT NULL,
    environment TEXT NOT NULL,
    -- What each use is worth.
    amount      INTEGER NOT NULL,
    max_uses    INTEGER NOT NULL,
    uses        INTEGER NOT NULL DEFAULT 0,
    label       TEXT NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    created_at  INTEGER NOT NULL,
    CONSTRAINT voucher_hash_unique UNIQUE (hash),
    CONSTRAINT voucher_environment_known CHECK (environment IN ('testnet', 'mainnet')),
    CONSTRAINT voucher_amount_positive CHECK (amount > 0),
    CONSTRAINT voucher_uses_within_limit CHECK (uses BETWEEN 0 AND max_uses)
) STRICT, WITHOUT ROWID;
CREATE INDEX vouchers_of_environment ON vouchers (environment, id);

CREATE TABLE voucher_redemptions (
    voucher     TEXT NOT NULL REFERENCES vouchers (id),
    account     TEXT NOT NULL REFERENCES accounts (id),
    namespace   TEXT NOT NULL REFERENCES namespaces (id),
    redeemed_at INTEGER NOT NULL,
    PRIMARY KEY (voucher, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    -- The provider's.
    id          TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    namespace   TEXT NOT NULL REFERENCES namespaces (id),
    amount      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT payment_amount_positive CHECK (amount > 0)
) STRICT, WITHOUT ROWID;

-- What nodes earned, moved to namespaces of their owners.
CREATE TABLE payouts (
    id          TEXT NOT NULL PRIMARY KEY,
    account     TEXT NOT NULL REFERENCES accounts (id),
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    namespace   TEXT NOT NULL REFERENCES namespaces (id),
    amount      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT payout_amount_positive CHECK (amount > 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX payouts_of_account ON payouts (account, environment, node);

-- Who is told when a namespace has little left.
CREATE TABLE credit_alerts (
    namespace TEXT NOT NULL PRIMARY KEY REFERENCES namespaces (id),
    -- Of what may be spent and what is held together.
    below     INTEGER NOT NULL,
    -- 0: it was told, and the sum was not raised to the limit since.
    armed     INTEGER NOT NULL,
    -- How often it was told.
    told      INTEGER NOT NULL DEFAULT 0,
    -- When a letter about it became due that was not written yet.
    letter_at INTEGER,
    CONSTRAINT credit_alert_positive CHECK (below > 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX credit_alerts_with_letter ON credit_alerts (letter_at) WHERE letter_at IS NOT NULL;
