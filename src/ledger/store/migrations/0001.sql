-- The event table is the truth: append-only, hash-chained (see chain.rs). The other tables say what the events add up
-- to and are written in the same transaction. Nothing is ever deleted.

CREATE TABLE job (
    id               INTEGER PRIMARY KEY,
    issuer_id        TEXT    NOT NULL,
    file_id          TEXT    NOT NULL,
    product          TEXT    NOT NULL,
    digest           BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    kek              BLOB    NOT NULL CHECK (length(kek) = 5),
    line             TEXT    NOT NULL,
    rejects_shredded INTEGER NOT NULL,
    simulated        INTEGER NOT NULL,
    spool            TEXT    NOT NULL,
    accepted         INTEGER NOT NULL,
    records          INTEGER NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('OPEN', 'HELD', 'CLOSED')),
    UNIQUE (issuer_id, file_id)
) STRICT;

-- Both balances of DESIGN.md section 6, kept with every change; the tables below give the same numbers by counting.
CREATE TABLE balance (
    job             INTEGER PRIMARY KEY REFERENCES job (id),
    records         INTEGER NOT NULL,
    queued          INTEGER NOT NULL,
    in_flight       INTEGER NOT NULL,
    good            INTEGER NOT NULL,
    remake          INTEGER NOT NULL,
    unknown         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    blanks_fed      INTEGER NOT NULL,
    blanks_in_line  INTEGER NOT NULL,
    blanks_good     INTEGER NOT NULL,
    blanks_rejected INTEGER NOT NULL,
    blanks_unknown  INTEGER NOT NULL,
    blanks_returned INTEGER NOT NULL,
    blanks_sample   INTEGER NOT NULL
) STRICT;

CREATE TABLE record (
    job      INTEGER NOT NULL REFERENCES job (id),
    seq      INTEGER NOT NULL,
    card_ref TEXT    NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state IN ('QUEUED', 'IN_FLIGHT', 'GOOD', 'REMAKE', 'UNKNOWN', 'CANCELLED')),
    released INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX record_card_ref ON record (card_ref, job);

CREATE TABLE blank (
    job      INTEGER NOT NULL REFERENCES job (id),
    number   INTEGER NOT NULL,
    key_data BLOB    CHECK (length(key_data) = 10),
    state    TEXT    NOT NULL CHECK (state IN ('FED', 'BOUND', 'REJECTED', 'RETURNED')),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    job      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    blank    INTEGER NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state IN ('BOUND', 'PERSONALIZING', 'WRITTEN', 'VERIFIED', 'STACKED', 'REJECTED', 'UNKNOWN',
                              'DESTROYED', 'GOOD')),
    wrote    INTEGER NOT NULL,
    position INTEGER,
    compared TEXT,
    PRIMARY KEY (job, seq, number),
    UNIQUE (job, blank),
    FOREIGN KEY (job, seq) REFERENCES record (job, seq),
    FOREIGN KEY (job, blank) REFERENCES blank (job, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempt_position ON attempt (job, position) WHERE position IS NOT NULL;

CREATE TABLE event (
    n          INTEGER PRIMARY KEY,
    ts         INTEGER NOT NULL,
    job        INTEGER NOT NULL REFERENCES job (id),
    seq        INTEGER,
    card_ref   TEXT,
    attempt    INTEGER,
    blank      TEXT,
    station    TEXT,
    module     TEXT,
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    reason     TEXT,
    detail     TEXT,
    header     TEXT,
    sw         TEXT,
    position   INTEGER,
    ms         INTEGER,
    actor      TEXT,
    simulated  INTEGER NOT NULL,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX event_card ON event (job, seq) WHERE seq IS NOT NULL;
CREATE INDEX event_fault ON event (job) WHERE to_state IN ('REJECTED', 'UNKNOWN');

-- The end of the chain: shows events cut off the end.
CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    n    INTEGER NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO head (one, n, hash) VALUES (1, 0, zeroblob(32));

CREATE TRIGGER event_no_update BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER job_no_delete BEFORE DELETE ON job
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER balance_no_delete BEFORE DELETE ON balance
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER record_no_delete BEFORE DELETE ON record
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER blank_no_delete BEFORE DELETE ON blank
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER attempt_no_delete BEFORE DELETE ON attempt
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER head_no_delete BEFORE DELETE ON head
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
