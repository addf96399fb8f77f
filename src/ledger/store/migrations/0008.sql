-- A checkpoint holds the hash of the one before and the HSM's own time (src/audit/checkpoint.rs). Rows of earlier versions have
-- neither. From this schema on, DELETING may name the key of a spool (src/manual/ledger-events.md).

ALTER TABLE checkpoint ADD COLUMN epoch INTEGER;
ALTER TABLE checkpoint ADD COLUMN time INTEGER;
ALTER TABLE checkpoint ADD COLUMN before BLOB CHECK (length(before) = 32);
