-- Entries are found by their ID and by their task in blocks of 4096, so that posting
-- changes pages of the newest block and not, for each entry, two pages anywhere in an
-- index of the whole ledger (decision 0022). That a charge has each entry once was an
-- index, too; now its cursor counts them. Foreign keys are off while this runs, and
-- checked before it is committed (store/migrate.go).

DROP TRIGGER meter_cursors_forward;

ALTER TABLE meter_cursors ADD COLUMN entered INTEGER NOT NULL DEFAULT 0 CHECK (entered BETWEEN 0 AND seq);

UPDATE meter_cursors SET entered = seq;

CREATE TRIGGER meter_cursors_forward BEFORE UPDATE OF task, sku, arn, size, start_at, rate, price_list, segment_at, segment_amount,
    seq, billed_to, amount, measured_at, closed, end_at ON meter_cursors
WHEN OLD.closed = 1 OR NEW.seq < OLD.seq OR NEW.task <> OLD.task OR NEW.sku <> OLD.sku OR NEW.arn <> OLD.arn
     OR NEW.size <> OLD.size OR NEW.start_at <> OLD.start_at
     OR (NEW.seq = OLD.seq AND (NEW.rate <> OLD.rate OR NEW.price_list <> OLD.price_list OR NEW.billed_to <> OLD.billed_to))
BEGIN SELECT RAISE(ABORT, 'a cursor only moves forward, and not after it was closed'); END;

CREATE TRIGGER meter_cursors_entered BEFORE UPDATE OF entered ON meter_cursors
WHEN NEW.entered <> OLD.entered + 1
BEGIN SELECT RAISE(ABORT, 'the entries of a charge come one after another'); END;

CREATE TABLE new_entries (
    n           INTEGER PRIMARY KEY CHECK (n >= 0),
    id          TEXT    NOT NULL CHECK (length(id) = 32), -- follows from kind, task, sku and seq
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
    ref         TEXT,                                      -- the ID of another entry
    reason      TEXT    NOT NULL,
    hash        BLOB    NOT NULL CHECK (length(hash) = 32), -- of billing.Entry's body, as a leaf
    FOREIGN KEY (task, sku) REFERENCES meter_cursors (task, sku),
    CHECK (kind = 'REVERSAL' OR (kind = 'CORRECTION') = (to_at < from_at)),
    CHECK (to_at <> from_at),
    CHECK ((kind = 'REVERSAL') = (ref IS NOT NULL)),
    CHECK ((kind = 'REVERSAL') = (seq < 0)),
    CHECK (kind = 'REVERSAL' OR reason = '')
) STRICT;

INSERT INTO new_entries SELECT * FROM ledger_entries ORDER BY n;
DROP TABLE ledger_entries;
ALTER TABLE new_entries RENAME TO ledger_entries;

CREATE INDEX ledger_entries_booked ON ledger_entries (booked_at);

-- The last twelve digits of an ID are random; they are enough to find it in a block.
CREATE INDEX ledger_entries_id ON ledger_entries (n >> 12, substr(id, 21));
CREATE INDEX ledger_entries_task ON ledger_entries (n >> 12, substr(task, 21));
CREATE UNIQUE INDEX ledger_entries_reversals ON ledger_entries (task, sku, seq) WHERE seq < 0;

-- The blocks that there are, the newest first.
CREATE VIEW ledger_blocks AS
WITH RECURSIVE blocks (block) AS (SELECT max(n) >> 12 FROM ledger_entries UNION ALL SELECT block - 1 FROM blocks WHERE block > 0)
SELECT block FROM blocks;

CREATE TRIGGER ledger_entries_in_order BEFORE INSERT ON ledger_entries
WHEN NEW.n IS NOT coalesce((SELECT max(n) FROM ledger_entries) + 1, 0)
BEGIN SELECT RAISE(ABORT, 'the ledger has no gaps'); END;

CREATE TRIGGER ledger_entries_period BEFORE INSERT ON ledger_entries
WHEN NEW.booked_at < (SELECT max(to_at) FROM ledger_periods)
BEGIN SELECT RAISE(ABORT, 'the period is closed'); END;

CREATE TRIGGER ledger_entries_once AFTER INSERT ON ledger_entries WHEN NEW.seq > 0
BEGIN UPDATE meter_cursors SET entered = NEW.seq WHERE task = NEW.task AND sku = NEW.sku; END;

CREATE TRIGGER ledger_entries_ref BEFORE INSERT ON ledger_entries
WHEN NEW.ref IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger_blocks CROSS JOIN ledger_entries e
    ON e.n >> 12 = block AND substr(e.id, 21) = substr(NEW.ref, 21) AND e.id = NEW.ref
    WHERE e.task = NEW.task AND e.sku = NEW.sku AND e.seq = -NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a reversal takes back an entry of the same charge'); END;

CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
