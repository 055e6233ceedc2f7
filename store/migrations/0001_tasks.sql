-- Times are nanoseconds since 1970, UTC; 0 is no time. Bodies are JSON.

CREATE TABLE definitions (
    family     TEXT    NOT NULL,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    status     TEXT    NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE')),
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (family, revision)
) STRICT, WITHOUT ROWID;

-- Revisions are never used twice, whatever happens to the rows above.
CREATE TABLE families (
    family        TEXT    PRIMARY KEY,
    last_revision INTEGER NOT NULL CHECK (last_revision > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    id             TEXT    PRIMARY KEY CHECK (length(id) = 32),
    status         TEXT    NOT NULL CHECK (status IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING',
                                                      'DEACTIVATING', 'STOPPING', 'DEPROVISIONING', 'STOPPED')),
    desired_status TEXT    NOT NULL CHECK (desired_status IN ('RUNNING', 'STOPPED')),
    family         TEXT    NOT NULL,
    task_group     TEXT    NOT NULL,
    started_by     TEXT    NOT NULL,
    version        INTEGER NOT NULL CHECK (version > 0),
    created_at     INTEGER NOT NULL,
    stopped_at     INTEGER NOT NULL,
    body           TEXT    NOT NULL,
    CHECK ((status = 'STOPPED') = (stopped_at <> 0)),
    CHECK (status <> 'STOPPED' OR desired_status = 'STOPPED')
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_unfinished ON tasks (id) WHERE status <> 'STOPPED';
CREATE INDEX tasks_stopped ON tasks (stopped_at) WHERE status = 'STOPPED';
CREATE INDEX tasks_family ON tasks (family, id);

CREATE TABLE task_tags (
    task  TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_tags_value ON task_tags (key, value, task);

-- A task never goes back, and one that has stopped stays as it is.
CREATE TRIGGER tasks_forward BEFORE UPDATE ON tasks
WHEN OLD.status = 'STOPPED' OR NEW.version <= OLD.version OR NEW.created_at <> OLD.created_at
BEGIN SELECT RAISE(ABORT, 'a task only moves forward'); END;

-- The journal. AUTOINCREMENT: a position is never used twice.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    task TEXT    NOT NULL,
    body TEXT    NOT NULL
) STRICT;

CREATE INDEX events_task ON events (task, seq);

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

-- Events go only together with their task, when it has been kept long enough.
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
WHEN EXISTS (SELECT 1 FROM tasks WHERE id = OLD.task)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TABLE requests (
    token      TEXT    PRIMARY KEY,
    hash       TEXT    NOT NULL,
    tasks      TEXT    NOT NULL, -- their IDs, a JSON array
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_age ON requests (created_at);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
