-- Spools are sealed, each with a key of its own, which the HSM has; jobs from before have none. When a closed job's cardholder
-- data were deleted, its key is gone.

ALTER TABLE job ADD COLUMN spool_key BLOB CHECK (length(spool_key) = 16);
ALTER TABLE job ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;

DROP INDEX event_job;
CREATE INDEX event_job ON event (job, n) WHERE seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED');
