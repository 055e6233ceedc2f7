package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"berth/billing"
)

// migrationTests say, for each file, what the database held before it and what
// must be true after it.
var migrationTests = map[string]struct {
	before []string
	after  map[string]string // query → answer
}{
	"0001_tasks.sql": {
		after: map[string]string{`SELECT count(*) FROM tasks`: "0", `SELECT count(*) FROM events`: "0"},
	},
	"0002_ledger.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`: "RUNNING",
			`SELECT count(*) FROM ledger_entries`:                    "0",
		},
	},
	"0003_guards.sql": {
		before: append(insertTask(someTask, "STOPPED"),
			`INSERT INTO families VALUES ('f', 7)`,
			`INSERT INTO definitions VALUES ('f', 7, 'INACTIVE', '{}', 1)`,
			`INSERT INTO usage_chunks VALUES ('`+someTask+`', 1, 2, 1, x'00')`),
		after: map[string]string{
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`:      "STOPPED",
			`SELECT last_revision FROM families WHERE family = 'f'`:       "7",
			`SELECT count(*) FROM usage_chunks`:                           "1",
			`SELECT status FROM definitions WHERE family = 'f'`:           "INACTIVE",
			`SELECT count(*) FROM events WHERE task = '` + someTask + `'`: "1",
		},
	},
	"0004_security_groups.sql": {
		after: map[string]string{`SELECT count(*) FROM security_groups`: "0"},
	},
	"0005_ledger.sql": {
		before: oldLedger(),
		after: map[string]string{
			`SELECT group_concat(n || ' ' || kind || ' ' || booked_at || ' ' || coalesce(used, '-') || ' ' || measured_at, ', ' ORDER BY n) FROM ledger_entries`: "0 METER 1000000000 - 3600000000000, 1 CORRECTION 3550000000000 - 3550000000000",
			`SELECT seq || ' ' || segment_at || ' ' || segment_amount || ' ' || measured_at || ' ' || closed FROM meter_cursors`:                                 "2 1000000000 9976633 3550000000000 1",
			`SELECT group_concat(a.name || ' ' || p.amount, ', ' ORDER BY p.entry, a.id) FROM ledger_postings p JOIN ledger_accounts a ON a.id = p.account`:      "asset:unbilled:000000000000 10117189, income:Fargate-vCPU-Hours:perCPU -10117189, asset:unbilled:000000000000 -140556, income:Fargate-vCPU-Hours:perCPU 140556",
			`SELECT count(*) FROM sqlite_schema WHERE name LIKE 'old%'`:                                                                                          "0",
		},
	},
	"0006_prices.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT count(*) FROM price_lists`:                       "0",
			`SELECT count(*) FROM price_changes`:                     "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`: "RUNNING",
		},
	},
	"0007_usage_series.sql": {
		before: append(insertTask(someTask, "RUNNING"), `INSERT INTO usage_chunks VALUES ('`+someTask+`', 1, 2, 1, x'00')`),
		after: map[string]string{
			`SELECT samples FROM usage_chunks WHERE from_at = 1`: "1",
			`SELECT count(*) FROM usage_rolls`:                   "0",
			`SELECT count(*) FROM usage_tasks`:                   "0",
		},
	},
	"0008_runs.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT count(*) FROM runs`:                              "0",
			`SELECT count(*) FROM quotes`:                            "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`: "RUNNING",
		},
	},
	"0009_costs.sql": {
		before: append(insertTask(someTask, "RUNNING"),
			`UPDATE tasks SET version = 2, body = json_set(body, '$.taskArn', 'arn:aws:ecs:us-east-1:000000000000:task/default/'||id,
				'$.taskDefinitionArn', 'arn:aws:ecs:us-east-1:000000000000:task-definition/f:7')`,
			cursor(someTask), cursor(otherTask),
			entry(0, someTask, 1, "METER", 3600, 10119), entry(1, otherTask, 1, "METER", 3600, 5), entry(2, someTask, 2, "METER", 7200, 7),
			entry(3, someTask, 3, "METER", 86400, 1), reversal(4, 1, 1)),
		after: map[string]string{
			`SELECT group_concat(id || ' ' || account || ' ' || region || ' ' || cluster || ' ' || definition || ' ' || task_group || ' ' || tags, ', ' ORDER BY id) FROM cost_facts`: `1 000000000000 us-east-1 default f:7 family:f [["k","v"]], 2 000000000000 us-east-1 default   []`,
			`SELECT group_concat(hour || ' ' || facts || ' ' || amount || ' ' || entries, ', ' ORDER BY hour, facts) FROM cost_hours`:                                                 "1 1 10119 1, 1 2 0 2, 2 1 7 1, 24 1 1 1",
			`SELECT group_concat(day || ' ' || facts || ' ' || amount || ' ' || units, ', ' ORDER BY day, facts) FROM cost_days`:                                                      "0 1 10126 512, 0 2 0 0, 1 1 1 256",
			`SELECT group_concat(task || ' ' || since || ' ' || facts, ', ' ORDER BY task) FROM cost_tasks`:                                                                           someTask + " 0 1, " + otherTask + " 1 2",
			`SELECT facts || key || value FROM cost_tags`: "1kv",
		},
	},
	"0010_budgets.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`:                      "RUNNING",
			`SELECT (SELECT count(*) FROM budgets) + (SELECT count(*) FROM budget_holds)`: "0",
		},
	},
	"0011_tuning.sql": {
		before: insertTask(someTask, "RUNNING"),
		after:  map[string]string{`SELECT count(*) FROM tunings, tuning_runs`: "0", `SELECT status FROM tasks WHERE id = '` + someTask + `'`: "RUNNING"},
	},
	"0012_notices.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT count(*) FROM notices`:                           "0",
			`SELECT count(*) FROM anomalies`:                         "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`: "RUNNING",
		},
	},
	"0013_ledger_blocks.sql": {before: unblocked(), after: blocked},
	"0015_access.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM policies) + (SELECT count(*) FROM audit)`: "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`:                                               "RUNNING",
		},
	},
	"0018_logs.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT (SELECT count(*) FROM log_groups) + (SELECT count(*) FROM log_streams) + (SELECT count(*) FROM log_events)`: "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`:                                                            "RUNNING",
		},
	},
	"0021_runs_of_accounts.sql": {
		before: append(insertTask(someTask, "STOPPED"), `INSERT INTO families VALUES ('123456789012', 'r', 'f', 1)`,
			`INSERT INTO runs VALUES ('`+someTask+`', 'f', 1, 2, '{}')`,
			`INSERT INTO runs VALUES ('`+otherTask+`', 'f', 1, 2, '{}')`,
			`INSERT INTO cost_facts (id, account, region, cluster, definition, task_group, started_by, tags, family) VALUES (1, '111111111111', 'r', 'c', 'f:1', 'g', '', '[]', 'f')`,
			`INSERT INTO cost_tasks VALUES ('`+otherTask+`', 0, 1)`),
		after: map[string]string{`SELECT group_concat(account, ' ' ORDER BY task) FROM runs`: "123456789012 111111111111", `SELECT count(*) FROM runs`: "2"},
	},
	"0014_tenants.sql": {
		before: append(append(insertTask(someTask, "RUNNING"), insertTask(otherTask, "STOPPED")...),
			`UPDATE tasks SET version = 2, body = json_set(body, '$.clusterArn', 'arn:aws:ecs:eu-west-2:123456789012:cluster/default') WHERE id = '`+someTask+`'`,
			`INSERT INTO families VALUES ('f', 7)`,
			`INSERT INTO definitions VALUES ('f', 7, 'INACTIVE', '{}', 1)`,
			`INSERT INTO requests VALUES ('token', 'hash', '[]', 3)`,
			`INSERT INTO security_groups VALUES ('sg-00000000000000001', 'web', '{}')`),
		after: map[string]string{
			`SELECT group_concat(account || region || cluster || status, ', ' ORDER BY id) FROM tasks`: "123456789012eu-west-2defaultRUNNING, 123456789012eu-west-2defaultSTOPPED",
			`SELECT account || region || family || last_revision FROM families`:                        "123456789012eu-west-2f7",
			`SELECT account || region || family || revision || status || created_at FROM definitions`:  "123456789012eu-west-2f7INACTIVE1",
			`SELECT account || region || token || hash || tasks || created_at FROM requests`:           "123456789012eu-west-2tokenhash[]3",
			`SELECT account || region || id || name FROM security_groups`:                              "123456789012eu-west-2sg-00000000000000001web",
			`SELECT (SELECT count(*) FROM clusters) + (SELECT count(*) FROM account_settings)`:         "0",
			`SELECT count(*) FROM sqlite_schema WHERE name LIKE 'old%'`:                                "0",
			`SELECT count(*) FROM task_tags`:                                                           "2",
		},
	},
	"0016_services.sql": {
		before: insertTask(someTask, "RUNNING"),
		after: map[string]string{
			`SELECT count(*) FROM services, service_deployments, service_revisions, service_events`: "0",
			`SELECT status FROM tasks WHERE id = '` + someTask + `'`:                                "RUNNING",
		},
	},
	"0017_target_groups.sql": {
		after: map[string]string{`SELECT count(*) FROM target_groups`: "0"},
	},
	"0020_rules_and_scaling.sql": {
		after: map[string]string{`SELECT (SELECT count(*) FROM event_rules) + (SELECT count(*) FROM scaling_targets) + (SELECT count(*) FROM scaling_activities)`: "0"},
	},
}

