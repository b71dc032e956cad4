-- Added with the Gate API: namespaces and API keys as their owners manage them.

-- One that is deleted keeps its row, since jobs and ledger entries name it, and gives its name free:
-- `<name> (<id>)` is a name that nobody can give.
ALTER TABLE namespaces ADD COLUMN deleted_at INTEGER;

-- By what its owner recognises a key: the prefix and the last characters of its secret; '': not known.
ALTER TABLE keys ADD COLUMN hint TEXT NOT NULL DEFAULT '';
-- The secret before the current one, and until when it works.
ALTER TABLE keys ADD COLUMN previous_hash BLOB;
ALTER TABLE keys ADD COLUMN previous_until INTEGER;
-- A JSON array of addresses and networks; NULL: all.
ALTER TABLE keys ADD COLUMN ip_addresses TEXT;
-- Whether its own rates count only below those that the network allows each key: its owner set them, not an operator.
ALTER TABLE keys ADD COLUMN rates_capped INTEGER NOT NULL DEFAULT 0;
-- Since when `spent` is counted; NULL: since it was made. Jobs that had not ended at that time are in it.
ALTER TABLE keys ADD COLUMN limited_at INTEGER;

CREATE INDEX keys_of_namespace ON keys (namespace, id);
CREATE INDEX keys_by_previous_hash ON keys (previous_hash) WHERE previous_hash IS NOT NULL;
