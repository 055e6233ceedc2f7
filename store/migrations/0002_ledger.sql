-- Money is nano-dollars, rates are 1e-10 dollars per unit-hour, units are size
-- times nanoseconds. See package billing. Nothing here refers to tasks: entries
-- stay when a task is forgotten.

-- How far the charge of a task for a SKU has been posted.
CREATE TABLE meter_cursors (
    task       TEXT    NOT NULL CHECK (length(task) = 32),
    sku        TEXT    NOT NULL,
    arn        TEXT    NOT NULL,
    size       INTEGER NOT NULL CHECK (size > 0),
    rate       INTEGER NOT NULL CHECK (rate >= 0),
    price_list TEXT    NOT NULL,
    start_at   INTEGER NOT NULL,
    seq        INTEGER NOT NULL CHECK (seq >= 0),
    billed_to  INTEGER NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    closed     INTEGER NOT NULL CHECK (closed IN (0, 1)),
    end_at     INTEGER NOT NULL,
    PRIMARY KEY (task, sku),
    CHECK (billed_to >= start_at),
    CHECK (closed = (end_at <> 0))
) STRICT, WITHOUT ROWID;

CREATE INDEX meter_cursors_open ON meter_cursors (task) WHERE closed = 0;

CREATE TRIGGER meter_cursors_forward BEFORE UPDATE ON meter_cursors
WHEN OLD.closed = 1 OR NEW.seq < OLD.seq OR NEW.task <> OLD.task OR NEW.sku <> OLD.sku OR NEW.arn <> OLD.arn
     OR NEW.size <> OLD.size OR NEW.rate <> OLD.rate OR NEW.price_list <> OLD.price_list OR NEW.start_at <> OLD.start_at
BEGIN SELECT RAISE(ABORT, 'a cursor only moves forward, and not after it was closed'); END;

CREATE TRIGGER meter_cursors_no_delete BEFORE DELETE ON meter_cursors
BEGIN SELECT RAISE(ABORT, 'a cursor is for ever'); END;

CREATE TABLE ledger_entries (
    id         TEXT    PRIMARY KEY CHECK (length(id) = 32),
    task       TEXT    NOT NULL,
    account    TEXT    NOT NULL,
    sku        TEXT    NOT NULL,
    seq        INTEGER NOT NULL CHECK (seq > 0),
    kind       TEXT    NOT NULL CHECK (kind IN ('METER', 'SECOND_ROUNDUP', 'MINIMUM_TOPUP', 'CORRECTION')),
    from_at    INTEGER NOT NULL,
    to_at      INTEGER NOT NULL,
    units      INTEGER NOT NULL,
    rate       INTEGER NOT NULL,
    price_list TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    hash       TEXT    NOT NULL CHECK (length(hash) = 64), -- of all of the above
    FOREIGN KEY (task, sku) REFERENCES meter_cursors (task, sku),
    UNIQUE (task, sku, seq),
    CHECK ((kind = 'CORRECTION') = (to_at < from_at)),
    CHECK (to_at <> from_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_entries_time ON ledger_entries (from_at);

CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- The sides of each entry: debits are positive, credits negative. The unit
-- leaves room for postings of resources beside those of money.
CREATE TABLE ledger_postings (
    entry   TEXT    NOT NULL REFERENCES ledger_entries (id),
    account TEXT    NOT NULL,
    unit    TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (entry, account, unit)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_postings_account ON ledger_postings (account, unit);

CREATE TRIGGER ledger_postings_no_update BEFORE UPDATE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_postings_no_delete BEFORE DELETE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Samples of what tasks used, packed. They go with their task.
CREATE TABLE usage_chunks (
    task    TEXT    NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    samples INTEGER NOT NULL CHECK (samples > 0),
    data    BLOB    NOT NULL,
    PRIMARY KEY (task, from_at),
    CHECK (to_at >= from_at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER usage_chunks_with_task AFTER DELETE ON tasks
BEGIN DELETE FROM usage_chunks WHERE task = OLD.id; END;
