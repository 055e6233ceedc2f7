-- Target groups. See package balancer. Ports of this host are for all accounts.

CREATE TABLE target_groups (
    account     TEXT    NOT NULL CHECK (length(account) = 12),
    region      TEXT    NOT NULL CHECK (region <> ''),
    name        TEXT    NOT NULL CHECK (name <> ''),
    arn         TEXT    NOT NULL UNIQUE,
    listen_port INTEGER UNIQUE CHECK (listen_port BETWEEN 1 AND 65535), -- NULL: none
    body        TEXT    NOT NULL, -- balancer.Group as JSON
    PRIMARY KEY (account, region, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER target_groups_keep_names BEFORE UPDATE ON target_groups
WHEN NEW.account <> OLD.account OR NEW.region <> OLD.region OR NEW.name <> OLD.name OR NEW.arn <> OLD.arn
BEGIN SELECT RAISE(ABORT, 'a target group keeps its name'); END;

-- Load balancers are names that AWS's clients give to listeners: a listener is the
-- listen_port of a target group.
CREATE TABLE load_balancers (
    account TEXT NOT NULL CHECK (length(account) = 12),
    region  TEXT NOT NULL CHECK (region <> ''),
    name    TEXT NOT NULL CHECK (name <> ''),
    arn     TEXT NOT NULL UNIQUE,
    body    TEXT NOT NULL, -- balancer.LoadBalancer as JSON
    PRIMARY KEY (account, region, name)
) STRICT, WITHOUT ROWID;
