-- Stock and shifts; sample and test cards. SQLite changes no CHECK and no NOT NULL in place, so three tables are made anew
-- with what stands in them: a shift is an event of no job, an event may tell a number of blanks, and there are two states
-- more.

CREATE TABLE stock (
    job      INTEGER PRIMARY KEY REFERENCES job (id),
    issued   INTEGER NOT NULL,
    returned INTEGER NOT NULL,
    vaulted  INTEGER NOT NULL
) STRICT;
CREATE TRIGGER stock_no_delete BEFORE DELETE ON stock
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;

CREATE TABLE attempt_before AS SELECT * FROM attempt;
DROP TABLE attempt;
CREATE TABLE blank_now (
    job      INTEGER NOT NULL REFERENCES job (id),
    number   INTEGER NOT NULL,
    key_data BLOB    CHECK (length(key_data) = 10),
    state    TEXT    NOT NULL CHECK (state IN ('FED', 'BOUND', 'REJECTED', 'RETURNED', 'TEST')),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO blank_now SELECT job, number, key_data, state FROM blank;
DROP TABLE blank;
ALTER TABLE blank_now RENAME TO blank;
CREATE TABLE attempt (
    job      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    blank    INTEGER NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state IN ('BOUND', 'PERSONALIZING', 'WRITTEN', 'VERIFIED', 'STACKED', 'REJECTED', 'UNKNOWN',
                              'DESTROYED', 'GOOD', 'SAMPLE')),
    wrote    INTEGER NOT NULL,
    position INTEGER,
    compared TEXT,
    PRIMARY KEY (job, seq, number),
    UNIQUE (job, blank),
    FOREIGN KEY (job, seq) REFERENCES record (job, seq),
    FOREIGN KEY (job, blank) REFERENCES blank (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt SELECT job, seq, number, blank, state, wrote, position, compared FROM attempt_before;
DROP TABLE attempt_before;
CREATE UNIQUE INDEX attempt_position ON attempt (job, position) WHERE position IS NOT NULL;
CREATE TRIGGER blank_no_delete BEFORE DELETE ON blank
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER attempt_no_delete BEFORE DELETE ON attempt
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;

CREATE TABLE event_now (
    n          INTEGER PRIMARY KEY,
    ts         INTEGER NOT NULL,
    job        INTEGER REFERENCES job (id) CHECK (job IS NOT NULL OR to_state = 'SHIFT'),
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
    count      INTEGER,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO event_now SELECT n, ts, job, seq, card_ref, attempt, blank, station, module, from_state, to_state, reason,
    detail, header, sw, position, ms, actor, simulated, NULL, hash FROM event;
DROP TABLE event;
ALTER TABLE event_now RENAME TO event;
CREATE INDEX event_card ON event (job, seq) WHERE seq IS NOT NULL;
CREATE INDEX event_fault ON event (job) WHERE to_state IN ('REJECTED', 'UNKNOWN', 'SAMPLE');
CREATE INDEX event_job ON event (job, n) WHERE seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED', 'RAN');
CREATE INDEX event_shift ON event (n) WHERE to_state = 'SHIFT';
CREATE TRIGGER event_no_update BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Spools are sealed, each with a key of its own, which the HSM has; jobs from before have none. When a closed job's cardholder
-- data were deleted, its key is gone.

ALTER TABLE job ADD COLUMN spool_key BLOB CHECK (length(spool_key) = 16);
ALTER TABLE job ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
