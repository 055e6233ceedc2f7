-- Tunings and their runs. See package billing/tuning.

CREATE TABLE tunings (
    id      TEXT    PRIMARY KEY CHECK (length(id) = 32),
    status  TEXT    NOT NULL CHECK (status IN ('WAITING', 'RUNNING', 'STOPPING', 'COMPLETED', 'BUDGET_REACHED', 'CANCELLED', 'FAILED')),
    version INTEGER NOT NULL CHECK (version > 0),
    body    TEXT    NOT NULL -- tuning.Tuning as JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX tunings_unended ON tunings (id) WHERE status IN ('WAITING', 'RUNNING', 'STOPPING');

CREATE TRIGGER tunings_in_order BEFORE UPDATE ON tunings
WHEN NEW.id <> OLD.id OR NEW.version <> OLD.version + 1
BEGIN SELECT RAISE(ABORT, 'a tuning changes one version at a time'); END;

CREATE TRIGGER tunings_complete BEFORE UPDATE ON tunings
WHEN OLD.status = 'COMPLETED'
BEGIN SELECT RAISE(ABORT, 'a tuning that is complete does not change'); END;

CREATE TRIGGER tunings_no_delete BEFORE DELETE ON tunings
WHEN OLD.status IN ('WAITING', 'RUNNING', 'STOPPING')
BEGIN SELECT RAISE(ABORT, 'a tuning that goes on is not forgotten'); END;

CREATE TABLE tuning_runs (
    n       INTEGER PRIMARY KEY, -- in the order in which they began
    tuning  TEXT    NOT NULL REFERENCES tunings (id) ON DELETE CASCADE,
    cpu     INTEGER NOT NULL CHECK (cpu > 0),
    memory  INTEGER NOT NULL CHECK (memory > 0),
    run     INTEGER NOT NULL CHECK (run >= 0),
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    state   TEXT    NOT NULL CHECK (state IN ('SUBMITTING', 'RUNNING', 'ENDED')),
    task    TEXT UNIQUE CHECK (length(task) = 32),
    body    TEXT    NOT NULL, -- tuning.Run as JSON
    UNIQUE (tuning, cpu, memory, run, attempt),
    CHECK (state <> 'RUNNING' OR task IS NOT NULL)
) STRICT;

CREATE TRIGGER tuning_runs_ended BEFORE UPDATE ON tuning_runs
WHEN OLD.state = 'ENDED' OR (OLD.task IS NOT NULL AND NEW.task IS NOT OLD.task)
BEGIN SELECT RAISE(ABORT, 'a run that has ended does not change, and none gets another task'); END;
