-- Added with the Gate API: what administrators did, and what accounts are told.

CREATE TABLE audit_log (
    id          TEXT NOT NULL PRIMARY KEY,
    -- 'account:<id>', 'operator' (the operator's token or shell), 'network'.
    actor       TEXT NOT NULL,
    -- Such as 'credits.grant'.
    action      TEXT NOT NULL,
    -- What it was done to, such as 'namespace:<id>'.
    subject     TEXT NOT NULL,
    environment TEXT,
    -- JSON; NULL: there was nothing, or it does not matter.
    before      TEXT,
    after       TEXT,
    reason      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_log_by_subject ON audit_log (subject, id);
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE notifications (
    id          TEXT NOT NULL PRIMARY KEY,
    account     TEXT NOT NULL REFERENCES accounts (id),
    environment TEXT,
    -- Such as 'credits.low' or 'node.penalty'.
    kind        TEXT NOT NULL,
    -- What it is about, such as a namespace's or node's id.
    subject     TEXT NOT NULL,
    message     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    read_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_of_account ON notifications (account, id);
