-- What things cost. See package billing/prices. Lists and changes are for ever:
-- entries of the ledger name them.

CREATE TABLE price_lists (
    n              INTEGER PRIMARY KEY, -- in the order in which they came
    id             TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL,
    effective_from INTEGER NOT NULL,
    body           TEXT    NOT NULL,    -- prices.List
    hash           TEXT    NOT NULL CHECK (length(hash) = 64), -- SHA-256 of the body
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TRIGGER price_lists_no_update BEFORE UPDATE ON price_lists
BEGIN SELECT RAISE(ABORT, 'a price list is never changed; another price is another list'); END;

CREATE TRIGGER price_lists_no_delete BEFORE DELETE ON price_lists
BEGIN SELECT RAISE(ABORT, 'a price list is for ever'); END;

-- From from_at on a list is active, or a name is in use, or both.
CREATE TABLE price_changes (
    n       INTEGER PRIMARY KEY CHECK (n > 0),
    at      INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    list    TEXT REFERENCES price_lists (id),
    name    TEXT    NOT NULL,
    plan    TEXT    NOT NULL,
    region  TEXT    NOT NULL,
    CHECK (list IS NOT NULL OR name <> ''),
    CHECK (from_at >= at OR (from_at = 0 AND n = 1)) -- prices of the past do not change
) STRICT;

CREATE TRIGGER price_changes_in_order BEFORE INSERT ON price_changes
WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM price_changes), 0)
BEGIN SELECT RAISE(ABORT, 'changes of prices count up'); END;

CREATE TRIGGER price_changes_no_update BEFORE UPDATE ON price_changes
BEGIN SELECT RAISE(ABORT, 'a change of prices is never changed'); END;

CREATE TRIGGER price_changes_no_delete BEFORE DELETE ON price_changes
BEGIN SELECT RAISE(ABORT, 'a change of prices is for ever'); END;
