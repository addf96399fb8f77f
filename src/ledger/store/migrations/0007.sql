-- The records of a new job are written in pieces, so that cards go on meanwhile. The job exists from its balance on;
-- what came of it before may be taken back.

DROP TRIGGER job_no_delete;
CREATE TRIGGER job_no_delete BEFORE DELETE ON job WHEN EXISTS (SELECT 1 FROM balance WHERE job = OLD.id)
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
DROP TRIGGER record_no_delete;
CREATE TRIGGER record_no_delete BEFORE DELETE ON record WHEN EXISTS (SELECT 1 FROM balance WHERE job = OLD.job)
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
