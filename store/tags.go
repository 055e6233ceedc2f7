package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"berth/fault"
	"berth/task"
)

// Tag sets tags on a task, replacing those of the same keys, and takes away those
// whose keys are in remove. Repeating it changes nothing. A task that has stopped
// keeps its tags: changing them is a fault.Conflict, as in the ECS API
// (TagResource).
func (s *Store) Tag(ctx context.Context, id task.ID, set []task.Tag, remove []string) (task.Task, error) {
	var result task.Task
	err := s.write(ctx, func(tx *sql.Tx) error {
		t, err := find(ctx, tx, id)
		if err != nil {
			return err
		}
		if t.LastStatus.Final() {
			return fault.New(fault.Conflict, "The specified task is stopped. Specify a running task and try again.")
		}
		tags := task.MergeTags(t.Tags, set, remove)
		if result = t; slices.Equal(tags, t.Tags) {
			return nil
		}
		result = t.Clone()
		result.Tags = tags
		result.Version++
		if _, err := tx.ExecContext(ctx, `DELETE FROM task_tags WHERE task = ?`, id); err != nil {
			return fmt.Errorf("remove tags of task %s: %w", id, err)
		}
		if err := insertTags(ctx, tx, result); err != nil {
			return err
		}
		return s.replace(ctx, tx, result)
	})
	return result, err
}

// TagDefinition does for the revision that ref names what Tag does for a task,
// whatever its status.
func (s *Store) TagDefinition(ctx context.Context, in task.Realm, ref string, set []task.Tag, remove []string) (task.Definition, error) {
	return s.retag(ctx, in, ref, func(have []task.Tag) []task.Tag { return task.MergeTags(have, set, remove) })
}

// SetDefinitionTags replaces the tags of the revision that ref names.
func (s *Store) SetDefinitionTags(ctx context.Context, in task.Realm, ref string, tags []task.Tag) (task.Definition, error) {
	return s.retag(ctx, in, ref, func([]task.Tag) []task.Tag { return tags })
}

func (s *Store) retag(ctx context.Context, in task.Realm, ref string, f func([]task.Tag) []task.Tag) (task.Definition, error) {
	var d task.Definition
	err := s.write(ctx, func(tx *sql.Tx) error {
		var err error
		if d, err = definition(ctx, tx, in, ref); err != nil {
			return err
		}
		d.Tags = f(d.Tags)
		return update(ctx, tx, d)
	})
	return d, err
}

// insertTags writes the tags of t to where lists look for them.
func insertTags(ctx context.Context, tx *sql.Tx, t task.Task) error {
	for _, tag := range t.Tags {
		if _, err := tx.ExecContext(ctx, `INSERT INTO task_tags (task, key, value) VALUES (?, ?, ?)`, t.ID, tag.Key, tag.Value); err != nil {
			return fmt.Errorf("insert tag of task %s: %w", t.ID, err)
		}
	}
	return nil
}
