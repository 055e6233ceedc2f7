-- Minutes and hours of what tasks used, made from the samples. They outlive the
-- samples and the task. See package billing, Roll.

-- Whose usage it is, and how far its samples are rolled up.
CREATE TABLE usage_tasks (
    n          INTEGER PRIMARY KEY,
    task       TEXT    NOT NULL UNIQUE CHECK (length(task) = 32),
    arn        TEXT    NOT NULL,
    family     TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    task_group TEXT    NOT NULL,
    tags       TEXT    NOT NULL CHECK (json_valid(tags)), -- an object: key → value
    cpu        INTEGER NOT NULL CHECK (cpu >= 0),         -- CPU units
    memory     INTEGER NOT NULL CHECK (memory >= 0),      -- MiB
    storage    INTEGER NOT NULL CHECK (storage >= 0),     -- bytes
    upto_at    INTEGER NOT NULL,                          -- milliseconds since 1970
    upto       BLOB    NOT NULL,                          -- the counters then, packed like samples
    closed     INTEGER NOT NULL CHECK (closed IN (0, 1))
) STRICT;

CREATE INDEX usage_tasks_time ON usage_tasks (upto_at);

CREATE TRIGGER usage_tasks_forward BEFORE UPDATE ON usage_tasks
WHEN OLD.closed = 1 OR NEW.upto_at <= OLD.upto_at OR NEW.task <> OLD.task OR NEW.n <> OLD.n
BEGIN SELECT RAISE(ABORT, 'the samples of a task are rolled up once'); END;

CREATE TABLE usage_rolls (
    step              INTEGER NOT NULL CHECK (step IN (60, 3600)),
    at                INTEGER NOT NULL CHECK (at % step = 0), -- seconds since 1970
    task              INTEGER NOT NULL REFERENCES usage_tasks (n),
    covered           INTEGER NOT NULL CHECK (covered BETWEEN 0 AND 1000 * step), -- milliseconds
    samples           INTEGER NOT NULL,
    cpu               INTEGER NOT NULL, -- nanoseconds
    throttled         INTEGER NOT NULL,
    periods           INTEGER NOT NULL,
    throttled_periods INTEGER NOT NULL,
    oom_kills         INTEGER NOT NULL,
    read_bytes        INTEGER NOT NULL,
    write_bytes       INTEGER NOT NULL,
    read_ops          INTEGER NOT NULL,
    write_ops         INTEGER NOT NULL,
    rx_bytes          INTEGER NOT NULL,
    tx_bytes          INTEGER NOT NULL,
    memory_over_time  INTEGER NOT NULL, -- bytes × milliseconds
    storage_over_time INTEGER NOT NULL,
    working_set_peak  INTEGER NOT NULL,
    memory_peak       INTEGER NOT NULL,
    pids_peak         INTEGER NOT NULL,
    storage_peak      INTEGER NOT NULL,
    memory_last       INTEGER NOT NULL,
    working_set_last  INTEGER NOT NULL,
    pids_last         INTEGER NOT NULL,
    storage_last      INTEGER NOT NULL,
    PRIMARY KEY (step, at, task)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_rolls_task ON usage_rolls (task, step, at);

-- Samples move to a table with row IDs: without them, SQLite keeps a thousand bytes
-- of a row at most in its page and gives the rest a page of its own, so that a chunk of
-- 1.1 KB took 4.5 (sqlite.org/fileformat2.html, "Cell payload overflow pages").
DROP TRIGGER usage_chunks_with_task;

CREATE TABLE usage_samples (
    n       INTEGER PRIMARY KEY,
    task    TEXT    NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    samples INTEGER NOT NULL CHECK (samples > 0),
    data    BLOB    NOT NULL,
    UNIQUE (task, from_at),
    CHECK (to_at >= from_at)
) STRICT;

INSERT INTO usage_samples (task, from_at, to_at, samples, data)
SELECT task, from_at, to_at, samples, data FROM usage_chunks ORDER BY from_at;

DROP TABLE usage_chunks;
ALTER TABLE usage_samples RENAME TO usage_chunks;

CREATE TRIGGER usage_chunks_with_task AFTER DELETE ON tasks
BEGIN DELETE FROM usage_chunks WHERE task = OLD.id; END;

-- For forgetting samples before their task.
CREATE INDEX usage_chunks_age ON usage_chunks (from_at);
