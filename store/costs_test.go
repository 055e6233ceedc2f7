package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

var costEpoch = time.Date(2026, 10, 30, 5, 0, 0, 0, time.UTC)

// costTask is a task that can be charged.
func costTask(i int, family, group, by string, tags ...task.Tag) task.Task {
	id := task.ID(fmt.Sprintf("%032x", i))
	return task.Task{
		ID: id, ARN: storetest.Realm.TaskARN(id), DefinitionARN: storetest.Realm.DefinitionARN(family, i%3+1), Version: 1,
		LastStatus: task.Pending, DesiredStatus: task.Running, CPU: "256", Memory: "512", Arch: "X86_64", Group: group, StartedBy: by,
		Tags: tags, CreatedAt: costEpoch,
	}
}

// spend charges a task for some time in pieces, of which the pieces but the last
// are posted before its tags change.
func spend(t testing.TB, s *store.Store, tk task.Task, pieces []time.Duration, retag func()) {
	ctx := context.Background()
	terms := billing.Terms{Prices: billing.BuiltIn()}
	at := tk.PullStartedAt
	cursors := billing.Open(tk, billing.BuiltIn())
	var moves []billing.Move
	for _, c := range cursors {
		moves = append(moves, billing.Move{New: c})
	}
	for i, d := range pieces {
		at = at.Add(d)
		for j, c := range cursors {
			next, entries := c.Advance(at, terms)
			if i == len(pieces)-1 {
				next, entries = c.Close(at, terms, nil)
			}
			if next != c {
				moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
			}
			cursors[j] = next
		}
		if err := s.Post(ctx, 1, moves); err != nil {
			t.Fatal(err)
		}
		moves = nil
		if i == 0 {
			retag()
		}
	}
}

// Ensure that sums say what the entries say that they are sums of, for any
// question, and that verification agrees.
func TestCosts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		s := storetest.OpenUnclosed(t, t.TempDir())
		defer s.Close()
		word := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, label) }
		for i := range rapid.IntRange(1, 5).Draw(rt, "tasks") {
			tk := costTask(i+1, word("family", "web", "db"), word("group", "family:web", "nightly"), word("user", "", "ann", "bob"))
			if word("tagged", "yes", "no") == "yes" {
				tk.Tags = []task.Tag{{Key: "team", Value: word("team", "red", "blue", "")}}
			}
			tk.PullStartedAt = costEpoch.Add(time.Duration(rapid.Int64Range(0, int64(40*time.Hour)).Draw(rt, "start")))
			if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
				t.Fatal(err)
			}
			var pieces []time.Duration
			for range rapid.IntRange(1, 4).Draw(rt, "pieces") {
				pieces = append(pieces, time.Duration(rapid.Int64Range(1, int64(9*time.Hour)).Draw(rt, "piece")))
			}
			spend(t, s, tk, pieces, func() {
				if word("retag", "yes", "no") == "yes" {
					if _, err := s.Tag(ctx, tk.ID, []task.Tag{{Key: "team", Value: word("to", "red", "green")}}, nil); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
		if a, err := s.VerifyLedger(ctx, nil); err != nil || !a.OK {
			rt.Fatal(a.Bad, err)
		}
		for range 8 {
			q := billing.CostQuery{
				From: costEpoch.Add(time.Duration(rapid.IntRange(-30, 60).Draw(rt, "from")) * time.Hour), Granularity: word("by", "TOTAL", "HOURLY", "DAILY", "MONTHLY"),
				Filters: make(map[string][]string),
			}
			q.To = q.From.Add(time.Duration(rapid.IntRange(1, 80).Draw(rt, "hours")) * time.Hour)
			all := []string{"task", "family", "definition", "group", "user", "account", "sku", "region", "tag:team", "tag:none"}
			q.GroupBy = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 3, rapid.ID).Draw(rt, "groupBy")
			for _, f := range [][]string{{"family", "web"}, {"user", "ann", "bob"}, {"tag:team", "red", "green"}, {"sku", string(billing.VCPU)}, {"task", fmt.Sprintf("%032x", 1)}} {
				if rapid.IntRange(0, 4).Draw(rt, f[0]) == 0 {
					q.Filters[f[0]] = f[1:]
				}
			}
			if rapid.IntRange(0, 6).Draw(rt, "any team") == 0 {
				q.Filters["tag:team"] = nil
			}
			want := naive(t, s, q)
			got := make(map[string]string)
			token := ""
			for {
				r, err := s.Costs(ctx, q, rapid.IntRange(1, 5).Draw(rt, "limit"), token)
				if err != nil {
					rt.Fatal(err)
				}
				for _, g := range r.Groups {
					key := g.From.Format(time.RFC3339) + " " + g.To.Format(time.RFC3339) + " " + strings.Join(g.Keys, "|")
					if _, twice := got[key]; twice {
						rt.Fatalf("%s is there twice", key)
					}
					got[key] = fmt.Sprint(g.Amount, " ", g.VCPUHours, " ", g.MemoryGBHours)
				}
				if want := want[""]; fmt.Sprint(r.Total.Amount, " ", r.Total.VCPUHours, " ", r.Total.MemoryGBHours) != want {
					rt.Fatalf("%+v: the total is %+v and must be %s", q, r.Total, want)
				}
				if token = r.NextToken; token == "" {
					break
				}
			}
			delete(want, "")
			if !maps.Equal(got, want) {
				rt.Fatalf("%+v:\n%v\nand must be\n%v", q, got, want)
			}
		}
	})
}

