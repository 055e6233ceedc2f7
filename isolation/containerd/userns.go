package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/userns"
	"berth/task"
)

// Each task has a user namespace, which its containers share. Its network namespace belongs
// to it, so both are made together.
//
//	RunDir/users/<task>/ns      its user namespace is mounted here
//	RunDir/users/<task>/layers  the snapshots of all images, read-only, with the task's IDs
func (c Config) usersDir() string         { return filepath.Join(c.RunDir, "users") }
func (c Config) userns(id task.ID) string { return filepath.Join(c.usersDir(), string(id), "ns") }
func (c Config) layersDir(id task.ID) string {
	return filepath.Join(c.usersDir(), string(id), "layers")
}

// reserveIDs gives a task its IDs, if it is to have its own. The users in a virtual machine,
// or in a kernel like gVisor's, never are users of the host.
func (r *Runtime) reserveIDs(s isolation.Sandbox) (userns.Range, error) {
	if !r.ownUsers || s.Runtime == task.GVisor || s.Runtime == task.Kata {
		return 0, nil
	}
	return r.ids.Reserve(s.ID)
}

// createNamespaces makes the namespaces that the containers of a task share.
func (r *Runtime) createNamespaces(id task.ID, ids userns.Range) error {
	if ids == 0 {
		return createNetns(r.netns(id))
	}
	return userns.Make(ids, func(users, network string) error {
		if err := pin(users, r.userns(id)); err != nil {
			return err
		}
		if err := setUpNetns(network); err != nil {
			return err
		}
		return pin(network, r.netns(id))
	})
}

// hasNamespaces reports whether they are there.
func (r *Runtime) hasNamespaces(id task.ID, ids userns.Range) (bool, error) {
	there, err := pinned(r.netns(id))
	if ids == 0 || !there || err != nil {
		return there, err
	}
	return pinned(r.userns(id))
}

// ownLayers returns the lower layers of an overlay as the task is to see them. The first
// call for a task mounts them. The caller has the task's lock.
func (r *Runtime) ownLayers(id task.ID, ids userns.Range, lower string) (string, error) {
	if ids == 0 {
		return lower, nil
	}
	layers := strings.Split(lower, ":")
	all := filepath.Dir(layers[0]) // <snapshots>/<number>, and below it fs for overlayfs
	if r.Snapshotter != native {
		all = filepath.Dir(all)
	}
	if err := userns.View(all, r.layersDir(id), r.userns(id)); err != nil {
		return "", err
	}
	for i, l := range layers {
		below, err := filepath.Rel(all, l)
		if err != nil || !filepath.IsLocal(below) {
			return "", fmt.Errorf("layer %s is not below %s", l, all)
		}
		layers[i] = filepath.Join(r.layersDir(id), below)
	}
	return strings.Join(layers, ":"), nil
}

// removeUsers takes away a task's user namespace and its view of layers, as far as they
// are there, and then its IDs.
func (r *Runtime) removeUsers(id task.ID) error {
	err := errors.Join(unmountAll(r.layersDir(id)), unpin(r.userns(id)))
	for _, dir := range []string{r.layersDir(id), filepath.Dir(r.layersDir(id))} {
		// Never more than an empty one: what was mounted here are everybody's images.
		if gone := os.Remove(dir); err == nil && !errors.Is(gone, fs.ErrNotExist) {
			err = gone
		}
	}
	if err != nil {
		return fmt.Errorf("remove the user namespace of task %s: %w", id, err)
	}
	r.ids.Release(id)
	return nil
}

// usersTrial is a directory of StateDir and RunDir, while it is tried what the host can do.
const usersTrial = "users-trial"

// tryUserns finds out whether tasks can have IDs of their own here.
func (r *Runtime) tryUserns() {
	if r.HostUsers {
		return
	}
	err := r.hasWay()
	if err == nil {
		err = userns.Try(filepath.Join(r.StateDir, usersTrial))
	}
	for id, dir := range r.FileSystems {
		if err != nil {
			break
		}
		if err = userns.TryView(dir, filepath.Join(r.RunDir, usersTrial)); errors.Is(err, fs.ErrNotExist) {
			err = nil // The task that wants it is told.
		} else if err != nil {
			err = fmt.Errorf("file system %s: %w", id, err)
		}
	}
	if err != nil {
		r.Log.Warn("tasks have the user IDs of the host: it cannot give them their own", zap.Error(err))
	}
	r.ownUsers = err == nil
}

// hasWay makes sure that everybody can pass through RunDir: a task's root is nobody there,
// and its root file system is below. What is not to be entered has its own permissions.
func (r *Runtime) hasWay() error {
	for dir := r.RunDir; dir != "/"; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if st.Mode()&0o001 == 0 {
			return fault.New(fault.Unavailable, "only its owner can pass through %s (chmod o+x %s)", dir, dir)
		}
	}
	return nil
}
