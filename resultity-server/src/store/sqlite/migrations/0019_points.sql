-- Contribution points are what a receipt's tokens come to: their sums are in `epoch_points`, and a row for each job beside its
-- receipt said the same a second time.
DROP TABLE points;
