-- Log groups and streams of CloudWatch Logs. What containers print is in files; a stream
-- with a task only points there. What PutLogEvents brings is in log_events.

CREATE TABLE log_groups (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    TEXT    NOT NULL CHECK (length(account) = 12),
    region     TEXT    NOT NULL CHECK (region <> ''),
    name       TEXT    NOT NULL CHECK (name <> ''),
    created_at INTEGER NOT NULL,
    retention  INTEGER NOT NULL CHECK (retention >= 0), -- days; 0: for ever
    class      TEXT    NOT NULL,
    protected  INTEGER NOT NULL CHECK (protected IN (0, 1)),
    tags       TEXT    NOT NULL, -- a JSON object
    UNIQUE (account, region, name)
) STRICT;

CREATE TABLE log_streams (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    log_group   INTEGER REFERENCES log_groups, -- NULL: deleted, and its events go bit by bit
    name        TEXT    NOT NULL CHECK (name <> ''),
    created_at  INTEGER NOT NULL,
    task        TEXT    NOT NULL, -- whose output it is, '' if PutLogEvents brings it
    container   TEXT    NOT NULL,
    ingested_at INTEGER NOT NULL,
    bytes       INTEGER NOT NULL CHECK (bytes >= 0),
    puts        INTEGER NOT NULL CHECK (puts >= 0), -- number of the next event
    UNIQUE (log_group, name)
) STRICT;

CREATE INDEX log_streams_task ON log_streams (task) WHERE task <> '';

CREATE TABLE log_events (
    stream      INTEGER NOT NULL REFERENCES log_streams,
    at          INTEGER NOT NULL, -- milliseconds since 1970
    number      INTEGER NOT NULL,
    ingested_at INTEGER NOT NULL, -- milliseconds since 1970
    message     TEXT    NOT NULL CHECK (message <> ''),
    PRIMARY KEY (stream, at, number)
) STRICT, WITHOUT ROWID;
