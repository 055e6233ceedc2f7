package store

import (
	"context"
	"fmt"
)

// invariants are what must be true of the database at any moment; each query
// returns what breaks it.
var invariants = []struct{ rule, query string }{
	{"SQLite finds the file sound", `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT 1`},
	{"every task is as its last event says", `SELECT t.id FROM tasks t WHERE t.body <> coalesce(
		(SELECT body FROM events WHERE task = t.id ORDER BY seq DESC LIMIT 1), '') LIMIT 1`},
	{"every event belongs to a task", `SELECT seq FROM events WHERE task NOT IN (SELECT id FROM tasks) LIMIT 1`},
	{"no family has a revision above its last", `SELECT d.family FROM definitions d LEFT JOIN families f USING (family)
		WHERE f.family IS NULL OR d.revision > f.last_revision LIMIT 1`},
}

// Verify checks the whole database and names the first thing that is wrong.
func (s *Store) Verify(ctx context.Context) error {
	for _, inv := range invariants {
		rows, err := s.reader().QueryContext(ctx, inv.query)
		if err != nil {
			return fmt.Errorf("check that %s: %w", inv.rule, err)
		}
		var culprit string
		broken := rows.Next() && rows.Scan(&culprit) == nil
		if err := rows.Close(); err != nil {
			return fmt.Errorf("check that %s: %w", inv.rule, err)
		}
		if broken {
			return fmt.Errorf("not true that %s: %s", inv.rule, culprit)
		}
	}
	return nil
}
