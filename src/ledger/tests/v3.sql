-- A ledger as version 3 of the schema left it: a job with a card to be made again, and a signed checkpoint.
PRAGMA application_id = 1129794609;
PRAGMA user_version = 3;
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
    state            TEXT    NOT NULL CHECK (state IN ('OPEN', 'HELD', 'CLOSED')), test_keys INTEGER NOT NULL DEFAULT 1,
    UNIQUE (issuer_id, file_id)
) STRICT;
INSERT INTO job VALUES(1,'TESTBANK','TESTBANK-1795561797-c189c7e5','multiapp',X'a5b6b72cc894b642440de20df77aa9897eb493dd00394e4fde88fec7979514f2',X'476173ff01','sim-8',0,1,'/spool/F',1795561797742,5,'OPEN',1);
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
INSERT INTO balance VALUES(1,5,0,0,4,1,0,0,5,0,4,1,0,0,0);
CREATE TABLE record (
    job      INTEGER NOT NULL REFERENCES job (id),
    seq      INTEGER NOT NULL,
    card_ref TEXT    NOT NULL,
    state    TEXT    NOT NULL
             CHECK (state IN ('QUEUED', 'IN_FLIGHT', 'GOOD', 'REMAKE', 'UNKNOWN', 'CANCELLED')),
    released INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO record VALUES(1,1,'C000001','GOOD',0);
INSERT INTO record VALUES(1,2,'C000002','GOOD',0);
INSERT INTO record VALUES(1,3,'C000003','GOOD',0);
INSERT INTO record VALUES(1,4,'C000004','REMAKE',0);
INSERT INTO record VALUES(1,5,'C000005','GOOD',0);
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
INSERT INTO blank VALUES(1,4,X'ffffff476173befee995','BOUND');
INSERT INTO blank VALUES(1,5,X'ffffff47617398ca974b','BOUND');
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
INSERT INTO attempt VALUES(1,1,1,1,'STACKED',1,1,'emboss = stripe = chip, chip read-back, stripe read-back');
INSERT INTO attempt VALUES(1,2,1,4,'STACKED',1,2,'emboss = stripe = chip, chip read-back, stripe read-back');
INSERT INTO attempt VALUES(1,3,1,2,'STACKED',1,3,'emboss = stripe = chip, chip read-back, stripe read-back');
INSERT INTO attempt VALUES(1,4,1,3,'REJECTED',1,NULL,NULL);
INSERT INTO attempt VALUES(1,5,1,5,'STACKED',1,4,'emboss = stripe = chip, chip read-back, stripe read-back');
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
INSERT INTO event VALUES(1,1795561797742,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ACCEPTED',NULL,'issuer TESTBANK, file TESTBANK-1795561797-c189c7e5, product multiapp, 5 records, line sim-8, KEK 476173FF01, SHA-256 A5B6B72CC894B642440DE20DF77AA9897EB493DD00394E4FDE88FEC7979514F2',NULL,NULL,NULL,NULL,NULL,1,X'31accd9649e50f619cadcb57e5025d1fed9511ef68973bbfcf0f91d7b27c18dd');
INSERT INTO event VALUES(2,1795561797802,1,NULL,NULL,NULL,'#1','chip-1','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'785914e426070f05dea43fd01aa59516e8495772e0fe5971c3595700606adb0c');
INSERT INTO event VALUES(3,1795561797803,1,1,'C000001',1,'F652C6C2','chip-1','chip','QUEUED','BOUND',NULL,'blank #1',NULL,NULL,NULL,NULL,'line',1,X'34c926f7ae27f505624a4ed04e7ac0f853304986130224085d26d58156873885');
INSERT INTO event VALUES(4,1795561797803,1,NULL,NULL,NULL,'#2','chip-3','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'd12eb5acc91ff78a765260f4ef4623f6df86972c55f6382b40cf4665c6958235');
INSERT INTO event VALUES(5,1795561797803,1,NULL,NULL,NULL,'#3','chip-4','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'aa9e39248817e50cde9ac1a574787591635886f65f24be2950b2b24a107d1789');
INSERT INTO event VALUES(6,1795561797803,1,NULL,NULL,NULL,'#4','chip-2','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'f20d58af31a5a385999b66f5bd965ad16634ecd2d4aa2e246d21dd94c3cf7d6b');
INSERT INTO event VALUES(7,1795561797803,1,NULL,NULL,NULL,'#5','chip-5','chip',NULL,'FED',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'3c5d198ab294a177a6096aa3cc413d40dda54c6edf17f903bd059a0e0df00ce3');
INSERT INTO event VALUES(8,1795561797803,1,4,'C000004',1,'F6271A09','chip-4','chip','QUEUED','BOUND',NULL,'blank #3',NULL,NULL,NULL,NULL,'line',1,X'b52fd85aa417eafb9669b43ec366626dea7220f083c71ced5c332a2251c30225');
INSERT INTO event VALUES(9,1795561797803,1,5,'C000005',1,'98CA974B','chip-5','chip','QUEUED','BOUND',NULL,'blank #5',NULL,NULL,NULL,NULL,'line',1,X'3e3894f20ef357cad9658a8aa7ba999c133fabbb5be8fb4146d349456e75c400');
INSERT INTO event VALUES(10,1795561797803,1,2,'C000002',1,'BEFEE995','chip-2','chip','QUEUED','BOUND',NULL,'blank #4',NULL,NULL,NULL,NULL,'line',1,X'6b8d7abfcf98810fedf9dc9c5b9a6b59b015f5011fef622e0d9bd303e417efa7');
INSERT INTO event VALUES(11,1795561797804,1,3,'C000003',1,'F71054BE','chip-3','chip','QUEUED','BOUND',NULL,'blank #2',NULL,NULL,NULL,NULL,'line',1,X'cc6cb56891e204c0a917b3fc83459a55402fa745f6f519e5ac35294a2ffc9a7c');
INSERT INTO event VALUES(12,1795561797814,1,4,'C000004',1,'F6271A09','chip-4','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'e74cd33378c0073491c4000c50d8f0576ad114e9d6de322d53c2ad95289cb582');
INSERT INTO event VALUES(13,1795561797814,1,2,'C000002',1,'BEFEE995','chip-2','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'f0fbfdc9cb37bf7098ecfc36b96f27ea391e44e02909791a359c3e13c5f01b9d');
INSERT INTO event VALUES(14,1795561797814,1,5,'C000005',1,'98CA974B','chip-5','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'f8c4648f4d1e7eddbdaac460b56d7471c1cfb7937482ca983c3ed5e930b52a67');
INSERT INTO event VALUES(15,1795561797814,1,1,'C000001',1,'F652C6C2','chip-1','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'384380fd68c641558eabb1da36b329e66cbe2f9f3e89acd5012278f1f2359ec4');
INSERT INTO event VALUES(16,1795561797817,1,3,'C000003',1,'F71054BE','chip-3','chip','BOUND','PERSONALIZING',NULL,NULL,NULL,NULL,NULL,NULL,'line',1,X'a691b2f8925cc414e21b932b44153e07d39805690718e26c1db482b63fdd7eaa');
INSERT INTO event VALUES(17,1795561797938,1,1,'C000001',1,'F652C6C2','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,0,'line',1,X'45d6b6c833febe76abcd1562b158499cca7779dd78d8cfa08f648e5bfaef7ca8');
INSERT INTO event VALUES(18,1795561797938,1,1,'C000001',1,'F652C6C2','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'emboss = stripe = chip, chip read-back, stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'0a17565fe09e14bf083037cbedc91eb69ce1771e6861f56d16cd12540e95cb02');
INSERT INTO event VALUES(19,1795561797957,1,1,'C000001',1,'F652C6C2','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,1,NULL,'line',1,X'4ef7588ee95cd28f809a8b898edef237194efdf1e798aa48a0328a83062222c4');
INSERT INTO event VALUES(20,1795561797970,1,2,'C000002',1,'BEFEE995','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,0,'line',1,X'd43127d1da84750c5b9a5920a37ea332a8c39d578dae6ba405d4d34f39227a1b');
INSERT INTO event VALUES(21,1795561797970,1,2,'C000002',1,'BEFEE995','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'emboss = stripe = chip, chip read-back, stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'56fb87c0f4d838f92e90cdbdf4f9cf78f3b5dea530a96a532f269243ae73be67');
INSERT INTO event VALUES(22,1795561797986,1,2,'C000002',1,'BEFEE995','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,2,NULL,'line',1,X'97056350cb8107819f96b107eaecfad53c9e2bf28ef245d31d6c7f7055ea7b8c');
INSERT INTO event VALUES(23,1795561797986,1,4,'C000004',1,'F6271A09','stripe-1','stripe','PERSONALIZING','REJECTED','stripe-read-back','card: the stripe reads otherwise than it was written; check coercivity and head if it happens again',NULL,NULL,NULL,2,'line',1,X'0ee10dd386c754752fdb9b2313386870250c7f965775262a9ef429240e220b69');
INSERT INTO event VALUES(24,1795561798009,1,3,'C000003',1,'F71054BE','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,7,'line',1,X'e018be0671902ecf24cc39bfb6d146567cc8dd654f72602a05b0199a6a8c69ef');
INSERT INTO event VALUES(25,1795561798009,1,3,'C000003',1,'F71054BE','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'emboss = stripe = chip, chip read-back, stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'a9a27d9a466be41a9b93f5960f423c35b70bdd94a13bc41a6faa980f2051f503');
INSERT INTO event VALUES(26,1795561798020,1,3,'C000003',1,'F71054BE','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,3,NULL,'line',1,X'8cbc17f0fed1242fdfc800cd049e28b89feb2339be33752cfbf1842cd96d2db2');
INSERT INTO event VALUES(27,1795561798065,1,5,'C000005',1,'98CA974B','embosser-1','embosser','PERSONALIZING','WRITTEN',NULL,NULL,NULL,NULL,NULL,5,'line',1,X'a9b30ffeaafc78b4110950df6b6482eb7ef533c9cd958d3204afcba5e2ad5393');
INSERT INTO event VALUES(28,1795561798065,1,5,'C000005',1,'98CA974B','embosser-1','embosser','WRITTEN','VERIFIED',NULL,'emboss = stripe = chip, chip read-back, stripe read-back',NULL,NULL,NULL,NULL,'line',1,X'54f47d6a403803673e9f7cb9d0f2cd679b544afebc44c7ae08ad2e2ba58b3b9b');
INSERT INTO event VALUES(29,1795561798066,1,5,'C000005',1,'98CA974B','output','output','VERIFIED','STACKED',NULL,NULL,NULL,NULL,4,NULL,'line',1,X'450ea52a0a7471573ac8eae560be2ffe26bf335c88c6021be3f96ab8944ab4e1');
CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    n    INTEGER NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO head VALUES(1,29,X'450ea52a0a7471573ac8eae560be2ffe26bf335c88c6021be3f96ab8944ab4e1');
CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB    NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO ledger VALUES(1,X'38987f7bc998e4fec442bae5d4e26a91');
CREATE TABLE checkpoint (
    n          INTEGER PRIMARY KEY,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    generation INTEGER NOT NULL,
    key        BLOB    NOT NULL CHECK (length(key) = 32),
    signature  BLOB    NOT NULL CHECK (length(signature) = 64),
    ts         INTEGER NOT NULL
) STRICT;
INSERT INTO checkpoint VALUES(29,X'450ea52a0a7471573ac8eae560be2ffe26bf335c88c6021be3f96ab8944ab4e1',2,X'910a38cd723dead46a3f46587f253be4c47d684c4b6ff654e052deb56ffedb2e',X'964693dc00edfbd3e6248bdc7d74b85724617989a738415f04876fa046d1bda3a79ba9a77bc4feafc226a5553bfb90c161102fa4ee6d7067b870108482647c0f',1795561798066);
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
CREATE INDEX event_job ON event (job, n) WHERE seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED');
CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger keeps its name'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger keeps its name'); END;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
COMMIT;
