-- The share of each namespace of a plan against that of others, where jobs wait. Without a plan it is 1.

ALTER TABLE plans ADD COLUMN weight INTEGER NOT NULL DEFAULT 1
    CONSTRAINT plan_weight_bounded CHECK (weight BETWEEN 1 AND 100);
