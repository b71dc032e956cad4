-- Added with the Gate API: how people sign in, where they are signed in, access tokens.

-- `name` is what the server's shell knows an account by; one that signed up is known by its id there. `display_name` is
-- its owner's affair.
ALTER TABLE accounts ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'user'
    CONSTRAINT account_role_known CHECK (role IN ('user', 'admin'));
-- Lower case; shown to be the owner's.
ALTER TABLE accounts ADD COLUMN email TEXT;
ALTER TABLE accounts ADD COLUMN email_confirmed_at INTEGER;
-- Argon2id, as a PHC string.
ALTER TABLE accounts ADD COLUMN password_hash TEXT;
-- NULL: it may sign in, and its keys count.
ALTER TABLE accounts ADD COLUMN suspended_at INTEGER;
CREATE UNIQUE INDEX account_email_unique ON accounts (email) WHERE email IS NOT NULL;

-- Codes that were sent by mail and not given back yet.
CREATE TABLE mail_codes (
    -- SHA-256 of what the asker holds.
    ticket        BLOB NOT NULL PRIMARY KEY,
    -- SHA-256 of that and the code: without the ticket the few digits of the code can't be tried.
    code          BLOB NOT NULL,
    purpose       TEXT NOT NULL,
    email         TEXT NOT NULL,
    -- Whose password is reset, or whose address is changed. NULL for a reset: nobody's.
    account       TEXT REFERENCES accounts (id),
    -- What the account is to have.
    password_hash TEXT,
    attempts_left INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    CONSTRAINT mail_code_purpose_known CHECK (purpose IN ('sign_up', 'reset', 'email')),
    CONSTRAINT mail_code_attempts_not_negative CHECK (attempts_left >= 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_codes_by_expiry ON mail_codes (expires_at);
CREATE INDEX mail_codes_of_email ON mail_codes (email);

-- Where accounts are signed in.
CREATE TABLE logins (
    id           TEXT NOT NULL PRIMARY KEY,
    account      TEXT NOT NULL REFERENCES accounts (id),
    -- SHA-256 of the token.
    hash         BLOB NOT NULL,
    kind         TEXT NOT NULL,
    method       TEXT NOT NULL,
    -- What it looks at; NULL: what the server has first.
    environment  TEXT,
    address      TEXT NOT NULL,
    user_agent   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    -- When it ends if it is not used before, and when it ends in any case.
    expires_at   INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    CONSTRAINT login_hash_unique UNIQUE (hash),
    CONSTRAINT login_kind_known CHECK (kind IN ('browser', 'command')),
    CONSTRAINT login_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_of_account ON logins (account, id);

-- Access tokens.
CREATE TABLE access_tokens (
    id           TEXT NOT NULL PRIMARY KEY,
    account      TEXT NOT NULL REFERENCES accounts (id),
    -- SHA-256 of the token.
    hash         BLOB NOT NULL,
    name         TEXT NOT NULL,
    -- Names, with a space between them.
    scopes       TEXT NOT NULL,
    -- NULL: all.
    environment  TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    CONSTRAINT access_token_hash_unique UNIQUE (hash),
    CONSTRAINT access_token_environment_known CHECK (environment IN ('testnet', 'mainnet'))
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_of_account ON access_tokens (account, id);

-- When somebody signed in, or tried to; the last ones.
CREATE TABLE sign_ins (
    id         TEXT NOT NULL PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES accounts (id),
    method     TEXT NOT NULL,
    succeeded  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_ins_of_account ON sign_ins (account, id);
