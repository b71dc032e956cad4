-- Added with retention: what is kept of requests and answers, by namespace.

-- 'metadata': hashes and counts, and texts where a request asks for that. 'full': every text, for so many days.
ALTER TABLE namespaces ADD COLUMN retention TEXT NOT NULL DEFAULT 'metadata'
    CONSTRAINT namespace_retention_known CHECK (retention = 'none' OR retention = 'metadata' OR retention = 'full');
ALTER TABLE namespaces ADD COLUMN retention_days INTEGER NOT NULL DEFAULT 30
    CONSTRAINT namespace_retention_days_in_range CHECK (retention_days BETWEEN 1 AND 365);
-- The bytes of its payloads and of its batches' outcomes, kept right by the triggers below.
ALTER TABLE namespaces ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;

ALTER TABLE payloads ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
-- Until when whoever asked wants it kept, whatever its namespace says: never after `expires_at`, unless the namespace wants less.
ALTER TABLE payloads ADD COLUMN asked_until INTEGER NOT NULL DEFAULT 0;
UPDATE payloads SET asked_until = expires_at,
    namespace = coalesce((SELECT jobs.namespace FROM jobs WHERE jobs.id = payloads.job), '');
CREATE INDEX payloads_of_namespace ON payloads (namespace);

UPDATE namespaces SET kept_bytes =
    coalesce((SELECT sum(octet_length(request) + octet_length(work) + coalesce(octet_length(answer), 0))
              FROM payloads WHERE payloads.namespace = namespaces.id), 0)
    + coalesce((SELECT sum(octet_length(text)) FROM batch_lines JOIN batches ON batches.id = batch_lines.batch
                WHERE batches.namespace = namespaces.id), 0);

CREATE TRIGGER payloads_count_when_kept AFTER INSERT ON payloads
BEGIN
    UPDATE namespaces SET kept_bytes = kept_bytes + octet_length(NEW.request) + octet_length(NEW.work)
        + coalesce(octet_length(NEW.answer), 0)
    WHERE id = NEW.namespace;
END;
CREATE TRIGGER payloads_count_when_changed AFTER UPDATE OF request, work, answer ON payloads
BEGIN
    UPDATE namespaces SET kept_bytes = kept_bytes + octet_length(NEW.request) + octet_length(NEW.work)
        + coalesce(octet_length(NEW.answer), 0) - octet_length(OLD.request) - octet_length(OLD.work)
        - coalesce(octet_length(OLD.answer), 0)
    WHERE id = NEW.namespace;
END;
CREATE TRIGGER payloads_count_when_gone AFTER DELETE ON payloads
BEGIN
    UPDATE namespaces SET kept_bytes = kept_bytes - octet_length(OLD.request) - octet_length(OLD.work)
        - coalesce(octet_length(OLD.answer), 0)
    WHERE id = OLD.namespace;
END;
CREATE TRIGGER batch_lines_count_when_kept AFTER INSERT ON batch_lines
BEGIN
    UPDATE namespaces SET kept_bytes = kept_bytes + octet_length(NEW.text)
    WHERE id = (SELECT namespace FROM batches WHERE batches.id = NEW.batch);
END;
CREATE TRIGGER batch_lines_count_when_gone AFTER DELETE ON batch_lines
BEGIN
    UPDATE namespaces SET kept_bytes = kept_bytes - octet_length(OLD.text)
    WHERE id = (SELECT namespace FROM batches WHERE batches.id = OLD.batch);
END;

-- Namespaces whose retention was changed, until all that they keep was looked at: up to which row of payloads that was done.
CREATE TABLE retention_sweeps (
    namespace TEXT NOT NULL PRIMARY KEY REFERENCES namespaces (id),
    swept     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
