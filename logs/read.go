package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/task"
)

// poll is how often a following reader looks for more. The kernel's notices are
// too few to give one to each reader (fs.inotify.max_user_instances is 128).
const poll = 50 * time.Millisecond

// turn is after how many entries of one reader its quiet containers are looked
// at again, so that a busy one does not hide them.
const turn = 1024

// Entry is one line of a container's output, or a part of one.
type Entry struct {
	Time      time.Time // when it was read from the container; UTC
	Container string
	Stream    string // Stdout, Stderr or Note
	Message   string // without its newline; the bytes are the container's, valid UTF-8 or not
	Partial   bool   // the line goes on in the container's next entry of this stream, if there is one
	Cursor    Cursor // the position after this entry
}

// Query says which entries to read. The zero value is all there are.
type Query struct {
	Containers []string  // names; none means all
	Streams    []string  // Stdout, Stderr, Note; none means all
	Since      time.Time // not before this; zero means from the beginning
	Until      time.Time // before this; zero means to the end
	Tail       int       // only the last so many; 0 means no such limit; negative means none of the old ones
	After      Cursor    // only what comes after this cursor

	// Follow waits for more at the end. It stops when Ended, which may be nil,
	// was true, no writer is left and everything was read, or with ctx.
	Follow bool
	Ended  func() bool // reports whether no container of the task will start any more
}

// Dir is the directory under which the logs of all tasks are.
type Dir string

// Container returns the directory of one container's log, for its writer.
func (d Dir) Container(id task.ID, name string) string {
	return filepath.Join(string(d), string(id), name)
}

// Tasks returns the tasks of which there are logs.
func (d Dir) Tasks() ([]task.ID, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var ids []task.ID
	for _, e := range entries {
		if id, err := task.ParseID(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Remove deletes the log of a task. If there is none, Remove does nothing.
func (d Dir) Remove(id task.ID) error {
	if _, err := task.ParseID(string(id)); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(string(d), string(id)))
}

// Read yields a task's entries that q asks for. Entries of one container come in
// the order they were written in, each once, also across rotation and, by
// Query.After, across readers. Entries of several containers are merged by time
// as far as they are there when they are read. A task without a log has no
// entries.
//
// If segments were rotated away that the reader had yet to read, it gets a Note
// in their place. A cursor that is none is fault.Invalid. The end of ctx ends the
// sequence without an error.
func (d Dir) Read(ctx context.Context, id task.ID, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if _, err := task.ParseID(string(id)); err != nil {
			yield(Entry{}, err)
			return
		}
		at, err := q.After.positions()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		r := reader{q: q, root: filepath.Join(string(d), string(id)), at: at}
		defer r.close()
		if err := r.run(ctx, yield); err != nil && ctx.Err() == nil {
			yield(Entry{}, err)
		}
	}
}

// reader is one Read under way.
type reader struct {
	q       Query
	root    string
	at      map[string]position // after what was yielded, by container
	sources []*source           // by name
}

// source is one container of a reader.
type source struct {
	tape
	name  string
	head  *Entry   // the next entry, if it was looked for and found
	after position // of head
	idle  bool     // there was none this round
	past  bool     // nothing that the query wants can come any more
	limit position // where a reader stops that does not follow
}

func (r *reader) close() {
	for _, s := range r.sources {
		s.close()
	}
}

// run reads in rounds: everything there is, then wait and look again.
func (r *reader) run(ctx context.Context, yield func(Entry, error) bool) error {
	if err := r.discover(); err != nil {
		return err
	}
	if err := r.rewind(ctx); err != nil {
		return err
	}
	if !r.q.Follow {
		for _, s := range r.sources {
			var err error
			if s.limit, err = end(s.dir); err != nil {
				return err
			}
		}
		_, err := r.round(ctx, yield)
		return err
	}
	look := time.NewTicker(poll)
	defer look.Stop()
	for {
		// Asked before the round: what is written until then is read in it.
		last, err := r.over()
		if err != nil {
			return err
		}
		if more, err := r.round(ctx, yield); err != nil || !more || last {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
		if err := r.discover(); err != nil {
			return err
		}
	}
}

// over reports whether nothing can be added to the log any more.
func (r *reader) over() (bool, error) {
	if r.q.Ended == nil || !r.q.Ended() {
		return false, nil
	}
	if err := r.discover(); err != nil {
		return false, err
	}
	for _, s := range r.sources {
		if _, err := os.Stat(filepath.Join(s.dir, endMark)); err != nil && alive(s.dir) {
			return false, nil
		}
	}
	return true, nil
}

// discover adds the containers that have a log by now.
func (r *reader) discover() error {
	names := r.q.Containers
	if len(names) == 0 {
		files, err := os.ReadDir(r.root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("list logs: %w", err)
		}
		for _, f := range files {
			names = append(names, f.Name())
		}
	}
	for _, name := range names {
		i, have := slices.BinarySearchFunc(r.sources, name, func(s *source, name string) int {
			return strings.Compare(s.name, name)
		})
		if !have && plain(name) {
			s := &source{name: name, tape: tape{dir: filepath.Join(r.root, name), at: r.at[name]}}
			r.sources = slices.Insert(r.sources, i, s)
		}
	}
	return nil
}

// round yields what there is now, merged by time. More is false if the caller
// wants no more.
func (r *reader) round(ctx context.Context, yield func(Entry, error) bool) (more bool, err error) {
	for n := 0; ; n++ {
		var first *source
		for _, s := range r.sources {
			if n%turn == 0 && r.q.Follow {
				s.idle = false
			}
			if s.head == nil && !s.idle {
				if err := r.load(s); err != nil {
					return false, err
				}
			}
			if s.head != nil && (first == nil || s.head.Time.Before(first.head.Time)) {
				first = s
			}
		}
		if ctx.Err() != nil {
			return false, nil
		}
		if first == nil {
			return true, nil
		}
		e := *first.head
		first.head = nil
		r.at[first.name] = first.after
		e.Cursor = cursor(r.at)
		if !yield(e, nil) {
			return false, nil
		}
	}
}

// load looks for the next entry of s that the query wants.
func (r *reader) load(s *source) error {
	for !s.past {
		rec, after, ok, err := s.next()
		if err != nil {
			return err
		}
		if !ok {
			s.idle = true
			return nil
		}
		if !r.q.Until.IsZero() && !rec.time.Before(r.q.Until) || !r.q.Follow && s.limit.before(after) {
			s.past = true
			break
		}
		if s.dropped > 0 {
			news := missed(s.dropped)
			s.dropped = 0
			if r.q.streams(Note) {
				s.restart() // The record follows the news of what is missing before it.
				s.head = &Entry{Time: rec.time, Container: s.name, Stream: Note, Message: news}
				s.after = s.at
				return nil
			}
		}
		if r.q.streams(rec.stream) && !rec.time.Before(r.q.Since) {
			s.head = &Entry{
				Time: rec.time, Container: s.name, Stream: rec.stream,
				Message: string(rec.message), Partial: rec.partial,
			}
			s.after = after
			return nil
		}
	}
	s.idle = true
	return nil
}

// streams reports whether the query asks for a stream.
func (q Query) streams(name string) bool {
	return len(q.Streams) == 0 || slices.Contains(q.Streams, name)
}