// cursor opens a charge as schema 5 has it.
func cursor(id string) string {
	return `INSERT INTO meter_cursors VALUES ('` + id + `', 'Fargate-vCPU-Hours:perCPU', 'arn:aws:ecs:us-east-1:000000000000:task/default/` + id + `',
		256, 1, 404800000, 'list', 1, 0, 0, 1, 0, 1, 0, 0)`
}

// entry books a second of a task as schema 5 has it.
func entry(n int, id string, seq int, kind string, at, amount int64) string {
	return fmt.Sprintf(`INSERT INTO ledger_entries VALUES (%d, '%032d', '%s', '000000000000', 'Fargate-vCPU-Hours:perCPU', %d, '%s', %d, %d, %d, 404800000,
		'list', %d, %d, NULL, 1, NULL, '', zeroblob(32))`, n, n, id, seq, kind, at*1e9, (at+1)*1e9, int64(256*1e9), amount, at*1e9)
}

// oldLedger is a ledger as schema 4 has it, of one task that ended before the
// meter thought so.
func oldLedger() []string {
	id := func(kind string, seq int) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", kind, someTask, billing.VCPU, seq))
		return hex.EncodeToString(sum[:16])
	}
	statements := []string{`INSERT INTO meter_cursors VALUES ('` + someTask + `', '` + string(billing.VCPU) + `', 'arn:aws:ecs:us-east-1:000000000000:task/default/x',
		256, 404800000, 'list', 1000000000, 2, 3550000000000, 9976633, 1, 3550000000000)`}
	for i, e := range []struct {
		kind                    string
		from, to, units, amount int64
	}{
		{"METER", 1e9, 3600e9, 256 * 3599e9, 10117189},
		{"CORRECTION", 3600e9, 3550e9, -256 * 50e9, -140556},
	} {
		id := id(e.kind, i+1)
		body := fmt.Sprintf("v1|%s|%s|000000000000|%s|%d|%s|%d|%d|%d|404800000|list|%d", id, someTask, billing.VCPU, i+1, e.kind, e.from, e.to, e.units, e.amount)
		statements = append(statements,
			fmt.Sprintf(`INSERT INTO ledger_entries VALUES ('%s', '%s', '000000000000', '%s', %d, '%s', %d, %d, %d, 404800000, 'list', %d, '%x')`,
				id, someTask, billing.VCPU, i+1, e.kind, e.from, e.to, e.units, e.amount, sha256.Sum256([]byte(body))),
			fmt.Sprintf(`INSERT INTO ledger_postings VALUES ('%s', 'asset:unbilled:000000000000', 'USD', %d)`, id, e.amount),
			fmt.Sprintf(`INSERT INTO ledger_postings VALUES ('%s', 'income:%s', 'USD', %d)`, id, billing.VCPU, -e.amount))
	}
	return statements
}

