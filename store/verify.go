package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// invariants are what must be true of the database at any moment; each query
// returns one thing that breaks it.
var invariants = []struct{ rule, query string }{
	{"SQLite finds the file sound", `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT 1`},
	{"what rows refer to exists", `SELECT "table" || coalesce(' row ' || rowid, '') FROM pragma_foreign_key_check LIMIT 1`},
	{"every task is as its last event says", `SELECT t.id FROM tasks t WHERE t.body <> coalesce(
		(SELECT body FROM events WHERE task = t.id ORDER BY seq DESC LIMIT 1), '') LIMIT 1`},
	{"every task is found by what it is", `SELECT id FROM tasks WHERE status <> body ->> 'lastStatus'
		OR desired_status <> body ->> 'desiredStatus' OR version <> body ->> 'version' OR task_group <> body ->> 'group'
		OR started_by <> coalesce(body ->> 'startedBy', '') OR id <> body ->> 'taskId' LIMIT 1`},
	{"every task is found by its tags", `SELECT t.id FROM tasks t WHERE
		(SELECT count(*) FROM task_tags WHERE task = t.id) <> coalesce(json_array_length(t.body, '$.tags'), 0)
		OR EXISTS (SELECT 1 FROM json_each(t.body, '$.tags') j WHERE j.type = 'object' AND NOT EXISTS (SELECT 1 FROM task_tags
			WHERE task = t.id AND key = j.value ->> 'key' AND value = j.value ->> 'value')) LIMIT 1`},
	{"every event belongs to a task", `SELECT seq FROM events WHERE task NOT IN (SELECT id FROM tasks) LIMIT 1`},
	{"no event is ahead of the journal", `SELECT max(seq) FROM events HAVING max(seq) >
		(SELECT seq FROM sqlite_sequence WHERE name = 'events')`},
	{"no family has a revision above its last", `SELECT d.family FROM definitions d LEFT JOIN families f USING (account, region, family)
		WHERE f.family IS NULL OR d.revision > f.last_revision LIMIT 1`},
	{"changes of prices count up from the first", `SELECT n FROM price_changes WHERE n > (SELECT count(*) FROM price_changes) LIMIT 1`},
	{"a change of prices activates a list of the name that it uses", `SELECT c.n FROM price_changes c JOIN price_lists l ON l.id = c.list
		WHERE c.name <> '' AND c.name <> l.name LIMIT 1`},
	{"a plan that is used is one of the list's", `SELECT c.n FROM price_changes c JOIN price_lists l ON l.id = c.list
		WHERE c.plan <> '' AND NOT EXISTS (SELECT 1 FROM json_each(l.body, '$.plans') p WHERE p.value ->> 'name' = c.plan) LIMIT 1`},
}

// Verify checks the whole database and names the first thing that is wrong. It
// reads everything and holds nobody up.
func (s *Store) Verify(ctx context.Context) error {
	for _, inv := range invariants {
		var culprit string
		err := s.reader().QueryRowContext(ctx, inv.query).Scan(&culprit)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return fmt.Errorf("check that %s: %w", inv.rule, err)
		default:
			return fmt.Errorf("not true that %s: %s", inv.rule, culprit)
		}
	}
	return s.verifyRates(ctx)
}
