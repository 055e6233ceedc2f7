-- What tasks cost, summed up by hour and by day, so that questions about costs need
-- not read the ledger. The sums are moved in the transaction that writes the
-- entries, follow from them alone, and are compared with them when the ledger is
-- verified. Hours and days are numbers since 1970, UTC, of booked_at. What is there
-- already is summed up by store/costs.go in the same transaction.

-- The facts of tasks that costs can be told apart by, each set once.
CREATE TABLE cost_facts (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    cluster    TEXT NOT NULL,
    family     TEXT NOT NULL,
    definition TEXT NOT NULL,
    task_group TEXT NOT NULL,
    started_by TEXT NOT NULL,
    tags       TEXT NOT NULL, -- a JSON array of keys and values, by key
    UNIQUE (account, region, cluster, definition, task_group, started_by, tags)
) STRICT;

CREATE TABLE cost_tags (
    facts INTEGER NOT NULL REFERENCES cost_facts (id),
    key   TEXT    NOT NULL,
    value TEXT    NOT NULL,
    PRIMARY KEY (facts, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX cost_tags_value ON cost_tags (key, value, facts);

-- The facts of a task's entries from number since on; of a reversal, those of the
-- entry that it takes back.
CREATE TABLE cost_tasks (
    task  TEXT    NOT NULL CHECK (length(task) = 32),
    since INTEGER NOT NULL CHECK (since >= 0),
    facts INTEGER NOT NULL REFERENCES cost_facts (id),
    PRIMARY KEY (task, since)
) STRICT, WITHOUT ROWID;

-- units and used are sizes × seconds, and what is left of these in nanoseconds: in
-- nanoseconds alone a hundred vCPU for a day would not fit.
CREATE TABLE cost_hours (
    hour     INTEGER NOT NULL,
    facts    INTEGER NOT NULL REFERENCES cost_facts (id),
    sku      TEXT    NOT NULL,
    entries  INTEGER NOT NULL CHECK (entries > 0),
    amount   INTEGER NOT NULL,
    units    INTEGER NOT NULL,
    units_ns INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    used_ns  INTEGER NOT NULL,
    PRIMARY KEY (hour, facts, sku)
) STRICT, WITHOUT ROWID;

CREATE TABLE cost_days (
    day      INTEGER NOT NULL,
    facts    INTEGER NOT NULL REFERENCES cost_facts (id),
    sku      TEXT    NOT NULL,
    entries  INTEGER NOT NULL CHECK (entries > 0),
    amount   INTEGER NOT NULL,
    units    INTEGER NOT NULL,
    units_ns INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    used_ns  INTEGER NOT NULL,
    PRIMARY KEY (day, facts, sku)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER cost_facts_no_update BEFORE UPDATE ON cost_facts
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;

CREATE TRIGGER cost_facts_no_delete BEFORE DELETE ON cost_facts
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;

CREATE TRIGGER cost_tags_no_update BEFORE UPDATE ON cost_tags
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;

CREATE TRIGGER cost_tags_no_delete BEFORE DELETE ON cost_tags
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;

CREATE TRIGGER cost_tasks_no_update BEFORE UPDATE ON cost_tasks
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;

CREATE TRIGGER cost_tasks_no_delete BEFORE DELETE ON cost_tasks
BEGIN SELECT RAISE(ABORT, 'facts that were charged by stay as they are'); END;
