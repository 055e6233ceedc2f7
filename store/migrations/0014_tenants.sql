-- Accounts and regions separate everything: what had the name of its own has it once in
-- each. Rows that were there say in their ARNs whose they are.

DROP TRIGGER families_forward;
DROP TRIGGER families_no_delete;
DROP TRIGGER definitions_forward;
DROP TRIGGER tasks_forward;

-- The account and region of a definition that is registered, by family: all of a family
-- had the same.
ALTER TABLE families RENAME TO old_families;
ALTER TABLE definitions RENAME TO old_definitions;
ALTER TABLE requests RENAME TO old_requests;
ALTER TABLE security_groups RENAME TO old_security_groups;

-- Where things of this server were before: as its newest task or definition says.
CREATE TEMP TABLE here AS
    WITH arns (arn) AS (
        SELECT json_extract(body, '$.clusterArn') FROM tasks
        UNION ALL SELECT json_extract(body, '$.taskDefinitionArn') FROM old_definitions)
    SELECT substr(arn, 13, instr(substr(arn, 13), ':') - 1) AS region,
           substr(arn, 13 + instr(substr(arn, 13), ':'), 12) AS account
    FROM arns WHERE arn LIKE 'arn:aws:ecs:%' LIMIT 1;
INSERT INTO here SELECT 'us-east-1', '000000000000' WHERE NOT EXISTS (SELECT 1 FROM here);

CREATE TABLE families (
    account       TEXT    NOT NULL CHECK (length(account) = 12),
    region        TEXT    NOT NULL CHECK (region <> ''),
    family        TEXT    NOT NULL,
    last_revision INTEGER NOT NULL CHECK (last_revision > 0),
    PRIMARY KEY (account, region, family)
) STRICT, WITHOUT ROWID;

INSERT INTO families SELECT account, region, family, last_revision FROM old_families, here;

CREATE TRIGGER families_forward BEFORE UPDATE ON families
WHEN NEW.family <> OLD.family OR NEW.account <> OLD.account OR NEW.region <> OLD.region OR NEW.last_revision <= OLD.last_revision
BEGIN SELECT RAISE(ABORT, 'a revision is never used twice'); END;

CREATE TRIGGER families_no_delete BEFORE DELETE ON families
BEGIN SELECT RAISE(ABORT, 'a revision is never used twice'); END;

CREATE TABLE definitions (
    account    TEXT    NOT NULL CHECK (length(account) = 12),
    region     TEXT    NOT NULL CHECK (region <> ''),
    family     TEXT    NOT NULL,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    status     TEXT    NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE', 'DELETE_IN_PROGRESS')),
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, region, family, revision)
) STRICT, WITHOUT ROWID;

INSERT INTO definitions SELECT account, region, family, revision, status, body, created_at FROM old_definitions, here;

CREATE TRIGGER definitions_forward BEFORE UPDATE ON definitions
WHEN NEW.account <> OLD.account OR NEW.region <> OLD.region OR NEW.family <> OLD.family OR NEW.revision <> OLD.revision
     OR NEW.created_at <> OLD.created_at OR (OLD.status <> 'ACTIVE' AND NEW.status = 'ACTIVE')
     OR (OLD.status = 'DELETE_IN_PROGRESS' AND NEW.status <> OLD.status)
BEGIN SELECT RAISE(ABORT, 'a definition keeps its name, and does not become ACTIVE again'); END;

CREATE TABLE requests (
    account    TEXT    NOT NULL,
    region     TEXT    NOT NULL,
    token      TEXT    NOT NULL,
    hash       TEXT    NOT NULL,
    tasks      TEXT    NOT NULL, -- their IDs, a JSON array
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, region, token)
) STRICT, WITHOUT ROWID;

INSERT INTO requests SELECT account, region, token, hash, tasks, created_at FROM old_requests, here;

CREATE TABLE security_groups (
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    id      TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 20),
    name    TEXT NOT NULL,
    body    TEXT NOT NULL,
    UNIQUE (account, region, name)
) STRICT, WITHOUT ROWID;

INSERT INTO security_groups SELECT account, region, id, name, body FROM old_security_groups, here;

ALTER TABLE tasks ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN region  TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN cluster TEXT NOT NULL DEFAULT '';

UPDATE tasks SET account = (SELECT account FROM here), region = (SELECT region FROM here),
    cluster = coalesce(substr(json_extract(body, '$.clusterArn'), instr(json_extract(body, '$.clusterArn'), ':cluster/') + 9), 'default');

CREATE TRIGGER tasks_forward BEFORE UPDATE ON tasks
WHEN OLD.status = 'STOPPED' OR NEW.version <= OLD.version OR NEW.created_at <> OLD.created_at
     OR NEW.account <> OLD.account OR NEW.region <> OLD.region OR NEW.cluster <> OLD.cluster
BEGIN SELECT RAISE(ABORT, 'a task only moves forward, where it is'); END;

CREATE INDEX tasks_realm ON tasks (account, region, cluster, id);

DROP TABLE old_families;
DROP TABLE old_definitions;
DROP TABLE old_requests;
DROP TABLE old_security_groups;
DROP TABLE here;

CREATE INDEX requests_age ON requests (created_at);

-- Clusters that somebody made. The one named default is there without it.
CREATE TABLE clusters (
    account    TEXT    NOT NULL CHECK (length(account) = 12),
    region     TEXT    NOT NULL CHECK (region <> ''),
    name       TEXT    NOT NULL CHECK (name <> ''),
    status     TEXT    NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE')),
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, region, name)
) STRICT, WITHOUT ROWID;

-- Settings of an account (principal '') or of somebody in it.
CREATE TABLE account_settings (
    account   TEXT NOT NULL CHECK (length(account) = 12),
    region    TEXT NOT NULL CHECK (region <> ''),
    principal TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (account, region, principal, name)
) STRICT, WITHOUT ROWID;
