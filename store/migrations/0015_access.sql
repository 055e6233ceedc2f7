-- Who may call, and what was done. See package access.

CREATE TABLE users (
    account    TEXT    NOT NULL CHECK (length(account) = 12),
    name       TEXT    NOT NULL CHECK (name <> ''),
    admin      INTEGER NOT NULL CHECK (admin IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- secret is a hash of a token, and what is sealed of an access key's secret.
CREATE TABLE access_keys (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (id <> ''),
    kind       TEXT    NOT NULL CHECK (kind IN ('ACCESS_KEY', 'TOKEN')),
    account    TEXT    NOT NULL,
    user       TEXT    NOT NULL,
    secret     BLOB    NOT NULL,
    disabled   INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (account, user) REFERENCES users (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX access_keys_user ON access_keys (account, user);

-- principal is user/NAME or role/NAME.
CREATE TABLE policies (
    account   TEXT NOT NULL CHECK (length(account) = 12),
    principal TEXT NOT NULL CHECK (principal GLOB 'user/?*' OR principal GLOB 'role/?*'),
    name      TEXT NOT NULL CHECK (name <> ''),
    body      TEXT NOT NULL,
    PRIMARY KEY (account, principal, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE quotas (
    account TEXT NOT NULL PRIMARY KEY CHECK (length(account) = 12),
    body    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit log only grows, but for its oldest end.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    account TEXT    NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_account ON audit (account, seq);
CREATE INDEX audit_at ON audit (at);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'what was done stays done'); END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq < OLD.seq)
BEGIN SELECT RAISE(ABORT, 'the audit log is forgotten from its oldest end only'); END;
