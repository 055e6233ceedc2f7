package cgroup

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// children counts the OOM kills in the containers of a task on version 1, where
// the kernel counts them in the victim's own cgroup only, and forgets them when
// that is removed. The zero value has no containers.
type children struct {
	path  string
	fd    int    // of the task's own directory
	links uint64 // its link count when it was last listed: one for each child, plus two
	by    map[string]*child
	all   []*child // those of by, for a map takes longer to look through
}

type child struct {
	fd    int // -1: the cgroup is gone
	kills uint64
}

func (c *children) open(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	c.path, c.fd, c.by = dir, fd, make(map[string]*child)
	return nil
}

// oomKills returns how many there were since the containers were first seen.
// New containers are looked for when their number has changed.
func (c *children) oomKills(g *Gauge) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(c.fd, &st); err != nil {
		return 0, err
	}
	if links := uint64(st.Nlink); links != c.links {
		c.links = links
		if err := c.find(); err != nil {
			return 0, err
		}
	}
	var sum uint64
	for _, ch := range c.all {
		if ch.fd >= 0 {
			text, err := g.text(ch.fd)
			switch {
			case err == nil:
				ch.kills = field(text, "oom_kill")
			case gone(err):
				unix.Close(ch.fd)
				ch.fd = -1
			default:
				return 0, err
			}
		}
		sum += ch.kills
	}
	return sum, nil
}

// find opens the containers that are not known yet.
func (c *children) find() error {
	entries, err := os.ReadDir(c.path)
	if err != nil {
		return ignoreGone(err) // The files say the same, and better.
	}
	for _, e := range entries {
		if !e.IsDir() || c.by[e.Name()] != nil {
			continue
		}
		fd, err := openFile(filepath.Join(c.path, e.Name(), "memory.oom_control"))
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		ch := &child{fd: fd}
		c.by[e.Name()], c.all = ch, append(c.all, ch)
	}
	return nil
}

func (c *children) close() error {
	if c.by == nil {
		return nil
	}
	errs := []error{unix.Close(c.fd)}
	for _, ch := range c.by {
		if ch.fd >= 0 {
			errs = append(errs, unix.Close(ch.fd))
		}
	}
	return errors.Join(errs...)
}
