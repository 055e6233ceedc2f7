-- Whose a run was, so that estimates and sizes are made of one's own. Runs that are there
-- belong to the account that their task's costs say, or to the only one that there was.

DROP TRIGGER runs_no_update;

ALTER TABLE runs ADD COLUMN account TEXT NOT NULL DEFAULT '';

UPDATE runs SET account = coalesce(
    (SELECT f.account FROM cost_tasks c JOIN cost_facts f ON f.id = c.facts WHERE c.task = runs.task LIMIT 1),
    (SELECT nullif(account, '') FROM tasks WHERE id = runs.task),
    (SELECT account FROM families LIMIT 1), '');

CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs
BEGIN SELECT RAISE(ABORT, 'what became of a task does not change'); END;

DROP INDEX runs_family;
CREATE INDEX runs_family ON runs (account, family, stopped_at, task);
CREATE INDEX runs_account ON runs (account, stopped_at);
