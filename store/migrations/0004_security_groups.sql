CREATE TABLE security_groups (
    id   TEXT PRIMARY KEY CHECK (length(id) = 20),
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
