package store

import (
	"context"
	"database/sql"
	"fmt"

	"berth/fault"
	"berth/task"
)

// DeleteDefinition marks an INACTIVE revision as one that goes when its last task has
// stopped: it is DELETE_IN_PROGRESS until ForgetDefinitions takes it away. One that is
// ACTIVE is fault.Conflict. ref must name the revision. A second call changes nothing.
func (s *Store) DeleteDefinition(ctx context.Context, in task.Realm, ref string) (task.Definition, error) {
	if _, revision, err := task.ParseDefinitionRef(ref); err != nil || revision == 0 {
		return task.Definition{}, fault.At("taskDefinition", "Revision is missing.")
	}
	var d task.Definition
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		if d, err = definition(ctx, tx, in, ref); err != nil || d.Status == task.DeleteInProgress {
			return err
		}
		if d.Status == task.Active {
			return fault.New(fault.Conflict, "The specified task definition is still in ACTIVE status. Please deregister the target and try again.")
		}
		d.Status, d.DeleteRequested = task.DeleteInProgress, s.Now().UTC()
		return update(ctx, tx, d)
	})
	return d, err
}

// ForgetDefinitions takes away the revisions that are DELETE_IN_PROGRESS and that no task
// is of which has not stopped, and returns how many there were. Revisions are not used
// again: the family goes on counting.
func (s *Store) ForgetDefinitions(ctx context.Context) (int, error) {
	var gone int64
	err := s.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `DELETE FROM definitions WHERE status = 'DELETE_IN_PROGRESS' AND NOT EXISTS (
				SELECT 1 FROM tasks WHERE tasks.status <> 'STOPPED' AND tasks.account = definitions.account AND tasks.region = definitions.region
				AND tasks.family = definitions.family AND json_extract(tasks.body, '$.taskDefinitionArn') = json_extract(definitions.body, '$.taskDefinitionArn'))`)
		if err != nil {
			return fmt.Errorf("forget definitions: %w", err)
		}
		gone, err = done.RowsAffected()
		return err
	})
	return int(gone), err
}

// DefinitionFamilies lists the names of families and returns a token for the next page, empty after
// the last. status is ACTIVE for those that have an ACTIVE revision, INACTIVE for those
// that have revisions and none that is ACTIVE, and else both.
func (s *Store) DefinitionFamilies(ctx context.Context, in task.Realm, prefix, status string, p Page) ([]string, string, error) {
	after := ""
	if p.Token != "" {
		var err error
		if after, err = openToken(familiesToken, p.Token); err != nil {
			return nil, "", err
		}
	}
	limit := max(p.Limit, 1)
	rows, err := s.reader().QueryContext(ctx, `SELECT family FROM definitions
			WHERE account = ?1 AND region = ?2 AND substr(family, 1, length(?3)) = ?3 AND family > ?4
			GROUP BY family
			HAVING ?5 NOT IN ('ACTIVE', 'INACTIVE') OR (?5 = 'ACTIVE') = max(status = 'ACTIVE')
			ORDER BY family LIMIT ?6`, in.Account, in.Region, prefix, after, status, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list families: %w", err)
	}
	defer rows.Close()
	names := []string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, "", fmt.Errorf("scan family: %w", err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || len(names) <= limit {
		return names, "", err
	}
	names = names[:limit]
	return names, sealToken(familiesToken, names[limit-1]), nil
}
