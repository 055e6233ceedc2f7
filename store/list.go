package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Filter says which tasks to list. Zero fields do not filter.
type Filter struct {
	Account       string
	Region        string
	Cluster       string
	Status        task.Status
	DesiredStatus task.Status
	Family        string
	Group         string
	StartedBy     string
	Tag           *task.Tag // an empty Value means any
	IDs           []task.ID
	CreatedAfter  time.Time // at that time or later
	CreatedBefore time.Time
}

// Page says which part of a list to return.
type Page struct {
	Limit int    // how many at most; less than 1 counts as 1
	Token string // what the page before returned; empty for the first
}

// Tasks lists tasks, newest first, and returns a token for the next page, empty
// after the last. A token that no page returned is fault.Invalid.
func (s *Store) Tasks(ctx context.Context, f Filter, p Page) ([]task.Task, string, error) {
	where, args := []string{"1"}, []any{}
	add := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	if f.Account != "" {
		add("account = ?", f.Account)
	}
	if f.Region != "" {
		add("region = ?", f.Region)
	}
	if f.Cluster != "" {
		add("cluster = ?", f.Cluster)
	}
	if f.Status != "" {
		add("status = ?", f.Status)
	}
	if f.DesiredStatus != "" {
		add("desired_status = ?", f.DesiredStatus)
	}
	if f.Family != "" {
		add("family = ?", f.Family)
	}
	if f.Group != "" {
		add("task_group = ?", f.Group)
	}
	if f.StartedBy != "" {
		add("started_by = ?", f.StartedBy)
	}
	if f.Tag != nil {
		add("EXISTS (SELECT 1 FROM task_tags WHERE task = tasks.id AND key = ? AND (? = '' OR value = ?))", f.Tag.Key, f.Tag.Value, f.Tag.Value)
	}
	if len(f.IDs) > 0 {
		ids, err := json.Marshal(f.IDs)
		if err != nil {
			return nil, "", fmt.Errorf("encode IDs: %w", err)
		}
		add("id IN (SELECT value FROM json_each(?))", string(ids))
	}
	if !f.CreatedAfter.IsZero() {
		add("created_at >= ?", nanos(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		add("created_at < ?", nanos(f.CreatedBefore))
	}
	if p.Token != "" {
		after, err := openToken(tasksToken, p.Token)
		if err != nil {
			return nil, "", err
		}
		add("id < ?", after)
	}
	limit := max(p.Limit, 1)
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM tasks WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`,
		append(args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list tasks: %w", err)
	}
	ts, err := scanTasks(rows)
	if err != nil || len(ts) <= limit {
		return ts, "", err
	}
	ts = ts[:limit]
	return ts, sealToken(tasksToken, string(ts[limit-1].ID)), nil
}

func scanTasks(rows *sql.Rows) ([]task.Task, error) {
	defer rows.Close()
	ts := []task.Task{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan task: %w", err)
		}
		t, err := decode(body)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return ts, rows.Err()
}

// Tokens are opaque to clients: which list, and the place where its page ended.
const (
	tasksToken       = "berth1:"
	clustersToken    = "berth1-clusters:"
	definitionsToken = "berth1-definitions:"
	familiesToken    = "berth1-families:"
)

func sealToken(list, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + after))
}

func openToken(list, token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(b), list)
	if err != nil || !ok || after == "" {
		return "", fault.At("nextToken", "is not a token that a list returned")
	}
	return after, nil
}

// Unfinished returns the tasks that have not stopped, oldest first, and the
// position in the journal that this answer is true for.
func (s *Store) Unfinished(ctx context.Context) ([]task.Task, task.Seq, error) {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot for both
	if err != nil {
		return nil, 0, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	seq, err := lastSeq(ctx, tx)
	if err != nil {
		return nil, 0, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT body FROM tasks WHERE status <> 'STOPPED' ORDER BY id`)
	if err != nil {
		return nil, 0, fmt.Errorf("list unfinished tasks: %w", err)
	}
	ts, err := scanTasks(rows)
	return ts, seq, err
}

// Count returns how many tasks are in each status.
func (s *Store) Count(ctx context.Context) (map[task.Status]int, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT status, count(*) FROM tasks GROUP BY status`)
	return scanCounts(rows, err)
}

// scanCounts reads how many tasks are in each status.
func scanCounts(rows *sql.Rows, err error) (map[task.Status]int, error) {
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	defer rows.Close()
	counts := make(map[task.Status]int)
	for rows.Next() {
		var status task.Status
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("scan count: %w", err)
		}
		counts[status] = n
	}
	return counts, rows.Err()
}
