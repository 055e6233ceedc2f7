package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/eventbridge"
	"berth/fault"
	"berth/task"
)

var _ eventbridge.Book = (*Store)(nil)

// ruleBody is what a row has of a rule as JSON.
type ruleBody struct {
	Description, Pattern, Webhook string
	ChangedAt                     int64
}

// PutEventRule keeps a rule, in place of the one of that name. r.ID must be a fresh one; it
// stays as it was if nothing about the rule has changed. A new rule begins at r.At; one that
// was there goes on where it is. More than eventbridge.MostRules are fault.Exhausted.
func (s *Store) PutEventRule(ctx context.Context, r eventbridge.Rule) (eventbridge.Rule, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		old, err := eventRule(ctx, tx, r.Realm, r.Name)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM event_rules WHERE account = ? AND region = ?`, r.Realm.Account, r.Realm.Region).Scan(&n); err != nil {
				return fmt.Errorf("count event rules: %w", err)
			}
			if n >= eventbridge.MostRules {
				return fault.New(fault.Exhausted, "an account has at most %d event rules in a region", eventbridge.MostRules)
			}
		case err != nil:
			return err
		case old.Pattern == r.Pattern && old.Webhook == r.Webhook && old.Description == r.Description:
			r = old
			return nil
		default:
			r.Progress = old.Progress
			r.Failure = "" // of another webhook, maybe
		}
		body, err := json.Marshal(ruleBody{r.Description, r.Pattern, r.Webhook, nanos(r.ChangedAt)})
		if err != nil {
			return fmt.Errorf("encode event rule: %w", err)
		}
		progress, err := json.Marshal(r.Progress)
		if err != nil {
			return fmt.Errorf("encode progress of event rule: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO event_rules (account, region, name, id, body, task_seq, service_seq, progress) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (account, region, name) DO UPDATE SET id = excluded.id, body = excluded.body, progress = excluded.progress`,
			r.Realm.Account, r.Realm.Region, r.Name, r.ID, string(body), int64(r.At.Task), r.At.Service, string(progress)); err != nil {
			return fmt.Errorf("write event rule: %w", err)
		}
		return nil
	})
	if err == nil {
		s.ruled.broadcast()
	}
	return r, err
}

// RemoveEventRule forgets a rule. One that does not exist is fault.NotFound.
func (s *Store) RemoveEventRule(ctx context.Context, in task.Realm, name string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM event_rules WHERE account = ? AND region = ? AND name = ?`, in.Account, in.Region, name)
		if err != nil {
			return fmt.Errorf("remove event rule: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, noRule(name))
		}
		return nil
	})
	if err == nil {
		s.ruled.broadcast()
	}
	return err
}

func noRule(name string) error {
	return fault.New(fault.NotFound, "no event rule is called %.80q", name)
}

// EventRule returns the rule of that name. One that does not exist is fault.NotFound.
func (s *Store) EventRule(ctx context.Context, in task.Realm, name string) (eventbridge.Rule, error) {
	return eventRule(ctx, s.reader(), in, name)
}

func eventRule(ctx context.Context, q querier, in task.Realm, name string) (eventbridge.Rule, error) {
	all, err := eventRules(ctx, q, `WHERE account = ? AND region = ? AND name = ?`, in.Account, in.Region, name)
	if err == nil && len(all) == 0 {
		err = noRule(name)
	}
	if err != nil {
		return eventbridge.Rule{}, err
	}
	return all[0], nil
}

// EventRulesOf returns the rules of an account and region, by name.
func (s *Store) EventRulesOf(ctx context.Context, in task.Realm) ([]eventbridge.Rule, error) {
	return eventRules(ctx, s.reader(), `WHERE account = ? AND region = ?`, in.Account, in.Region)
}

// EventRules is part of eventbridge.Book.
func (s *Store) EventRules(ctx context.Context) ([]eventbridge.Rule, error) {
	return eventRules(ctx, s.reader(), ``)
}

// RulesChanged is part of eventbridge.Book.
func (s *Store) RulesChanged() <-chan struct{} { return s.ruled.next() }

// NoteProgress is part of eventbridge.Book.
func (s *Store) NoteProgress(ctx context.Context, id string, p eventbridge.Progress) error {
	progress, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode progress of event rule: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE event_rules SET task_seq = max(task_seq, ?), service_seq = max(service_seq, ?), progress = ? WHERE id = ?`,
			int64(p.At.Task), p.At.Service, string(progress), id); err != nil {
			return fmt.Errorf("note progress of event rule: %w", err)
		}
		return nil
	})
}

func eventRules(ctx context.Context, q querier, where string, args ...any) ([]eventbridge.Rule, error) {
	rows, err := q.QueryContext(ctx, `SELECT account, region, name, id, body, task_seq, service_seq, progress FROM event_rules `+where+` ORDER BY account, region, name`, args...)
	if err != nil {
		return nil, fmt.Errorf("read event rules: %w", err)
	}
	defer rows.Close()
	var all []eventbridge.Rule
	for rows.Next() {
		var r eventbridge.Rule
		var body, progress string
		var tasks, services int64
		if err := rows.Scan(&r.Realm.Account, &r.Realm.Region, &r.Name, &r.ID, &body, &tasks, &services, &progress); err != nil {
			return nil, fmt.Errorf("scan event rule: %w", err)
		}
		var b ruleBody
		if err := errors.Join(json.Unmarshal([]byte(body), &b), json.Unmarshal([]byte(progress), &r.Progress)); err != nil {
			return nil, fmt.Errorf("decode event rule %s: %w", r.Name, err)
		}
		r.Description, r.Pattern, r.Webhook, r.ChangedAt = b.Description, b.Pattern, b.Webhook, timeOf(b.ChangedAt)
		r.At = eventbridge.Position{Task: task.Seq(tasks), Service: services}
		all = append(all, r)
	}
	return all, rows.Err()
}
