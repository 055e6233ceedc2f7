package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/isolation"
	"berth/isolation/cpuset"
	"berth/isolation/userns"
	"berth/task"
)

// Names of the records in the directories of tasks and containers.
const (
	sandboxFile   = "sandbox.json"
	containerFile = "container.json"
	intentFile    = "starting.json" // a startRecord, from just before the process is started
	startedFile   = "started.json"  // a startRecord, once it is known what became of that
	stopFile      = "stopping.json" // a stopRecord, once it was asked to end
	exitFile      = "exit.json"     // a task.Exit
	cutFile       = "creating.json" // a cutRecord
)

// ofRun is the name of a record that each run of a container has: the first has the
// plain one.
func ofRun(file string, run int) string {
	if run == 0 {
		return file
	}
	return fmt.Sprintf("%s-%d.json", strings.TrimSuffix(file, ".json"), run)
}

// sandboxRecord is what is known of a task's world.
type sandboxRecord struct {
	Sandbox isolation.Sandbox
	BootID  string // the world is gone in any later life of the host
	Ready   bool   // all of it was made
	Disk    bool   // its storage is a disk of its own
	Network task.Network
	IDs     userns.Range `json:",omitempty"`
	CPUs    cpuset.Set   `json:",omitempty"` // that it has to itself

	ResolvConf string `json:",omitempty"` // of its containers: what they may write to it later counts for nothing
}

// containerRecord is what is known of a container from its creation on.
type containerRecord struct {
	Name       string
	Made       time.Time
	StopSignal uint32
	Terminal   bool
	Run        int           `json:",omitempty"` // how many runs there were before the latest
	Shared     []sharedMount `json:",omitempty"`
	Volumes    []string      `json:",omitempty"` // paths of its own imageVolumes
}

// startRecord says that a container's process was started, or that it never
// will be.
type startRecord struct {
	At      time.Time
	Failure string // for the user; empty: it was started
}

// stopRecord says that a container's process got its stop signal.
type stopRecord struct{ At time.Time }

// cutRecord says that containerd was asked to create a process. It goes when
// containerd has answered. One that stays tells of a creation that was cut short,
// after which a shim may run that containerd knows nothing of.
type cutRecord struct{ At time.Time }

// eachWorld calls do with the record of each task that has one.
func (c Config) eachWorld(do func(task.ID, sandboxRecord)) error {
	entries, err := os.ReadDir(c.tasksDir())
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	for _, e := range entries {
		id, err := task.ParseID(e.Name())
		if err != nil {
			continue
		}
		record, found, err := load[sandboxRecord](c.taskDir(id), sandboxFile)
		if err != nil {
			return err
		}
		if found {
			do(id, record)
		}
	}
	return nil
}

// load reads a record. If there is none, found is false.
func load[T any](dir, file string) (record T, found bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return record, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		return record, false, fmt.Errorf("read record %s: %w", filepath.Join(dir, file), err)
	}
	return record, true, nil
}

// save replaces a record in one step: a reader sees all of it or none.
func save(dir, file string, record any) error { return saveRecord(dir, file, record, false) }

// saveDurably is save that survives a power failure.
func saveDurably(dir, file string, record any) error { return saveRecord(dir, file, record, true) }

func saveRecord(dir, file string, record any, durable bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write record %s: %w", filepath.Join(dir, file), err)
		}
	}()
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, file+".")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, file))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if !durable {
		return nil
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// forget removes a record. If there is none, forget does nothing.
func forget(dir, file string) error {
	if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record: %w", err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
