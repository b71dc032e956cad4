-- Added with the Status API: contribution points by week.

-- What each node earned in each week (from Monday 00:00 UTC; week 0 began on 5 January 1970). The sums of `points`, kept with
-- every settlement.
CREATE TABLE epoch_points (
    environment TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    node        TEXT NOT NULL,
    points      INTEGER NOT NULL,
    PRIMARY KEY (environment, epoch, node),
    CONSTRAINT epoch_points_not_negative CHECK (points >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO epoch_points (environment, epoch, node, points)
SELECT environment, max(0, (created_at / 1000 - 345600) / 604800) AS epoch, node, sum(points)
FROM points GROUP BY environment, epoch, node;

-- Weeks whose points are fixed.
CREATE TABLE epochs (
    environment TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    points      INTEGER NOT NULL,
    nodes       INTEGER NOT NULL,
    -- SHA-256 over a line `<node> <points>` for each node, in the order of their ids.
    root        BLOB NOT NULL,
    closed_at   INTEGER NOT NULL,
    PRIMARY KEY (environment, epoch)
) STRICT, WITHOUT ROWID;
