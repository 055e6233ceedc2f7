//go:build e2e

package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// contents returns the database but for what only says that the server lives: heartbeats,
// and positions in the journal.
func (s *server) contents() map[string]string {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "berth.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		s.t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	rows.Close()
	all := make(map[string]string)
	for _, table := range tables {
		if table == "settings" {
			continue
		}
		rows, err := db.Query(`SELECT * FROM ` + table)
		if err != nil {
			s.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			s.t.Fatal(err)
		}
		var text strings.Builder
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				s.t.Fatal(err)
			}
			fmt.Fprintln(&text, values...)
		}
		rows.Close()
		all[table] = text.String()
	}
	return all
}

// exitOf returns the exit code of a command.
func exitOf(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// Ensure a dry run starts nothing and writes nothing, and says what is so: that a task
// starts now, waits or never starts, and which images are here.
func TestDryRun(t *testing.T) {
	s := start(t, "--vcpu", "0.5", "--memory", "1024")
	file := filepath.Join(s.dir, "task.json")
	write := func(cpu, memory string) {
		if err := os.WriteFile(file, []byte(definition("dry", cpu, memory, "", "sleep", "20s")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code := s.call("PUT", "/api/v1/budgets/broke", `{"limit":"0.0002","action":"DENY","scope":{"user":["ann"],"family":["dry"]}}`, nil); code != 200 {
		t.Fatalf("budget: %d", code)
	}
	before, processes := s.contents(), len(leftovers(s.dir))
	for _, tt := range []struct {
		cpu, memory string
		more        []string
		code        int
		says        string
	}{
		{"256", "512", nil, 0, "Admission   now"},
		{"256", "512", []string{"--count", "3"}, 0, "2 now, 1 would wait"},
		{"1024", "2048", nil, 125, "RESOURCE:CPU"},
		{"256", "512", []string{"--started-by", "ann"}, 125, "budget broke allows $0.0002"},
		{"256", "512", []string{"--max-cost", "0.0002"}, 125, "maxCost"},
		{"256", "512", []string{"--cpu", "300"}, 125, "No Fargate configuration"},
		{"256", "512", []string{"--security-group", "none"}, 125, "none"},
	} {
		write(tt.cpu, tt.memory)
		out, err := s.berth("", append([]string{"run", "-f", file, "--dry-run"}, tt.more...)...)
		if exitOf(err) != tt.code || !strings.Contains(out, tt.says) || tt.code == 0 && !strings.Contains(out, "berth/demo:latest (here") {
			t.Errorf("%s CPU units, %v: %v\n%s", tt.cpu, tt.more, err, out)
		}
	}
	after := s.contents()
	for table, rows := range before {
		if after[table] != rows {
			t.Errorf("table %s was\n%s\nand is\n%s", table, rows, after[table])
		}
	}
	if len(before) < 15 || len(after) != len(before) || len(leftovers(s.dir)) != processes {
		t.Errorf("%d tables, and then %d; %d traces, and then %d", len(before), len(after), processes, len(leftovers(s.dir)))
	}

	write("256", "512") // The real one is as it was said, and is seen by this test.
	s.submit(definition("dry", "256", "512", "", "sleep", "20s"))
	second := s.submit(definition("dry", "256", "512", "", "sleep", "20s"))
	s.until(second.id(), "RUNNING", 20*time.Second)
	if out, err := s.berth("", "run", "-f", file, "--dry-run"); err != nil || !strings.Contains(out, "0 now, 1 would wait") || !strings.Contains(out, "dry:1") {
		t.Errorf("on a full host: %v\n%s", err, out)
	}
	if changed := s.contents(); changed["tasks"] == before["tasks"] || changed["definitions"] == before["definitions"] {
		t.Error("the test does not see what is written")
	}
}

// Ensure a run that costs or uses more than was asserted exits with a code of its own, and
// that a container's code comes first.
func TestAsserts(t *testing.T) {
	s := start(t)
	file := filepath.Join(s.dir, "task.json")
	if err := os.WriteFile(file, []byte(definition("job", "256", "512", "", "hello", "-for", "2s")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--assert-cost", "0.000205709", "--assert-peak-memory", "300MiB"}, 0, "Asserted: the cost was $0.000205709"}, // a minute
		{[]string{"--assert-cost", "0.000205708"}, 122, "Assertion failed: the cost was $0.000205709, more than $0.000205708"},
		{[]string{"--assert-peak-memory", "64KiB"}, 122, "Assertion failed: the peak of memory"},
		{[]string{"--assert-cost", "0.000411418", "--count", "2"}, 0, "Asserted: the cost was $0.000411418"},
		{[]string{"--assert-cost", "0.000411417", "--count", "2"}, 122, "Assertion failed"},
		{[]string{"--assert-cost", "0", "--", "exit", "3"}, 3, "Assertion failed"},
		{[]string{"--assert-cost", "1", "--dry-run"}, 125, "does not go with"},
	} {
		out, err := s.berth("", append([]string{"run", "-f", file}, tt.args...)...)
		if exitOf(err) != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%v: exit code %d, want %d\n%s", tt.args, exitOf(err), tt.code, out)
		}
	}

	// What it was for, and what it would have cost otherwise, is known soon after.
	s.eventually(15*time.Second, "the runs are recorded", func() error {
		out, err := s.berth("", "costs", "what-if", "--spot")
		if err != nil || !strings.Contains(out, "Total   8") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	out, err := s.berth("", "costs", "waste", "--output", "json")
	if err != nil || !strings.Contains(out, `"failedTasks": 1`) || !strings.Contains(out, `"cost": "0.001645672"`) {
		t.Errorf("waste: %v\n%s", err, out)
	}
}
