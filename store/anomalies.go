package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/billing"
	"berth/billing/anomaly"
	"berth/notice"
)

var _ anomaly.Book = (*Store)(nil)

// settingAnomalies is the hour, since 1970, up to which anomalies were looked for.
const settingAnomalies = "anomalies"

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// CostSeries is part of anomaly.Book. It reads the sums of these hours once, in the order
// in which they are stored, and day by day: a snapshot that is held keeps the log of the
// database from being cut.
func (s *Store) CostSeries(ctx context.Context, from, to time.Time) ([]anomaly.Series, error) {
	r := seriesReader{
		first: hourOf(from), last: hourOf(to),
		facts: make(map[int64]anomaly.Key), columns: make(map[costColumn][]billing.Money), series: make(map[anomaly.Key][]billing.Money),
	}
	for day := r.first; day < r.last; day += 24 {
		if err := r.read(ctx, s.reader(), day, min(day+24, r.last)); err != nil {
			return nil, err
		}
	}
	all := make([]anomaly.Series, 0, len(r.series))
	for key, hours := range r.series {
		all = append(all, anomaly.Series{Key: key, Hours: hours})
	}
	slices.SortFunc(all, func(a, b anomaly.Series) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Family, b.Family), cmp.Compare(a.SKU, b.SKU))
	})
	return all, nil
}

// seriesReader adds up the sums of hours from first to last.
type seriesReader struct {
	first, last int64
	newest      int64 // of facts
	facts       map[int64]anomaly.Key
	columns     map[costColumn][]billing.Money // which series it is in; many are in one
	series      map[anomaly.Key][]billing.Money
}

// costColumn is what is summed up by hour.
type costColumn struct {
	facts int64
	sku   string
}

// read reads hours from from to to.
func (r *seriesReader) read(ctx context.Context, db *sql.DB, from, to int64) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // sums, and facts that they refer to
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	if err := r.readFacts(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT hour, facts, sku, amount FROM cost_hours WHERE hour >= ? AND hour < ?`, from, to)
	if err != nil {
		return fmt.Errorf("read costs by hour: %w", err)
	}
	defer rows.Close()
	var hour, amount int64
	var c costColumn
	for rows.Next() {
		if err := rows.Scan(&hour, &c.facts, &c.sku, &amount); err != nil {
			return fmt.Errorf("scan costs by hour: %w", err)
		}
		hours := r.columns[c]
		if hours == nil {
			key := r.facts[c.facts]
			key.SKU = billing.SKU(c.sku)
			if hours = r.series[key]; hours == nil {
				hours = make([]billing.Money, r.last-r.first)
				r.series[key] = hours
			}
			r.columns[c] = hours
		}
		hours[hour-r.first] += billing.Money(amount)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read costs by hour: %w", err)
	}
	return nil
}

// readFacts reads the account and the family of facts that are new.
func (r *seriesReader) readFacts(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, account, family FROM cost_facts WHERE id > ? ORDER BY id`, r.newest)
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k anomaly.Key
		if err := rows.Scan(&r.newest, &k.Account, &k.Family); err != nil {
			return fmt.Errorf("scan facts: %w", err)
		}
		r.facts[r.newest] = k
	}
	return rows.Err()
}

// CostCount is part of anomaly.Book.
func (s *Store) CostCount(ctx context.Context, k anomaly.Key, hours []time.Time) (anomaly.Count, error) {
	at := make([]int64, len(hours))
	for i, h := range hours {
		at[i] = hourOf(h)
	}
	list, err := json.Marshal(at)
	if err != nil {
		return anomaly.Count{}, fmt.Errorf("encode hours: %w", err)
	}
	var c anomaly.Count
	err = s.reader().QueryRowContext(ctx, `SELECT coalesce(sum(entries), 0), coalesce(sum(units), 0), coalesce(sum(amount), 0) FROM cost_hours
			WHERE hour IN (SELECT value FROM json_each(?)) AND sku = ? AND facts IN (SELECT id FROM cost_facts WHERE account = ? AND family = ?)`,
		string(list), string(k.SKU), k.Account, k.Family).Scan(&c.Entries, &c.Units, &c.Amount)
	if err != nil {
		return c, fmt.Errorf("count charges: %w", err)
	}
	return c, nil
}

// AnomaliesUntil is part of anomaly.Book.
func (s *Store) AnomaliesUntil(ctx context.Context) (time.Time, error) {
	v, err := s.setting(ctx, settingAnomalies)
	if err != nil || v == "" {
		return time.Time{}, err
	}
	hour, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read setting %s: %w", settingAnomalies, err)
	}
	return time.Unix(hour*3600, 0).UTC(), nil
}

// PutAnomalies is part of anomaly.Book. Anomalies are kept as long as notices.
func (s *Store) PutAnomalies(ctx context.Context, until time.Time, found []anomaly.Anomaly, tell []notice.Notice) error {
	bodies := make([]string, len(found))
	for i, a := range found {
		b, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("encode anomaly: %w", err)
		}
		bodies[i] = string(b)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		for i, a := range found {
			if _, err := tx.ExecContext(ctx, `INSERT INTO anomalies (id, hour, body) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`,
				a.ID, hourOf(a.From), bodies[i]); err != nil {
				return fmt.Errorf("insert anomaly %s: %w", a.ID, err)
			}
		}
		for _, n := range tell {
			if err := s.note(ctx, tx, n); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM anomalies WHERE hour < ?`, hourOf(s.Now().Add(-notice.Keep))); err != nil {
			return fmt.Errorf("forget anomalies: %w", err)
		}
		return writeSetting(ctx, tx, settingAnomalies, strconv.FormatInt(hourOf(until), 10))
	})
}

// Anomalies returns what was found in the hours from from to to, which is not included,
// the latest first, at most limit.
func (s *Store) Anomalies(ctx context.Context, from, to time.Time, limit int) ([]anomaly.Anomaly, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM anomalies WHERE hour >= ? AND hour < ? ORDER BY hour DESC, id LIMIT ?`,
		hourOf(from), hourOf(to), limit)
	if err != nil {
		return nil, fmt.Errorf("read anomalies: %w", err)
	}
	defer rows.Close()
	all := []anomaly.Anomaly{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan anomaly: %w", err)
		}
		var a anomaly.Anomaly
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			return nil, fmt.Errorf("decode anomaly: %w", err)
		}
		all = append(all, a)
	}
	return all, rows.Err()
}
