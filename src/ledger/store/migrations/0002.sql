-- Real devices can be tried with TEST keys. Until now every job was simulated, and with TEST keys.

ALTER TABLE job ADD COLUMN test_keys INTEGER NOT NULL DEFAULT 1;
