-- Rules that send events to webhooks, with how far each has come. The events are not
-- here: they follow from the journal and from what happened to services.
CREATE TABLE event_rules (
    account     TEXT    NOT NULL CHECK (length(account) = 12),
    region      TEXT    NOT NULL CHECK (region <> ''),
    name        TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    id          TEXT    NOT NULL UNIQUE, -- another one whenever the rule is set anew
    body        TEXT    NOT NULL CHECK (json_valid(body)), -- eventbridge.Rule without its progress
    task_seq    INTEGER NOT NULL CHECK (task_seq >= 0),    -- in the journal
    service_seq INTEGER NOT NULL CHECK (service_seq >= 0), -- among the events of services
    progress    TEXT    NOT NULL CHECK (json_valid(progress)),
    PRIMARY KEY (account, region, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER event_rules_forward BEFORE UPDATE ON event_rules
WHEN NEW.id = OLD.id AND (NEW.task_seq < OLD.task_seq OR NEW.service_seq < OLD.service_seq)
BEGIN SELECT RAISE(ABORT, 'what was delivered is not delivered again'); END;

-- Application Auto Scaling: what is scaled, by what, and what was done.
CREATE TABLE scaling_targets (
    account  TEXT NOT NULL CHECK (length(account) = 12),
    region   TEXT NOT NULL CHECK (region <> ''),
    resource TEXT NOT NULL, -- service/CLUSTER/NAME
    body     TEXT NOT NULL CHECK (json_valid(body)),  -- scaling.Target
    state    TEXT NOT NULL CHECK (json_valid(state)), -- scaling.State
    PRIMARY KEY (account, region, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE scaling_policies (
    account  TEXT NOT NULL,
    region   TEXT NOT NULL,
    resource TEXT NOT NULL,
    name     TEXT NOT NULL,
    body     TEXT NOT NULL CHECK (json_valid(body)), -- scaling.Policy
    PRIMARY KEY (account, region, resource, name),
    FOREIGN KEY (account, region, resource) REFERENCES scaling_targets ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE scaling_activities (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    account  TEXT    NOT NULL,
    region   TEXT    NOT NULL,
    resource TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL CHECK (json_valid(body)) -- scaling.Activity
) STRICT;

CREATE INDEX scaling_activities_resource ON scaling_activities (account, region, resource, seq);
CREATE INDEX scaling_activities_at ON scaling_activities (at);
