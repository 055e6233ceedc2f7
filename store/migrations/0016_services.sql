-- Services and what became of them. See package service.

CREATE TABLE services (
    id          TEXT    PRIMARY KEY CHECK (length(id) = 32),
    account     TEXT    NOT NULL CHECK (length(account) = 12),
    region      TEXT    NOT NULL CHECK (region <> ''),
    cluster     TEXT    NOT NULL CHECK (cluster <> ''),
    name        TEXT    NOT NULL CHECK (name <> ''),
    status      TEXT    NOT NULL CHECK (status IN ('ACTIVE', 'DRAINING', 'INACTIVE')),
    version     INTEGER NOT NULL CHECK (version > 0),
    created_at  INTEGER NOT NULL,
    inactive_at INTEGER NOT NULL, -- 0: it is not
    body        TEXT    NOT NULL, -- service.Service as JSON
    CHECK ((status = 'INACTIVE') = (inactive_at > 0))
) STRICT, WITHOUT ROWID;

-- A name can be used again when nothing is left of the one that had it.
CREATE UNIQUE INDEX services_named ON services (account, region, cluster, name) WHERE status <> 'INACTIVE';
CREATE INDEX services_known ON services (account, region, cluster, name, created_at);
CREATE INDEX services_unfinished ON services (id) WHERE status <> 'INACTIVE';

CREATE TRIGGER services_in_order BEFORE UPDATE ON services
WHEN NEW.id <> OLD.id OR NEW.version <> OLD.version + 1 OR NEW.account <> OLD.account OR NEW.region <> OLD.region
     OR NEW.cluster <> OLD.cluster OR NEW.name <> OLD.name OR OLD.status = 'INACTIVE'
     OR (OLD.status = 'DRAINING' AND NEW.status = 'ACTIVE')
BEGIN SELECT RAISE(ABORT, 'a service changes one version at a time, and does not come back'); END;

CREATE TRIGGER services_no_delete BEFORE DELETE ON services
WHEN OLD.status <> 'INACTIVE'
BEGIN SELECT RAISE(ABORT, 'a service that has tasks is not forgotten'); END;

CREATE TABLE service_deployments (
    arn        TEXT    PRIMARY KEY,
    service    TEXT    NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    status     TEXT    NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'STOP_REQUESTED', 'STOPPED',
                                                  'ROLLBACK_REQUESTED', 'ROLLBACK_IN_PROGRESS', 'ROLLBACK_SUCCESSFUL', 'ROLLBACK_FAILED')),
    created_at INTEGER NOT NULL,
    body       TEXT    NOT NULL -- service.Rollout as JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX service_deployments_of ON service_deployments (service, created_at, arn);

CREATE TABLE service_revisions (
    arn        TEXT    PRIMARY KEY,
    service    TEXT    NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    body       TEXT    NOT NULL -- service.Revision as JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX service_revisions_of ON service_revisions (service);

CREATE TRIGGER service_revisions_fixed BEFORE UPDATE ON service_revisions
BEGIN SELECT RAISE(ABORT, 'a revision never changes'); END;

-- Positions are never given out twice: others read from one.
CREATE TABLE service_events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT    NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    body    TEXT    NOT NULL -- service.Event as JSON
) STRICT;

CREATE INDEX service_events_of ON service_events (service, seq);