// naive answers q from the entries, one by one; "" is the total.
func naive(t testing.TB, s *store.Store, q billing.CostQuery) map[string]string {
	type sum struct {
		amount       int64
		vcpu, memory *big.Int
	}
	sums := map[string]*sum{"": {vcpu: new(big.Int), memory: new(big.Int)}}
	for c, err := range s.Charges(context.Background(), q.From, q.To) {
		if err != nil {
			t.Fatal(err)
		}
		f := c.Facts
		of := map[string]string{"task": string(c.Task), "family": f.Family(), "definition": f.Definition, "group": f.Group, "user": f.StartedBy,
			"account": f.Account, "sku": string(c.SKU), "region": f.Region}
		for _, tag := range f.Tags {
			of["tag:"+tag.Key] = tag.Value
		}
		passes := true
		for by, values := range q.Filters {
			v, there := of[by]
			passes = passes && there && (values == nil || slices.Contains(values, v))
		}
		if !passes {
			continue
		}
		from, to := q.Step(c.Booked)
		var keys []string
		for _, by := range q.GroupBy {
			keys = append(keys, of[by])
		}
		key := from.Format(time.RFC3339) + " " + to.Format(time.RFC3339) + " " + strings.Join(keys, "|")
		if sums[key] == nil {
			sums[key] = &sum{vcpu: new(big.Int), memory: new(big.Int)}
		}
		for _, into := range []*sum{sums[key], sums[""]} {
			into.amount += int64(c.Amount)
			if c.SKU == billing.VCPU {
				into.vcpu.Add(into.vcpu, big.NewInt(c.Units))
			} else {
				into.memory.Add(into.memory, big.NewInt(c.Units))
			}
		}
	}
	all := make(map[string]string)
	for key, v := range sums {
		hour := big.NewInt(1024 * int64(time.Hour))
		all[key] = fmt.Sprint(billing.Money(v.amount), " ", new(big.Rat).SetFrac(v.vcpu, hour).FloatString(10), " ", new(big.Rat).SetFrac(v.memory, hour).FloatString(10))
	}
	return all
}