// Ensure each migration keeps what was there, and has a test that says so.
func TestMigrations(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, ok := migrationTests[filepath.Base(file)]
			if !ok {
				t.Fatal("this migration has no test")
			}
			db := rawDB(t, filepath.Join(t.TempDir(), "berth.db"))
			must(t, migrate(t.Context(), db, until(t, i)))
			for _, q := range want.before {
				exec(t, db, q)
			}
			must(t, migrate(t.Context(), db, until(t, i+1)))
			must(t, migrate(t.Context(), db, until(t, i+1))) // A second time does nothing.
			for q, answer := range want.after {
				if got := ask(t, db, q); got != answer {
					t.Errorf("%s: %s, want %s", q, got, answer)
				}
			}
			if got := ask(t, db, `PRAGMA user_version`); got != fmt.Sprint(i+1) {
				t.Errorf("the schema is %s, want %d", got, i+1)
			}
		})
	}
}

// until returns the first n migrations.
func until(t *testing.T, n int) fs.FS {
	t.Helper()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	must(t, err)
	some := make(fstest.MapFS)
	for _, file := range files[:n] {
		script, err := migrations.ReadFile(file)
		must(t, err)
		some[file] = &fstest.MapFile{Data: script}
	}
	return some
}

// Ensure a migration that fails half-way leaves nothing behind.
func TestMigrationFails(t *testing.T) {
	db := rawDB(t, filepath.Join(t.TempDir(), "berth.db"))
	files := fstest.MapFS{
		"migrations/0001_good.sql": {Data: []byte(`CREATE TABLE a (x INTEGER) STRICT;`)},
		"migrations/0002_bad.sql":  {Data: []byte(`CREATE TABLE b (x INTEGER) STRICT; INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (1);`)},
	}
	if err := migrate(t.Context(), db, files); err == nil || !strings.Contains(err.Error(), "0002_bad.sql") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	for q, want := range map[string]string{
		`PRAGMA user_version`: "1", `SELECT count(*) FROM a`: "0", `SELECT count(*) FROM sqlite_schema WHERE name = 'b'`: "0",
	} {
		if got := ask(t, db, q); got != want {
			t.Errorf("%s: %s, want %s", q, got, want)
		}
	}
}
