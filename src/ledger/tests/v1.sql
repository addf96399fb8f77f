-- A ledger as version 1 of the schema left it: three cards, one of them rejected. Made by that version.
PRAGMA application_id = 1129794609;
PRAGMA user_version = 1;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
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
INSERT INTO job VALUES(1,'TESTBANK','TESTBANK-1795538157-db9957f2','multiapp',X'83b36053b0fb63af45d7d34af49889be878d31a803e6aa8a8f8cdfceea68ecef',X'476173ff01','sim-8',0,1,'/var/lib/cardwright/ledger.spool/1795538257-19501.cwf1',1795538257421,3,'OPEN');
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
INSERT INTO balance VALUES(1,3,0,0,2,1,0,0,3,0,2,1,0,0,0);
CREATE TABLE record (
    job      INTEGER NOT NULL REFERENCES job (id),
    seq      INTEGER NOT NULL,
    card_ref TEXT    NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state IN ('QUEUED', 'IN_FLIGHT', 'GOOD', 'REMAKE', 'UNKNOWN', 'CANCELLED')),
    released INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO record VALUES(1,1,'C000001','REMAKE',0);
INSERT INTO record VALUES(1,2,'C000002','GOOD',0);
INSERT INTO record VALUES(1,3,'C000003','GOOD',0);
CREATE TABLE blank (
    job      INTEGER NOT NULL REFERENCES job (id),
    number   INTEGER NOT NULL,
    key_data BLOB    CHECK (length(key_data) = 10),
    state    TEXT    NOT NULL CHECK (state IN ('FED', 'BOUND', 'REJECTED', 'RETURNED')),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO blank VALUES(1,1,X'ffffff622800f652c6c2','BOUND');
INSERT INTO blank VALUES(1,2,X'ffffff476173f71054be','BOUND');
INSERT INTO blank VALUES(1,3,X'ffffff476173f6271a09','BOUND');
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
INSERT INTO attempt VALUES(1,1,1,2,'REJECTED',1,NULL,NULL);
INSERT INTO attempt VALUES(1,2,1,1,'STACKED',1,1,'stripe read-back');
INSERT INTO attempt VALUES(1,3,1,3,'STACKED',1,2,'stripe read-back');
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
INSERT INTO event VALUES(1,1795538257421,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ACCEPTED',NULL,'issuer TESTBANK, file TESTBANK-1795538157-db9957f2, product multiapp, 3 records, line sim-8, KEK 476173FF01, SHA-256 83B36053B0FB63AF45D7D34AF49889BE878D31A803E6AA8A8F8CDFCEEA68ECEF',NULL,NULL,NULL,NULL,NULL,1,X'be0075cefd48d12cc4c5585a0751f7831736ae3db5a09b684bf2a507a06adaff');
INSERT INTO event VALUES(2,1795538257445,1,NULL,NULL,NULL,'#1','chip-2','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'e99bbda9a7f40b0a1e89f42dc6f96df7ba4824269ef61425a78147ffb87f98db');
INSERT INTO event VALUES(3,1795538257445,1,NULL,NULL,NULL,'#2','chip-1','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'697cd140482c37649c5768e5f50ed384fe0219ab4abf40f29e87d7b27f86a34e');
INSERT INTO event VALUES(4,1795538257446,1,2,'C000002',1,'F652C6C2','chip-2','chip','QUEUED','BOUND',NULL,'blank #1',NULL,NULL,NULL,NULL,'line',1,X'95cb31c401f63ace664e8722d301bf558024c63f5e642881f46950cf8266347b');
INSERT INTO event VALUES(5,1795538257446,1,1,'C000001',1,'F71054BE','chip-1','chip','QUEUED','BOUND',NULL,'blank #2',NULL,NULL,NULL,NULL,'line',1,X'33012abce00131d26d5d374653b9a4d01b411f20beb06e0868d54721741a0c0a');
INSERT INTO event VALUES(6,1795538257446,1,NULL,NULL,NULL,'#3','chip-3','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'a1f0f2919d6530c6e6988d3a61b9e0156ae99d66b816a00de17bb3c9b93640e6');
INSERT INTO event VALUES(7,1795538257446,1,3,'C000003',1,'F6271A09','chip-3','chip','QUEUED','BOUND',NULL,'blank #3',NULL,NULL,NULL,NULL,'line',1,X'57c3b4a773fec8a5c27686534d70cc2f8829db14f698a6145c87645cbf1fb3bd');
INSERT INTO event VALUES(8,1795538257446,1,2,'C000002',1,'F652C6C2','chip-2','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'48b6b08bb9be4a8a0fb094bb6db4084ed36c7762d5a21116dd8aa47cf50e88c5');
INSERT INTO event VALUES(9,1795538257446,1,1,'C000001',1,'F71054BE','chip-1','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'97c1cb599608ab0c67841ee6759b36724fae45e336f6684dcace5d10d92e66da');
INSERT INTO event VALUES(10,1795538257446,1,3,'C000003',1,'F6271A09','chip-3','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'53890a60620c5d35ff51f9de433bf92da34350631497739dde1edae2cc25669c');
INSERT INTO event VALUES(11,1795538257448,1,1,'C000001',1,'F71054BE','chip-1','chip','PERSONALIZING','REJECTED','sw-6A84','card: not enough memory in the card; if a second card says so too, check the product (6A84 to STORE DATA)','84E20001','6A84',NULL,3,'line',1,X'3aa34f0d914b6f65de528bd1085291b63f5c73db4497cda24a9b6c7ad7de1920');
INSERT INTO event VALUES(12,1795538257469,1,2,'C000002',1,'F652C6C2','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,0,'line',1,X'bbd98b38ad7e17e691c85ca3e4031fe2ffffea4f0d1862e24b1f6b016df5535b');
INSERT INTO event VALUES(13,1795538257469,1,2,'C000002',1,'F652C6C2','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'1aaa3d4b3a25537784d58f6cfe74f10307dbbb7fbf5d38a7b638c187e7a59a47');
INSERT INTO event VALUES(14,1795538257473,1,2,'C000002',1,'F652C6C2','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,1,NULL,'line',1,X'4247819bce8676c613fdc7fe63d8607083893ed141c9930c6b9655ba12136a00');
INSERT INTO event VALUES(15,1795538257491,1,3,'C000003',1,'F6271A09','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,0,'line',1,X'34e9c2020dc286454dd392b51b2098d8a5cf36a655b20f7019be3825dbedeb59');
INSERT INTO event VALUES(16,1795538257491,1,3,'C000003',1,'F6271A09','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'40527e733085c5578a65c4b7d545e44e2fdc8e63b7fe9241227fb19de85361e3');
INSERT INTO event VALUES(17,1795538257492,1,3,'C000003',1,'F6271A09','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,2,NULL,'line',1,X'bffd3443924d4afe0f586b972edaf6fc3c5b25dcba70bc2d0f97e9e811ca9794');
CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    n    INTEGER NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO head VALUES(1,17,X'bffd3443924d4afe0f586b972edaf6fc3c5b25dcba70bc2d0f97e9e811ca9794');
CREATE UNIQUE INDEX record_card_ref ON record (card_ref, job);
CREATE UNIQUE INDEX attempt_position ON attempt (job, position) WHERE position IS NOT NULL;
CREATE INDEX event_card ON event (job, seq) WHERE seq IS NOT NULL;
CREATE INDEX event_fault ON event (job) WHERE to_state IN ('REJECTED', 'UNKNOWN');
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
COMMIT;
