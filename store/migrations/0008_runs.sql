-- What became of tasks, and what they were expected to cost. See package
-- billing/history. Bodies are JSON; they outlive their tasks.

CREATE TABLE runs (
    task       TEXT    PRIMARY KEY CHECK (length(task) = 32),
    family     TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    stopped_at INTEGER NOT NULL CHECK (stopped_at > 0),
    body       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_family ON runs (family, stopped_at, task);
CREATE INDEX runs_time ON runs (stopped_at);

CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs
BEGIN SELECT RAISE(ABORT, 'what became of a task does not change'); END;

CREATE TABLE quotes (
    task TEXT    PRIMARY KEY CHECK (length(task) = 32),
    at   INTEGER NOT NULL,
    body TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX quotes_time ON quotes (at);

CREATE TRIGGER quotes_no_update BEFORE UPDATE ON quotes
BEGIN SELECT RAISE(ABORT, 'an estimate that was made does not change'); END;
