package tests

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"

	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// commits returns a number that grows with whatever anybody else commits to the
// database.
func (h *host) commits(db *sql.Conn) (n int64) {
	h.t.Helper()
	if err := db.QueryRowContext(h.t.Context(), `PRAGMA data_version`).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Ensure a forecast writes nothing, not even an inline definition, and that what it says
// of admission and of the definition is what happens when the run is submitted.
func TestForecast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		db, err := sql.Open("sqlite", filepath.Join(h.dir, "berth.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		definition := func(cpu, memory string) *task.Definition {
			d, err := task.ParseDefinition([]byte(`{"family":"sim","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"` + cpu + `","memory":"` + memory +
				`","containerDefinitions":[{"name":"main","image":"demo","command":["sleep","1h"]}]}`))
			if err != nil {
				t.Fatal(err)
			}
			return &d
		}
		for _, step := range []struct {
			run             task.Run
			startNow, ahead int
		}{
			{task.Run{Realm: storetest.Realm, Inline: definition("512", "1024"), Count: 3}, 3, 0},
			{task.Run{Realm: storetest.Realm, Inline: definition("512", "1024"), Count: 2}, 1, 0}, // One of five is too many for 2 vCPU.
			{task.Run{Realm: storetest.Realm, Inline: definition("256", "512")}, 0, 1},            // It waits behind the one before.
		} {
			synctest.Wait()
			before := h.commits(conn)
			f, err := h.runner.Forecast(t.Context(), step.run)
			if err != nil || f.Never != nil || f.StartNow != step.startNow || f.Ahead != step.ahead {
				t.Fatalf("%+v, %v; want %d to start and %d before them", f, err, step.startNow, step.ahead)
			}
			if h.commits(conn) != before {
				t.Error("a forecast wrote something")
			}
			ts, err := h.runner.Submit(t.Context(), step.run)
			if err != nil {
				t.Fatal(err)
			}
			if h.commits(conn) == before {
				t.Fatal("the test does not see what is written")
			}
			time.Sleep(3 * time.Second)
			started := 0
			for _, tk := range ts {
				if h.task(tk.ID).LastStatus != task.Provisioning {
					started++
				}
			}
			if started != f.StartNow {
				t.Errorf("%d of %d started, and forecast were %d", started, len(ts), f.StartNow)
			}
			if known := f.Definition.Revision > 0; known && f.Definition.ARN != ts[0].DefinitionARN || known != (step.ahead == 0 && step.startNow == 1) {
				t.Errorf("forecast is revision %d, and it is %s", f.Definition.Revision, ts[0].DefinitionARN)
			}
		}

		again := task.Run{Realm: storetest.Realm, Inline: definition("256", "512"), Token: "once"}
		if _, err := h.runner.Submit(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if _, err := h.runner.Forecast(t.Context(), again); err != nil {
			t.Errorf("a run that was submitted already: %v", err)
		}

		before := h.commits(conn)
		f, err := h.runner.Forecast(t.Context(), task.Run{Realm: storetest.Realm, Inline: definition("4096", "8192"), Count: 2})
		if err != nil || fault.KindOf(f.Never) != fault.Exhausted || f.StartNow != 0 || len(f.Tasks) != 2 {
			t.Errorf("a task that is too large: %+v, %v", f, err)
		}
		for _, run := range []task.Run{ // What is wrong is told as Submit tells it.
			{Definition: "nothing"}, {Inline: definition("512", "1024"), Count: 11}, {Inline: definition("512", "1024"), Overrides: task.Overrides{CPU: "300"}},
			{Inline: definition("512", "1024"), Network: &task.NetworkConfiguration{AWSVPC: task.AWSVPC{SecurityGroups: []string{"none"}}}},
			{Inline: definition("512", "1024"), Token: "once"}, // of another request
		} {
			run.Realm = storetest.Realm
			_, err := h.runner.Forecast(t.Context(), run)
			_, want := h.runner.Submit(t.Context(), run)
			if err == nil || want == nil || err.Error() != want.Error() || fault.KindOf(err) != fault.KindOf(want) {
				t.Errorf("forecast says %v, and submitting %v", err, want)
			}
		}
		if h.commits(conn) != before {
			t.Error("a forecast wrote something")
		}
		if !slices.ContainsFunc(f.Tasks, func(tk task.Task) bool { return strings.HasPrefix(tk.ARN, "arn:") }) {
			t.Error("the tasks have no names")
		}
	})
}
