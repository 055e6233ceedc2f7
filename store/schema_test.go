package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

const (
	someTask  = "00000000000000000000000000000001"
	otherTask = "00000000000000000000000000000002"
)

// insertTask inserts a task and its event as release 1 wrote them.
func insertTask(id, status string) []string {
	desired, stopped := "RUNNING", 0
	if status == "STOPPED" {
		desired, stopped = "STOPPED", 9
	}
	body := fmt.Sprintf(`{"taskId":"%s","lastStatus":"%s","desiredStatus":"%s","version":1,"group":"family:f","tags":[{"key":"k","value":"v"}]}`, id, status, desired)
	return []string{
		fmt.Sprintf(`INSERT INTO tasks (id, status, desired_status, family, task_group, started_by, version, created_at, stopped_at, body)
			VALUES ('%s', '%s', '%s', 'f', 'family:f', '', 1, 1, %d, '%s')`, id, status, desired, stopped, body),
		fmt.Sprintf(`INSERT INTO task_tags VALUES ('%s', 'k', 'v')`, id),
		fmt.Sprintf(`INSERT INTO events (at, task, body) VALUES (1, '%s', '%s')`, id, body),
	}
}

// Ensure a database that a newer program wrote is refused and left as it is.
func TestFromTheFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db := rawDB(t, path)
	exec(t, db, `PRAGMA user_version = 999`)
	_, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(), Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "newer Berth") {
		t.Errorf("got %v, want a refusal", err)
	}
	if got := ask(t, db, `PRAGMA user_version`); got != "999" {
		t.Errorf("the schema is %s now", got)
	}
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		v    string
		want bool
	}{{"3.51.2", true}, {"3.51.3", false}, {"3.52.0", false}, {"3.9.9", true}, {"4.0.0", false}, {"", true}} {
		if got := olderThan(c.v, leastVersion); got != c.want {
			t.Errorf("%q is too old: %t, want %t", c.v, got, c.want)
		}
	}
}

// Ensure only the owner of a fresh database can read it.
func TestPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(), Now: time.Now})
	must(t, err)
	defer s.Close()
	files, err := filepath.Glob(path + "*")
	must(t, err)
	if len(files) < 2 {
		t.Errorf("only %v", files)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(file), info.Mode())
		}
	}
}

// Ensure the connection that writes is set to survive a power cut.
func TestPragmas(t *testing.T) {
	s := openFlaky(t, new(flaky))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "mmap_size": "0", "busy_timeout": "5000",
	} {
		if got := ask(t, s.writes, "PRAGMA "+pragma); got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.reads.ExecContext(t.Context(), `DELETE FROM settings`); err == nil {
		t.Error("a connection for reading can write")
	}
}

