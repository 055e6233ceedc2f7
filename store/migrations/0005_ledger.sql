-- The ledger becomes a log that can be proved (decision 0022). Every entry has a
-- place, n, from 0 and without gaps, which is that of its leaf in a Merkle tree;
-- postings are of resources as well as of money. What is there is carried over by
-- store/carry.go in the same transaction: SQL has no SHA-256.

ALTER TABLE ledger_postings RENAME TO old_postings;
ALTER TABLE ledger_entries RENAME TO old_entries;
ALTER TABLE meter_cursors RENAME TO old_cursors;
DROP TRIGGER ledger_postings_no_update;
DROP TRIGGER ledger_postings_no_delete;
DROP TRIGGER ledger_entries_no_update;
DROP TRIGGER ledger_entries_no_delete;
DROP TRIGGER meter_cursors_forward;
DROP TRIGGER meter_cursors_no_delete;
DROP INDEX ledger_postings_account;
DROP INDEX ledger_entries_time;
DROP INDEX meter_cursors_open;

-- How far the charge of a task for a SKU has been posted. rate, price_list and what
-- begins with segment are of the time at one rate in which it stands.
CREATE TABLE meter_cursors (
    task           TEXT    NOT NULL CHECK (length(task) = 32),
    sku            TEXT    NOT NULL,
    arn            TEXT    NOT NULL,
    size           INTEGER NOT NULL CHECK (size > 0),
    start_at       INTEGER NOT NULL,
    rate           INTEGER NOT NULL CHECK (rate >= 0),
    price_list     TEXT    NOT NULL,
    segment_at     INTEGER NOT NULL,
    segment_amount INTEGER NOT NULL CHECK (segment_amount >= 0),
    seq            INTEGER NOT NULL CHECK (seq >= 0),
    billed_to      INTEGER NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount >= segment_amount),
    measured_at    INTEGER NOT NULL CHECK (measured_at >= start_at),
    closed         INTEGER NOT NULL CHECK (closed IN (0, 1)),
    end_at         INTEGER NOT NULL,
    PRIMARY KEY (task, sku),
    CHECK (segment_at >= start_at AND billed_to >= segment_at),
    CHECK (closed = (end_at <> 0))
) STRICT, WITHOUT ROWID;

INSERT INTO meter_cursors SELECT task, sku, arn, size, start_at, rate, price_list, start_at, amount, seq, billed_to, amount,
    billed_to, closed, end_at FROM old_cursors;

CREATE INDEX meter_cursors_open ON meter_cursors (task) WHERE closed = 0;

CREATE TRIGGER meter_cursors_forward BEFORE UPDATE ON meter_cursors
WHEN OLD.closed = 1 OR NEW.seq < OLD.seq OR NEW.task <> OLD.task OR NEW.sku <> OLD.sku OR NEW.arn <> OLD.arn
     OR NEW.size <> OLD.size OR NEW.start_at <> OLD.start_at
     OR (NEW.seq = OLD.seq AND (NEW.rate <> OLD.rate OR NEW.price_list <> OLD.price_list OR NEW.billed_to <> OLD.billed_to))
BEGIN SELECT RAISE(ABORT, 'a cursor only moves forward, and not after it was closed'); END;

CREATE TRIGGER meter_cursors_no_delete BEFORE DELETE ON meter_cursors
BEGIN SELECT RAISE(ABORT, 'a cursor is for ever'); END;

-- used is NULL in entries that were made before it was measured, and in what takes
-- one of these back.
CREATE TABLE ledger_entries (
    n           INTEGER PRIMARY KEY CHECK (n >= 0),
    id          TEXT    NOT NULL UNIQUE CHECK (length(id) = 32),
    task        TEXT    NOT NULL,
    account     TEXT    NOT NULL,
    sku         TEXT    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq <> 0),
    kind        TEXT    NOT NULL CHECK (kind IN ('METER', 'SECOND_ROUNDUP', 'MINIMUM_TOPUP', 'CORRECTION', 'REVERSAL')),
    from_at     INTEGER NOT NULL,
    to_at       INTEGER NOT NULL,
    units       INTEGER NOT NULL,
    rate        INTEGER NOT NULL,
    price_list  TEXT    NOT NULL,
    amount      INTEGER NOT NULL,
    booked_at   INTEGER NOT NULL,
    used        INTEGER,
    measured_at INTEGER NOT NULL,
    ref         TEXT    REFERENCES ledger_entries (id),
    reason      TEXT    NOT NULL,
    hash        BLOB    NOT NULL CHECK (length(hash) = 32), -- of billing.Entry's body, as a leaf
    FOREIGN KEY (task, sku) REFERENCES meter_cursors (task, sku),
    UNIQUE (task, sku, seq),
    CHECK (kind = 'REVERSAL' OR (kind = 'CORRECTION') = (to_at < from_at)),
    CHECK (to_at <> from_at),
    CHECK ((kind = 'REVERSAL') = (ref IS NOT NULL)),
    CHECK ((kind = 'REVERSAL') = (seq < 0)),
    CHECK (kind = 'REVERSAL' OR reason = '')
) STRICT;

