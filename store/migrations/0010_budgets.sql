-- Limits on what tasks may cost, and the money that is set aside for tasks that are not
-- done: what each may have cost by until_at and is not in the ledger yet, by the day (a
-- number since 1970, UTC) in which it will be booked. ahead is what of that is for time to
-- come. Holds go when the charge is closed, in the same transaction.

CREATE TABLE budgets (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_holds (
    task     TEXT    NOT NULL CHECK (length(task) = 32),
    day      INTEGER NOT NULL,
    facts    INTEGER NOT NULL REFERENCES cost_facts (id),
    until_at INTEGER NOT NULL,
    accrued  INTEGER NOT NULL,
    ahead    INTEGER NOT NULL,
    PRIMARY KEY (task, day)
) STRICT, WITHOUT ROWID;
