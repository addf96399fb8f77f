-- The same states, said so that SQLite compares them one by one: for `IN` with more than two values it builds a temporary table
-- with every row that is written. SQLite changes no CHECK in place, so three tables are made anew with what stands in them.

CREATE TABLE attempt_before AS SELECT * FROM attempt;
DROP TABLE attempt;

CREATE TABLE record_now (
    job      INTEGER NOT NULL REFERENCES job (id),
    seq      INTEGER NOT NULL,
    card_ref TEXT    NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state = 'QUEUED' OR state = 'IN_FLIGHT' OR state = 'GOOD' OR state = 'REMAKE' OR state = 'UNKNOWN' OR
                    state = 'CANCELLED'),
    released INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO record_now SELECT job, seq, card_ref, state, released FROM record;
DROP TABLE record;
ALTER TABLE record_now RENAME TO record;
CREATE UNIQUE INDEX record_card_ref ON record (card_ref, job);

CREATE TABLE blank_now (
    job      INTEGER NOT NULL REFERENCES job (id),
    number   INTEGER NOT NULL,
    key_data BLOB    CHECK (length(key_data) = 10),
    state    TEXT    NOT NULL
             CHECK (state = 'FED' OR state = 'BOUND' OR state = 'REJECTED' OR state = 'RETURNED' OR state = 'TEST'),
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
             CHECK (state = 'BOUND' OR state = 'PERSONALIZING' OR state = 'WRITTEN' OR state = 'VERIFIED' OR
                    state = 'STACKED' OR state = 'REJECTED' OR state = 'UNKNOWN' OR state = 'DESTROYED' OR
                    state = 'GOOD' OR state = 'SAMPLE'),
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

CREATE TRIGGER record_no_delete BEFORE DELETE ON record
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER blank_no_delete BEFORE DELETE ON blank
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER attempt_no_delete BEFORE DELETE ON attempt
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