CREATE INDEX ledger_entries_booked ON ledger_entries (booked_at);

-- A period that is closed stays as it is. size is how many entries there were.
CREATE TABLE ledger_periods (
    to_at     INTEGER PRIMARY KEY,
    from_at   INTEGER NOT NULL CHECK (from_at < to_at),
    name      TEXT    NOT NULL UNIQUE, -- YYYY-MM
    closed_at INTEGER NOT NULL CHECK (closed_at >= to_at),
    size      INTEGER NOT NULL CHECK (size >= 0),
    entries   INTEGER NOT NULL CHECK (entries >= 0), -- booked in it
    amount    INTEGER NOT NULL,                      -- of these
    note      TEXT    NOT NULL                       -- all of this, signed
) STRICT;

CREATE TRIGGER ledger_periods_forward BEFORE INSERT ON ledger_periods
WHEN NEW.from_at < (SELECT max(to_at) FROM ledger_periods)
BEGIN SELECT RAISE(ABORT, 'periods are closed one after another'); END;

CREATE TRIGGER ledger_periods_no_update BEFORE UPDATE ON ledger_periods
BEGIN SELECT RAISE(ABORT, 'a closed period stays closed'); END;

CREATE TRIGGER ledger_periods_no_delete BEFORE DELETE ON ledger_periods
BEGIN SELECT RAISE(ABORT, 'a closed period stays closed'); END;

CREATE TRIGGER ledger_entries_in_order BEFORE INSERT ON ledger_entries
WHEN NEW.n IS NOT coalesce((SELECT max(n) FROM ledger_entries) + 1, 0)
BEGIN SELECT RAISE(ABORT, 'the ledger has no gaps'); END;

CREATE TRIGGER ledger_entries_period BEFORE INSERT ON ledger_entries
WHEN NEW.booked_at < (SELECT max(to_at) FROM ledger_periods)
BEGIN SELECT RAISE(ABORT, 'the period is closed'); END;

CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TABLE ledger_accounts (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL,
    unit TEXT    NOT NULL CHECK (unit IN ('USD', 'cpu', 'memory', 'storage')),
    UNIQUE (name, unit)
) STRICT;

CREATE TRIGGER ledger_accounts_no_update BEFORE UPDATE ON ledger_accounts
BEGIN SELECT RAISE(ABORT, 'an account is for ever'); END;

CREATE TRIGGER ledger_accounts_no_delete BEFORE DELETE ON ledger_accounts
BEGIN SELECT RAISE(ABORT, 'an account is for ever'); END;

-- The sides of each entry: debits are positive, credits negative.
CREATE TABLE ledger_postings (
    entry   INTEGER NOT NULL REFERENCES ledger_entries (n),
    account INTEGER NOT NULL REFERENCES ledger_accounts (id),
    amount  INTEGER NOT NULL,
    PRIMARY KEY (entry, account)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER ledger_postings_no_update BEFORE UPDATE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_postings_no_delete BEFORE DELETE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Full tiles of the tree: 256 hashes of level 8 × level. Those of level 0 are the
-- hashes of entries; what is not full is worked out from these.
CREATE TABLE ledger_tiles (
    level INTEGER NOT NULL CHECK (level > 0),
    n     INTEGER NOT NULL CHECK (n >= 0),
    data  BLOB    NOT NULL CHECK (length(data) = 8192),
    PRIMARY KEY (level, n)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER ledger_tiles_no_update BEFORE UPDATE ON ledger_tiles
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_tiles_no_delete BEFORE DELETE ON ledger_tiles
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- What was signed after each commit with entries.
CREATE TABLE ledger_checkpoints (
    size INTEGER PRIMARY KEY CHECK (size > 0),
    root BLOB    NOT NULL CHECK (length(root) = 32),
    note TEXT    NOT NULL -- C2SP tlog-checkpoint
) STRICT;

CREATE TRIGGER ledger_checkpoints_in_order BEFORE INSERT ON ledger_checkpoints
WHEN NEW.size <= (SELECT max(size) FROM ledger_checkpoints)
BEGIN SELECT RAISE(ABORT, 'checkpoints only grow'); END;

CREATE TRIGGER ledger_checkpoints_no_update BEFORE UPDATE ON ledger_checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_checkpoints_no_delete BEFORE DELETE ON ledger_checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
