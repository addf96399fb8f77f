-- The records of a new job are written in pieces, so that cards are made meanwhile. A job exists as soon as it has a row
-- in balance; before that, its rows may be deleted.

DROP TRIGGER job_no_delete;
CREATE TRIGGER job_no_delete BEFORE DELETE ON job WHEN EXISTS (SELECT 1 FROM balance WHERE job = OLD.id)
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
DROP TRIGGER record_no_delete;
CREATE TRIGGER record_no_delete BEFORE DELETE ON record WHEN EXISTS (SELECT 1 FROM balance WHERE job = OLD.job)
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
