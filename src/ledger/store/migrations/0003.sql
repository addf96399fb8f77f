-- A ledger has a name of its own, by which the HSM knows how far it had come; and signed places of its chain. A checkpoint
-- is proof by itself (see src/audit.rs), so it stands outside the chain.

CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB    NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO ledger (one, id) VALUES (1, randomblob(16));

CREATE TABLE checkpoint (
    n          INTEGER PRIMARY KEY,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    generation INTEGER NOT NULL,
    key        BLOB    NOT NULL CHECK (length(key) = 32),
    signature  BLOB    NOT NULL CHECK (length(signature) = 64),
    ts         INTEGER NOT NULL
) STRICT;

-- Why a job is held, without walking all its events.
CREATE INDEX event_job ON event (job, n) WHERE seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED');

CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger keeps its name'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger keeps its name'); END;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
