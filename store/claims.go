package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/task"
)

// Claimed returns the tasks that a request of that account and region with that token made,
// whatever it asked for; none if there was none.
func (s *Store) Claimed(ctx context.Context, in task.Realm, token string) ([]task.ID, error) {
	var list string
	err := s.reader().QueryRowContext(ctx, `SELECT tasks FROM requests WHERE account = ? AND region = ? AND token = ?`,
		in.Account, in.Region, token).Scan(&list)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	var ids []task.ID
	if err := json.Unmarshal([]byte(list), &ids); err != nil {
		return nil, fmt.Errorf("decode request: %w", err)
	}
	return ids, nil
}
