package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"
	"time"

	"berth/notice"
	"berth/task"
)

var _ notice.Book = (*Store)(nil)

// note keeps a notice and wakes who follows them and who delivers them, after the
// commit. A notice whose ID is known is not kept again, whatever else is in it. It is
// for use in a write, which keeps it together with what it tells of. One that
// notice.Check refuses is an error. Notices that are older than notice.Keep are forgotten.
func (s *Store) note(ctx context.Context, tx *sql.Tx, n notice.Notice) error {
	if err := n.Check(); err != nil {
		return err
	}
	var next any
	if n.Webhook != "" {
		next = s.at()
	}
	oldest := nanos(s.Now().Add(-notice.Keep))
	if nanos(n.At) >= oldest {
		if _, err := tx.ExecContext(ctx, `INSERT INTO notices (id, at, type, subject, data, webhook, next_at) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (id) DO NOTHING`, n.ID, nanos(n.At), n.Type, n.Subject, string(n.Data), n.Webhook, next); err != nil {
			return fmt.Errorf("insert notice %s: %w", n.ID, err)
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM notices WHERE at < ?`, oldest); err != nil {
		return fmt.Errorf("forget notices: %w", err)
	}
	s.noting = true
	return nil
}

// PutNotice keeps a notice on its own, as note does.
func (s *Store) PutNotice(ctx context.Context, n notice.Notice) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.note(ctx, tx, n) })
}

// AskStopNoted is AskStop, and keeps n in the same transaction if this wish is the first.
func (s *Store) AskStopNoted(ctx context.Context, id task.ID, code, reason string, n notice.Notice) (task.Task, error) {
	var asked task.Task
	err := s.write(ctx, func(tx *sql.Tx) error {
		t, err := find(ctx, tx, id)
		if err != nil {
			return err
		}
		var changed bool
		if asked, changed = t.AskStop(code, reason); !changed {
			return nil
		}
		if err := s.replace(ctx, tx, asked); err != nil {
			return err
		}
		return s.note(ctx, tx, n)
	})
	return asked, err
}

// Noted returns a channel that is closed when more notices were kept. Who reads after
// taking it misses none.
func (s *Store) Noted() <-chan struct{} { return s.noted.next() }

const noticeColumns = `seq, id, at, type, subject, data, webhook, attempts, next_at, delivered_at, failure`

// Notices returns the notices that q selects, in order.
func (s *Store) Notices(ctx context.Context, q notice.Query) ([]notice.Record, error) {
	where, args := `seq > ?`, []any{int64(q.After)}
	if q.Subject != "" {
		where, args = where+` AND subject = ?`, append(args, q.Subject)
	}
	if q.Type != "" {
		where, args = where+` AND substr(type, 1, ?) = ?`, append(args, len([]rune(q.Type)), q.Type)
	}
	return s.notices(ctx, `SELECT `+noticeColumns+` FROM notices WHERE `+where+` ORDER BY seq LIMIT ?`, append(args, q.Limit)...)
}

// LastNotices returns the newest notices that q selects, at most q.Limit, the oldest of
// them first.
func (s *Store) LastNotices(ctx context.Context, q notice.Query) ([]notice.Record, error) {
	return s.notices(ctx, `SELECT * FROM (SELECT `+noticeColumns+` FROM notices WHERE seq > ?1 AND (?2 = '' OR subject = ?2)
			AND substr(type, 1, length(?3)) = ?3 ORDER BY seq DESC LIMIT ?4) ORDER BY seq`, int64(q.After), q.Subject, q.Type, q.Limit)
}

// FollowNotices yields the notices that q selects and then waits for more until ctx
// ends. It takes no notice of q.Limit. What was forgotten is passed over.
func (s *Store) FollowNotices(ctx context.Context, q notice.Query) iter.Seq2[notice.Record, error] {
	return func(yield func(notice.Record, error) bool) {
		q := q
		for q.Limit = followBatch; ctx.Err() == nil; {
			noted := s.Noted()
			records, err := s.Notices(ctx, q)
			if err != nil {
				if ctx.Err() == nil {
					yield(notice.Record{}, err)
				}
				return
			}
			for _, r := range records {
				if ctx.Err() != nil || !yield(r, nil) {
					return
				}
				q.After = r.Seq
			}
			if len(records) > 0 {
				continue
			}
			select {
			case <-noted:
			case <-ctx.Done():
			}
		}
	}
}

// LastNotice returns the position of the newest notice, also when that was forgotten;
// 0 if there never was one.
func (s *Store) LastNotice(ctx context.Context) (notice.Seq, error) {
	var seq int64
	if err := s.reader().QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'notices'`).Scan(&seq); err != nil {
		return 0, fmt.Errorf("read end of notices: %w", err)
	}
	return notice.Seq(seq), nil
}

// Undelivered is part of notice.Book. min makes SQLite take the other columns from the
// row that has it.
func (s *Store) Undelivered(ctx context.Context, limit int) ([]notice.Record, error) {
	columns := strings.Replace(noticeColumns, "next_at", "min(next_at) AS due", 1)
	return s.notices(ctx, `SELECT `+columns+` FROM notices WHERE next_at IS NOT NULL GROUP BY webhook ORDER BY due LIMIT ?`, limit)
}

// Delivered is part of notice.Book.
func (s *Store) Delivered(ctx context.Context, seq notice.Seq, at time.Time) error {
	return s.attempted(ctx, seq, nil, nanos(at), "")
}

// Failed is part of notice.Book.
func (s *Store) Failed(ctx context.Context, seq notice.Seq, why string, next time.Time) error {
	var at any
	if !next.IsZero() {
		at = nanos(next)
	}
	return s.attempted(ctx, seq, at, nil, why)
}

func (s *Store) attempted(ctx context.Context, seq notice.Seq, next, delivered any, why string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE notices SET attempts = attempts + 1, next_at = ?, delivered_at = ?, failure = ?
				WHERE seq = ? AND next_at IS NOT NULL`, next, delivered, why, int64(seq)); err != nil {
			return fmt.Errorf("note delivery of notice %d: %w", seq, err)
		}
		return nil
	})
}

func (s *Store) notices(ctx context.Context, query string, args ...any) ([]notice.Record, error) {
	rows, err := s.reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	defer rows.Close()
	var all []notice.Record
	for rows.Next() {
		var r notice.Record
		var seq, at int64
		var data string
		var next, delivered sql.NullInt64
		if err := rows.Scan(&seq, &r.ID, &at, &r.Type, &r.Subject, &data, &r.Webhook, &r.Attempts, &next, &delivered, &r.Failure); err != nil {
			return nil, fmt.Errorf("scan notice: %w", err)
		}
		r.Seq, r.At, r.Data = notice.Seq(seq), timeOf(at), []byte(data)
		r.Next, r.Delivered = timeOf(next.Int64), timeOf(delivered.Int64)
		all = append(all, r)
	}
	return all, rows.Err()
}
