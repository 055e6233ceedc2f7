package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"berth/task"
)

// Prune forgets tasks that stopped before then, at most limit of them, with
// their events and samples, and returns their IDs. Ledger entries stay, and so does
// a task whose end the meter or the recorder of runs has not read yet, since what is
// forgotten can neither be billed nor learnt from. It also forgets client tokens that
// are as old, and at least a day.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) ([]task.ID, error) {
	var gone []task.ID
	err := s.write(ctx, func(tx *sql.Tx) error {
		gone = nil
		metered, err := readSetting(ctx, tx, settingMeter)
		if err != nil {
			return err
		}
		recorded, err := readSetting(ctx, tx, settingRecorder)
		if err != nil {
			return err
		}
		if recorded == "" {
			recorded = metered // Nobody records.
		}
		rows, err := tx.QueryContext(ctx, `SELECT id FROM tasks WHERE status = 'STOPPED' AND stopped_at < ?
				AND (SELECT max(seq) FROM events WHERE task = tasks.id) <= min(CAST(? AS INTEGER), CAST(? AS INTEGER))
				ORDER BY stopped_at LIMIT ?`, nanos(before), metered, recorded, limit)
		if err != nil {
			return fmt.Errorf("list old tasks: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id task.ID
			if err := rows.Scan(&id); err != nil {
				return fmt.Errorf("scan ID: %w", err)
			}
			gone = append(gone, id)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, id := range gone {
			for _, q := range []string{`DELETE FROM tasks WHERE id = ?`, `DELETE FROM events WHERE task = ?`} {
				if _, err := tx.ExecContext(ctx, q, id); err != nil {
					return fmt.Errorf("forget task %s: %w", id, err)
				}
			}
		}
		oldest := min(nanos(before), nanos(s.Now().Add(-tokenLife)))
		if _, err := tx.ExecContext(ctx, `DELETE FROM requests WHERE created_at < ?`, oldest); err != nil {
			return fmt.Errorf("forget requests: %w", err)
		}
		return nil
	})
	if len(gone) > 0 {
		s.recent.forget() // There are gaps now.
	}
	return gone, err
}

// tokenLife is how long a client token is known at least (ECS developer guide,
// "Ensuring idempotency").
const tokenLife = 24 * time.Hour
