package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	contfs "github.com/containerd/continuity/fs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/userns"
	"berth/task"
)

// What a container's process is to know in confidence may not be in its spec: containerd
// keeps that in its database, and runtimes write it into files. So it lies in a file of
// memory that is mounted into the container, and berth-init, with which such a container
// begins, makes variables of it and then becomes the container's program.

const (
	// initPath is where berth-init is in a container that needs it.
	initPath = "/dev/init"

	// secretsPath is where berth-init finds the variables: each KEY=VALUE and a NUL.
	secretsPath = "/dev/init.env"

	// maxEnvironment is how many bytes the kernel gives a program at most as arguments and
	// environment: three quarters of 8 MiB (execve(2)). Nobody is to fill our memory with
	// more.
	maxEnvironment = 6 << 20
)

// secretsDir is a file system in memory, of one task. It is a ramfs where there may be
// one: what is in it is never swapped out.
func (c Config) secretsDir(id task.ID) string { return filepath.Join(c.RunDir, "secrets", string(id)) }

func (c Config) secretsFile(id task.ID, container string) string {
	return filepath.Join(c.secretsDir(id), runtimeID(id, container))
}

// launched returns what runs args in a container that has an init process or secrets,
// and what has to be mounted for that. Others run args as they are.
func (r *Runtime) launched(c isolation.Container, args []string) ([]string, []specs.Mount, error) {
	if !c.Init && c.Secrets == nil {
		return args, nil, nil
	}
	program := filepath.Join(r.Libexec, "berth-init")
	if _, err := os.Stat(program); err != nil {
		return nil, nil, fault.Wrap(fault.Unavailable, err, "CannotCreateContainerError: this server has no init process to offer (initProcessEnabled, secrets, environmentFiles)")
	}
	launch, mounts := []string{initPath}, []specs.Mount{bind(program, initPath, "ro", "nosuid", "nodev")}
	if c.Secrets != nil {
		launch = append(launch, "-env", secretsPath)
		mounts = append(mounts, bind(r.secretsFile(c.Task, c.Name), secretsPath, "ro", "nosuid", "nodev", "noexec"))
		if !c.Init {
			launch = append(launch, "-exec")
		}
	}
	return slices.Concat(launch, []string{"--"}, args), mounts, nil
}

// withSecrets returns what runs args beside the main process of a container, with the
// secrets that it has. main is what runs the main process.
func withSecrets(main, args []string) []string {
	if len(main) < 3 || main[0] != initPath || main[1] != "-env" {
		return args
	}
	return slices.Concat(main[:3], []string{"-exec", "--"}, args)
}

// secretsOf asks for a container's secrets.
func secretsOf(ctx context.Context, c isolation.Container) ([]string, error) {
	if c.Secrets == nil {
		return nil, nil
	}
	env, err := c.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, kv := range env {
		if key, _, ok := strings.Cut(kv, "="); !ok || key == "" || strings.ContainsRune(kv, 0) {
			return nil, fault.New(fault.Invalid, "CannotCreateContainerError: the variable %q cannot be", strings.ReplaceAll(key, "\x00", ""))
		}
		size += len(kv) + 1
	}
	if size > maxEnvironment {
		return nil, fault.New(fault.Invalid, "CannotCreateContainerError: the secrets and environment files have %d bytes, and no process can have more than %d as its environment", size, maxEnvironment)
	}
	return env, nil
}

// keepSecrets puts a container's secrets where its process finds them, if it has any.
// The caller has the task's lock.
func (r *Runtime) keepSecrets(c isolation.Container, inherited []imageVolume, ids userns.Range, img image, rootfs []mount.Mount, spec *specs.Spec, env []string) error {
	if c.Secrets == nil {
		return nil
	}
	p := spec.Process
	if !c.Init { // berth-init would find out too late for a reason to be stated.
		all := append(slices.Clone(p.Env), env...)
		args := p.Args[slices.Index(p.Args, "--")+1:]
		mounts := slices.Clone(c.Mounts)
		for _, v := range inherited {
			mounts = append(mounts, isolation.Mount{Path: v.at})
		}
		err := lookInto(rootfs, r.lookDir(), func(root string) error {
			return findProgram(root, mounts, args[0], lastValue(all, "PATH"), p.Cwd, ids, p.User)
		})
		if err != nil {
			return fmt.Errorf("look for the program of image %s: %w", img.name, err)
		}
	}
	dir := r.secretsDir(c.Task)
	if err := mountMemory(dir); err != nil {
		return fmt.Errorf("make a place for secrets: %w", err)
	}
	text := strings.Join(append(slices.Clip(env), ""), "\x00")
	file := r.secretsFile(c.Task, c.Name)
	begun := file + ".new"
	if err := os.RemoveAll(begun); err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	err := errors.Join(os.WriteFile(begun, []byte(text), 0o400),
		os.Chmod(begun, 0o400), os.Chown(begun, ids.Outside(p.User.UID), ids.Outside(p.User.GID)), os.Rename(begun, file))
	if err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	return nil
}

