-- Chain version 2: typed events, of which the bytes that are hashed stand in one column (src/manual/ledger-events.md). The
-- other columns are copies for the indexes. Events of version 1 stay as they are, and none is added any more.

CREATE TABLE event_v2 (
    n    INTEGER PRIMARY KEY,
    job  INTEGER REFERENCES job (id),
    seq  INTEGER,
    kind INTEGER NOT NULL,
    body BLOB    NOT NULL CHECK (length(body) <= 8192),
    hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX event_v2_card ON event_v2 (job, seq) WHERE seq IS NOT NULL;
-- REJECTED, UNKNOWN, SAMPLE.
CREATE INDEX event_v2_fault ON event_v2 (job) WHERE kind >= 64 AND kind < 80;
-- ACCEPTED to RAN.
CREATE INDEX event_v2_life ON event_v2 (job) WHERE kind < 16;
CREATE INDEX event_v2_shift ON event_v2 (n) WHERE kind = 96;
CREATE TRIGGER event_v2_no_update BEFORE UPDATE ON event_v2
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER event_v2_no_delete BEFORE DELETE ON event_v2
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER event_no_insert BEFORE INSERT ON event
    BEGIN SELECT RAISE(ABORT, 'chain version 1 has ended'); END;

-- The chip of a blank as its event of version 2 has it; key_data beside it is KEYDATA of a GlobalPlatform chip, as before.
ALTER TABLE blank ADD COLUMN chip BLOB;

-- The job's cardholder data is being deleted: in the ledger before the key of its spool goes. What was deleted before this
-- migration went straight to the end.
ALTER TABLE job ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
UPDATE job SET deleting = deleted;
