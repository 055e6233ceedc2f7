package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"berth/task"
)

// followBatch is how many events a follower reads at a time.
const followBatch = 256

// Follow yields every event after seq, in order, and then waits for more until
// ctx ends. It may be used more than once, and begins at seq each time. A reader
// that is slow costs nobody anything. Positions have no gaps but where tasks were
// forgotten: their events are passed over. The tasks that it yields are shared
// with other followers and must not be changed. A seq ahead of the journal, which
// somebody kept from another one, counts as its end.
func (s *Store) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		end, err := s.LastSeq(ctx)
		if err != nil {
			if ctx.Err() == nil {
				yield(task.Event{}, err)
			}
			return
		}
		for seq := min(seq, end); ctx.Err() == nil; {
			grown := s.grown.next() // before reading: what comes after is not missed
			events, known := s.recent.after(seq)
			if !known {
				var err error
				events, err = s.events(ctx, seq)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					yield(task.Event{}, err)
					return
				}
			}
			for _, t := range events {
				ev, err := t.event()
				if ctx.Err() != nil || !yield(ev, err) || err != nil {
					return
				}
				seq = ev.Seq
			}
			if len(events) > 0 {
				continue // There may be more by now.
			}
			select {
			case <-grown:
			case <-ctx.Done():
			}
		}
	}
}

func (s *Store) events(ctx context.Context, after task.Seq) ([]told, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT seq, at, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?`,
		int64(after), followBatch)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer rows.Close()
	var events []told
	for rows.Next() {
		var seq, at int64
		var body string
		if err := rows.Scan(&seq, &at, &body); err != nil {
			return nil, fmt.Errorf("scan event: %w", err)
		}
		events = append(events, newTold(task.Seq(seq), at, body))
	}
	return events, rows.Err()
}

// LastSeq returns the position of the newest event, also when that was forgotten;
// 0 if there never was one. It never goes back.
func (s *Store) LastSeq(ctx context.Context) (task.Seq, error) { return lastSeq(ctx, s.reader()) }

func lastSeq(ctx context.Context, q querier) (task.Seq, error) {
	var seq int64
	if err := q.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'`).Scan(&seq); err != nil {
		return 0, fmt.Errorf("read journal's end: %w", err)
	}
	return task.Seq(seq), nil
}

// The names of settings.
const (
	settingBeat     = "beat:" // and the boot ID
	settingInstance = "instance"
)

// Beat notes that the server lives. What it notes survives a power cut, so that
// after one nobody is charged for longer than that.
func (s *Store) Beat(ctx context.Context, now task.Instant) error {
	b, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encode beat: %w", err)
	}
	return s.set(ctx, settingBeat+now.BootID, string(b))
}

// LastBeat returns what the last Beat in that life of the host noted. ok is false
// if there was none.
func (s *Store) LastBeat(ctx context.Context, bootID string) (beat task.Instant, ok bool, err error) {
	v, err := s.setting(ctx, settingBeat+bootID)
	if err != nil || v == "" {
		return task.Instant{}, false, err
	}
	if err := json.Unmarshal([]byte(v), &beat); err != nil {
		return task.Instant{}, false, fmt.Errorf("decode beat: %w", err)
	}
	return beat, true, nil
}

// Instance returns the name of this installation, which it takes from fresh the
// first time.
func (s *Store) Instance(ctx context.Context, fresh string) (string, error) {
	v, err := s.setting(ctx, settingInstance)
	if err != nil || v != "" {
		return v, err
	}
	return fresh, s.set(ctx, settingInstance, fresh)
}

func (s *Store) set(ctx context.Context, name, value string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		return writeSetting(ctx, tx, name, value)
	})
}

func writeSetting(ctx context.Context, tx *sql.Tx, name, value string) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value); err != nil {
		return fmt.Errorf("write setting %s: %w", name, err)
	}
	return nil
}

// setting returns the value of a setting, empty if it was never set.
func (s *Store) setting(ctx context.Context, name string) (string, error) {
	return readSetting(ctx, s.reader(), name)
}

func readSetting(ctx context.Context, q querier, name string) (string, error) {
	var v string
	err := q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read setting %s: %w", name, err)
	}
	return v, nil
}
