package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/billing"
)

// UsageBy is part of billing.History.
func (s *Store) UsageBy(ctx context.Context, q billing.GroupQuery) ([]billing.GroupSum, error) {
	var keys []string
	var args []any
	for _, by := range q.By {
		switch by {
		case "task":
			keys = append(keys, "t.task")
		case "family":
			keys = append(keys, "t.family")
		case "definition":
			keys = append(keys, "t.family || ':' || t.revision")
		case "day":
			keys = append(keys, "date(r.at, 'unixepoch')")
		default:
			keys = append(keys, "coalesce((SELECT value FROM json_each(t.tags) WHERE key = ?), '')")
			args = append(args, strings.TrimPrefix(by, "tag:"))
		}
	}
	columns, order := "", ""
	for i, k := range keys {
		columns += fmt.Sprintf("%s AS key%d, ", k, i)
		order += fmt.Sprintf("key%d, ", i)
	}
	order = strings.TrimSuffix(order, ", ")
	first, last := stepsBetween(q.From, q.To)
	where := "r.step = ? AND r.at >= ? AND r.at < ?"
	args = append(args, int64(q.Step/time.Second), first, last)
	if q.Family != "" {
		where += " AND t.family = ?"
		args = append(args, q.Family)
	}
	query := `SELECT ` + columns + `count(DISTINCT r.task), total(r.covered), total(r.covered * t.cpu), total(r.covered * t.memory),
			total(1.0 * r.covered * t.storage), total(r.cpu), total(r.throttled), total(r.memory_over_time), total(r.storage_over_time),
			sum(r.read_bytes), sum(r.write_bytes), sum(r.rx_bytes), sum(r.tx_bytes), sum(r.oom_kills),
			max(r.working_set_peak), max(r.storage_peak)
		FROM usage_rolls r JOIN usage_tasks t ON t.n = r.task WHERE ` + where
	if order != "" {
		query += ` GROUP BY ` + order
		if q.After != nil {
			query += ` HAVING (` + order + `) > (?` + strings.Repeat(", ?", len(keys)-1) + `)`
			for i := range keys {
				args = append(args, append(q.After, "", "", "")[i])
			}
		}
		query += ` ORDER BY ` + order
	} else {
		query += ` HAVING count(*) > 0`
	}
	rows, err := s.reader().QueryContext(ctx, query+` LIMIT ?`, append(args, q.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("group usage: %w", err)
	}
	defer rows.Close()
	var all []billing.GroupSum
	for rows.Next() {
		g := billing.GroupSum{Key: make([]string, len(keys))}
		var to []any
		for i := range g.Key {
			to = append(to, &g.Key[i])
		}
		to = append(to, &g.Tasks, &g.Millis, &g.ReservedCPU, &g.ReservedMemory, &g.ReservedStorage, &g.CPUNanos, &g.ThrottledNanos,
			&g.MemoryByteMillis, &g.StorageByteMillis, &g.ReadBytes, &g.WriteBytes, &g.RxBytes, &g.TxBytes, &g.OOMKills,
			&g.WorkingSetPeak, &g.StoragePeak)
		if err := rows.Scan(to...); err != nil {
			return nil, fmt.Errorf("scan usage: %w", err)
		}
		all = append(all, g)
	}
	return all, rows.Err()
}
