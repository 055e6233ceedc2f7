package tests

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/isolation"
	"berth/task"
)

// Ensure containers are made after those whose volumes they take, in whatever order they
// are written, and with what those have of others.
func TestVolumesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		yes := true
		takes := func(name, from string, readOnly *bool) task.ContainerDefinition {
			c := main("sleep", "1h")
			c.Name, c.VolumesFrom = name, []task.VolumeFrom{{SourceContainer: from, ReadOnly: readOnly}}
			return c
		}
		id := h.submit(task.Run{}, takes("chain", "b", &yes), takes("b", "main", nil), main("sleep", "1h")).ID
		time.Sleep(10 * time.Second)
		if got := h.task(id); got.LastStatus != task.Running {
			t.Fatalf("%s: %s", got.LastStatus, got.StoppedReason)
		}
		want := []isolation.VolumesFrom{{Container: "b", ReadOnly: true}, {Container: "main", ReadOnly: true}}
		if got := h.fake.VolumesFrom(id, "chain"); !slices.Equal(got, want) {
			t.Errorf("chain has volumes of %+v, want %+v", got, want)
		}
	})
}