// Ensure that a changed sum is found and named, and facts cannot be changed.
func TestCostsForged(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	tk := costTask(1, "web", "family:web", "ann", task.Tag{Key: "team", Value: "red"})
	tk.PullStartedAt = costEpoch
	if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	spend(t, s, tk, []time.Duration{30 * time.Hour}, func() {})
	if a, err := s.VerifyLedger(ctx, nil); err != nil || !a.OK {
		t.Fatal(a.Bad, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{`UPDATE cost_facts SET family = 'x'`, `DELETE FROM cost_facts`, `UPDATE cost_tasks SET since = 1`, `DELETE FROM cost_tags`} {
		if _, err := db.Exec(q); err == nil {
			t.Errorf("%s: the database allowed it", q)
		}
	}
	made := func(trigger string) (text string) {
		t.Helper()
		if err := db.QueryRow(`SELECT sql FROM sqlite_schema WHERE name = ?`, trigger).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	hour := costEpoch.Unix() / 3600
	for _, c := range []struct{ change, undo, culprit string }{
		{fmt.Sprintf(`UPDATE cost_hours SET amount = amount + 1 WHERE hour = %d AND sku LIKE '%%vCPU%%'`, hour+3),
			`UPDATE cost_hours SET amount = amount - 1 WHERE hour = ` + fmt.Sprint(hour+3) + ` AND sku LIKE '%vCPU%'`,
			fmt.Sprintf("cost_hours %d 1 %s: it is not the sum", hour+3, billing.VCPU)},
		{`UPDATE cost_hours SET used_ns = 1 WHERE hour = ` + fmt.Sprint(hour), `UPDATE cost_hours SET used_ns = 0 WHERE hour = ` + fmt.Sprint(hour),
			fmt.Sprintf("cost_hours %d 1 ", hour)},
		{`UPDATE cost_hours SET entries = entries + 1 WHERE hour = ` + fmt.Sprint(hour), `UPDATE cost_hours SET entries = entries - 1 WHERE hour = ` + fmt.Sprint(hour),
			"it counts 1 entries more"},
		{`INSERT INTO cost_hours SELECT hour + 100, facts, sku, entries, amount, units, units_ns, used, used_ns FROM cost_hours LIMIT 1`,
			`DELETE FROM cost_hours WHERE hour >= ` + fmt.Sprint(hour+100), "nothing is booked in it"},
		{`UPDATE cost_days SET entries = entries + 1 WHERE day = ` + fmt.Sprint(hour/24), `UPDATE cost_days SET entries = entries - 1 WHERE day = ` + fmt.Sprint(hour/24),
			fmt.Sprintf("cost_days %d 1 ", hour/24)},
		{`INSERT INTO cost_tags VALUES (1, 'more', '')`, `DROP TRIGGER cost_tags_no_delete; DELETE FROM cost_tags WHERE key = 'more'; ` + made("cost_tags_no_delete"),
			"cost_tags 1 more"},
		{`INSERT INTO cost_tasks SELECT printf('%032x', 2), 0, 1`, `DROP TRIGGER cost_tasks_no_delete; DELETE FROM cost_tasks WHERE task LIKE '%2'; ` + made("cost_tasks_no_delete"),
			"cost_tasks 00000000000000000000000000000002 0: nothing was charged"},
		{`INSERT INTO cost_tasks SELECT task, 1000, 1 FROM cost_tasks`, `DROP TRIGGER cost_tasks_no_delete; DELETE FROM cost_tasks WHERE since = 1000; ` + made("cost_tasks_no_delete"),
			"cost_tasks 00000000000000000000000000000001 1000: no entry"},
		{`PRAGMA foreign_keys = OFF; DROP TRIGGER cost_facts_no_update; UPDATE cost_facts SET id = 2; ` + made("cost_facts_no_update"),
			`DROP TRIGGER cost_facts_no_update; UPDATE cost_facts SET id = 1; ` + made("cost_facts_no_update"), "cost_facts 1: it is missing"},
	} {
		if _, err := db.Exec(c.change); err != nil {
			t.Fatalf("%s: %v", c.change, err)
		}
		a, err := store.VerifyLedgerIn(ctx, filepath.Join(dir, "berth.db"), nil)
		if err != nil || a.OK || !strings.Contains(a.Bad.Error(), c.culprit) {
			t.Errorf("%s: verify says %v, %v and must name %s", c.change, a.Bad, err, c.culprit)
		}
		if _, err := db.Exec(c.undo); err != nil {
			t.Fatalf("%s: %v", c.undo, err)
		}
	}
	if a, err := store.VerifyLedgerIn(ctx, filepath.Join(dir, "berth.db"), nil); err != nil || !a.OK {
		t.Errorf("after all was taken back: %v, %v", a.Bad, err)
	}
}

// Ensure that a query that asks for nothing sensible is refused by name.
func TestCostsRefused(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	good := billing.CostQuery{From: costEpoch, To: costEpoch.Add(time.Hour), Granularity: billing.Total}
	for field, spoil := range map[string]func(*billing.CostQuery){
		"to":          func(q *billing.CostQuery) { q.To = q.From },
		"from":        func(q *billing.CostQuery) { q.From = q.From.Add(-time.Second) },
		"granularity": func(q *billing.CostQuery) { q.Granularity = "WEEKLY" },
		"groupBy":     func(q *billing.CostQuery) { q.GroupBy = []string{"team"} },
		"colour":      func(q *billing.CostQuery) { q.Filters = map[string][]string{"colour": {"red"}} },
	} {
		q := good
		spoil(&q)
		if _, err := s.Costs(context.Background(), q, 10, ""); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := s.Costs(context.Background(), good, 10, "nonsense"); fault.FieldOf(err) != "nextToken" {
		t.Errorf("a token that nobody made: %v", err)
	}
}