func lastValue(env []string, key string) (value string) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			value = v
		}
	}
	return value
}

// inMemory reports whether dir is the root of a file system that is nowhere but in
// memory.
func inMemory(dir string) (bool, error) {
	var st, above unix.Stat_t
	var system unix.Statfs_t
	if err := errors.Join(unix.Stat(dir, &st), unix.Stat(filepath.Dir(dir), &above), unix.Statfs(dir, &system)); err != nil {
		return false, &os.PathError{Op: "look at", Path: dir, Err: err}
	}
	kept := system.Type == unix.RAMFS_MAGIC || system.Type == unix.TMPFS_MAGIC
	return kept && st.Dev != above.Dev, nil
}

// mountMemory mounts a file system in memory at dir, if none is there.
func mountMemory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if there, err := inMemory(dir); there || err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("ramfs", dir, "ramfs", flags, "mode=0700")
	for _, options := range []string{"mode=0700,noswap", "mode=0700"} { // Linux 6.4 has noswap
		if err != nil { // Not everywhere may there be one.
			err = unix.Mount("tmpfs", dir, "tmpfs", flags, options)
		}
	}
	return os.NewSyscallError("mount", err)
}

// removeSecrets takes away the secrets of a task's containers, as far as there are any.
func (r *Runtime) removeSecrets(id task.ID) error {
	dir := r.secretsDir(id)
	if there, err := inMemory(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	} else if there {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("remove secrets: %w", err)
		}
		for _, e := range entries { // first: a mount elsewhere may keep the file system
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove secrets: %w", err)
			}
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove secrets: %w", err)
	}
	return nil
}

// findProgram looks for the program that a container is to run, as runc would, and says
// what runc would say. root is the container's image. What is mounted over it is not
// seen there: what may be in a mount is taken to be in it. Its files have the task's IDs.
func findProgram(root string, mounts []isolation.Mount, name, search, cwd string, ids userns.Range, u specs.User) error {
	const prefix = "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: " +
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: "
	candidates := []string{filepath.Join(cwd, name)}
	if path.IsAbs(name) {
		candidates[0] = path.Clean(name)
	} else if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range filepath.SplitList(search) {
			if !path.IsAbs(dir) {
				return nil // berth-init will say what is wrong with it.
			}
			candidates = append(candidates, path.Join(dir, name))
		}
	}
	problem := ""
	for _, at := range candidates {
		found, err := contfs.RootPath(root, at)
		if errors.Is(err, unix.ENOTDIR) {
			problem = "stat " + name + ": " + unix.ENOTDIR.Error()
			continue
		}
		if err != nil {
			return nil // a loop of links, say
		}
		inside := "/" + strings.TrimPrefix(strings.TrimPrefix(found, root), "/")
		if covered(inside, mounts) {
			return nil
		}
		var st unix.Stat_t
		switch err := unix.Stat(found, &st); {
		case errors.Is(err, unix.ENOENT):
			problem = "stat " + name + ": no such file or directory"
		case err != nil:
			problem = "stat " + name + ": " + err.Error()
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			problem = "is a directory"
		case !mayExecute(st, ids, u):
			problem = "permission denied"
		default:
			return nil
		}
	}
	if !strings.Contains(name, "/") {
		problem = "executable file not found in $PATH"
	}
	return fault.New(fault.Invalid, "%sexec: %q: %s", prefix, name, problem)
}

// covered reports whether something is mounted over a place in a container.
func covered(at string, mounts []isolation.Mount) bool {
	below := func(dir string) bool { return at == dir || strings.HasPrefix(at, strings.TrimSuffix(dir, "/")+"/") }
	return below("/dev") || below("/proc") || below("/sys") ||
		slices.ContainsFunc(mounts, func(m isolation.Mount) bool { return below(m.Path) })
}

// mayExecute reports whether the kernel lets u execute a file.
func mayExecute(st unix.Stat_t, ids userns.Range, u specs.User) bool {
	bits, owner, group := st.Mode&0o111, ids.Inside(st.Uid), ids.Inside(st.Gid)
	switch {
	case u.UID == 0:
		return bits != 0
	case owner == u.UID:
		return bits&0o100 != 0
	case group == u.GID || slices.Contains(u.AdditionalGids, group):
		return bits&0o010 != 0
	}
	return bits&0o001 != 0
}