// Ensure the database itself refuses what must never be.
func TestGuards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db := rawDB(t, path)
	must(t, migrate(t.Context(), db, migrations))
	for _, q := range append(append(insertTask(someTask, "RUNNING"), insertTask(otherTask, "STOPPED")...),
		`INSERT INTO families VALUES ('000000000000', 'r', 'f', 7)`, `INSERT INTO definitions VALUES ('000000000000', 'r', 'f', 7, 'INACTIVE', '{}', 1)`) {
		exec(t, db, q)
	}
	running, stopped := ` WHERE id = '`+someTask+`'`, ` WHERE id = '`+otherTask+`'`
	for _, q := range []string{
		`UPDATE events SET at = 2`,
		`DELETE FROM events`,
		`DELETE FROM tasks` + running,
		`UPDATE tasks SET version = 2, status = 'STOPPED', desired_status = 'STOPPED'` + running,
		`UPDATE tasks SET version = 2, stopped_at = 9` + running,
		`UPDATE tasks SET version = 2, status = 'STOPPED', stopped_at = 9` + running,
		`UPDATE tasks SET version = 2, status = 'RESTING'` + running,
		`UPDATE tasks SET version = 1` + running,
		`UPDATE tasks SET version = 2, created_at = 5` + running,
		`UPDATE tasks SET version = 'two'` + running,
		`UPDATE tasks SET version = 2` + stopped,
		`UPDATE families SET last_revision = 6`,
		`UPDATE families SET last_revision = 7`,
		`DELETE FROM families`,
		`UPDATE definitions SET status = 'ACTIVE'`,
		`UPDATE definitions SET revision = 8`,
		`INSERT INTO definitions VALUES ('000000000000', 'r', 'f', 0, 'ACTIVE', '{}', 1)`,
		`INSERT INTO definitions VALUES ('1', 'r', 'f', 1, 'ACTIVE', '{}', 1)`,
		`UPDATE tasks SET version = 2, account = '000000000001'` + running,
		`INSERT INTO task_tags VALUES ('00000000000000000000000000000009', 'k', 'v')`,
		`INSERT INTO tasks SELECT 'short', status, desired_status, family, task_group, started_by, version, created_at, stopped_at, body, '', '', '' FROM tasks` + running,
	} {
		if _, err := db.ExecContext(t.Context(), q); err == nil {
			t.Errorf("allowed: %s", q)
		}
	}
	for _, q := range []string{ // what must be possible
		`UPDATE tasks SET version = 2, status = 'STOPPED', desired_status = 'STOPPED', stopped_at = 9` + running,
		`DELETE FROM tasks` + stopped,
		`DELETE FROM events WHERE task = '` + otherTask + `'`,
		`UPDATE families SET last_revision = 8`,
	} {
		exec(t, db, q)
	}
	if got := ask(t, db, `SELECT count(*) FROM task_tags`); got != "1" {
		t.Errorf("%s tags are left, want one", got)
	}
}

// Ensure Verify names what is wrong.
func TestVerify(t *testing.T) {
	for _, c := range []struct{ change, names string }{
		{`UPDATE tasks SET version = 2, body = json_set(body, '$.version', 2)`, someTask},
		{`UPDATE tasks SET task_group = 'other', version = 2`, someTask},
		{`DELETE FROM task_tags`, someTask},
		{`UPDATE task_tags SET value = 'w'`, someTask},
		{`INSERT INTO events (at, task, body) VALUES (1, 'gone', '{}')`, "2"},
		{`UPDATE sqlite_sequence SET seq = 0`, "1"},
		{`INSERT INTO definitions VALUES ('000000000000', 'r', 'g', 1, 'ACTIVE', '{}', 1)`, "g"},
		{`PRAGMA foreign_keys = OFF; INSERT INTO task_tags VALUES ('` + otherTask + `', 'k', 'v')`, "task_tags"},
	} {
		path := filepath.Join(t.TempDir(), "berth.db")
		db := rawDB(t, path)
		must(t, migrate(t.Context(), db, migrations))
		for _, q := range insertTask(someTask, "RUNNING") {
			exec(t, db, q)
		}
		verify := func() error {
			s, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(), Now: time.Now})
			must(t, err)
			defer s.Close()
			return s.Verify(context.WithoutCancel(t.Context()))
		}
		must(t, verify())
		exec(t, db, c.change)
		if err := verify(); err == nil || !strings.Contains(err.Error(), ": "+c.names) {
			t.Errorf("%s: %v, and must name %s", c.change, err, c.names)
		}
	}
}

// Ensure Verify notices a page that rotted, also where it cannot be read at all.
func TestVerifyRot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db := rawDB(t, path)
	must(t, migrate(t.Context(), db, migrations))
	for _, q := range insertTask(someTask, "RUNNING") {
		exec(t, db, q)
	}
	root := ask(t, db, `SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'`)
	must(t, db.Close())
	var page int64
	fmt.Sscan(root, &page)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 4096), (page-1)*4096)
	must(t, err)
	must(t, f.Close())
	s, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(), Now: time.Now})
	must(t, err)
	defer s.Close()
	if err := s.Verify(t.Context()); err == nil {
		t.Error("a page of zeros went unnoticed")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("what could not be checked counts as checked: %v", err)
	}
}

// rawDB opens a database past the store. Its single connection is closed when t
// ends.
func rawDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", fileURL(path)+pragmas+"&_pragma=journal_mode(WAL)")
	must(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func ask(t *testing.T, db *sql.DB, query string) (answer string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
