package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"berth/fault"
	"berth/task"
)

// PutGroup remembers a security group of an account and region, in place of the one of that name, whose ID it
// keeps. Names of groups in its rules become IDs; one that does not exist is
// fault.Invalid.
func (s *Store) PutGroup(ctx context.Context, in task.Realm, g task.SecurityGroup) (task.SecurityGroup, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		all, err := groups(ctx, tx, in)
		if err != nil {
			return err
		}
		g.ID = ""
		if i := indexGroup(all, g.Name); i >= 0 {
			g.ID = all[i].ID
		} else {
			g.ID = "sg-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:17]
		}
		known := append(all, g) // its rules may name itself
		if err := resolve("ipPermissions", g.Ingress, known); err != nil {
			return err
		}
		if err := resolve("ipPermissionsEgress", g.Egress, known); err != nil {
			return err
		}
		body, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("encode security group: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO security_groups (account, region, id, name, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET body = excluded.body`, in.Account, in.Region, g.ID, g.Name, string(body)); err != nil {
			return fmt.Errorf("write security group: %w", err)
		}
		return nil
	})
	return g, err
}

// resolve makes IDs of what names groups in rules.
func resolve(field string, rules []task.Permission, known []task.SecurityGroup) error {
	for i, p := range rules {
		for j, pair := range p.Pairs {
			k := indexGroup(known, pair.GroupID)
			if k < 0 {
				return fault.At(fmt.Sprintf("%s[%d].userIdGroupPairs[%d].groupId", field, i, j), "The security group '%s' does not exist", pair.GroupID)
			}
			p.Pairs[j].GroupID = known[k].ID
		}
	}
	return nil
}

func indexGroup(all []task.SecurityGroup, ref string) int {
	return slices.IndexFunc(all, func(g task.SecurityGroup) bool { return g.ID == ref || g.Name == ref })
}

// Groups returns the security groups of an account and region, by name; with a zero Realm
// all there are.
func (s *Store) Groups(ctx context.Context, in task.Realm) ([]task.SecurityGroup, error) {
	return groups(ctx, s.reader(), in)
}

func groups(ctx context.Context, q querier, in task.Realm) ([]task.SecurityGroup, error) {
	rows, err := q.QueryContext(ctx, `SELECT body FROM security_groups WHERE ? = '' OR account = ? AND region = ? ORDER BY name, account, region`,
		in.Account, in.Account, in.Region)
	if err != nil {
		return nil, fmt.Errorf("list security groups: %w", err)
	}
	defer rows.Close()
	all := []task.SecurityGroup{}
	for rows.Next() {
		var body string
		var g task.SecurityGroup
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan security group: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &g); err != nil {
			return nil, fmt.Errorf("decode security group: %w", err)
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

// Group returns the security group of that ID or name.
func (s *Store) Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error) {
	all, err := s.Groups(ctx, in)
	if err != nil {
		return task.SecurityGroup{}, err
	}
	i := indexGroup(all, ref)
	if i < 0 {
		return task.SecurityGroup{}, noGroup(ref)
	}
	return all[i], nil
}

// noGroup has the words of EC2 (InvalidGroup.NotFound).
func noGroup(ref string) error {
	return fault.New(fault.NotFound, "The security group '%s' does not exist", ref)
}

// RemoveGroup forgets the security group of that ID or name. One that an unfinished
// task is in, or that the rules of another group name, is a fault.Conflict.
func (s *Store) RemoveGroup(ctx context.Context, in task.Realm, ref string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		all, err := groups(ctx, tx, in)
		if err != nil {
			return err
		}
		i := indexGroup(all, ref)
		if i < 0 {
			return noGroup(ref)
		}
		id := all[i].ID
		for _, other := range all {
			for _, p := range slices.Concat(other.Ingress, other.Egress) {
				if other.ID != id && slices.ContainsFunc(p.Pairs, func(pair task.GroupPair) bool { return pair.GroupID == id }) {
					return fault.New(fault.Conflict, "resource %s has a dependent object: the rules of security group %s", id, other.Name)
				}
			}
		}
		var user string
		err = tx.QueryRowContext(ctx, `SELECT tasks.id FROM tasks, json_each(body, '$.networkConfiguration.awsvpcConfiguration.securityGroups') AS member
				WHERE status <> 'STOPPED' AND member.value = ? LIMIT 1`, id).Scan(&user)
		switch {
		case err == nil:
			return fault.New(fault.Conflict, "resource %s has a dependent object: task %s", id, user)
		case err != sql.ErrNoRows:
			return fmt.Errorf("look for tasks in security group: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM security_groups WHERE id = ?`, id); err != nil {
			return fmt.Errorf("remove security group: %w", err)
		}
		return nil
	})
}
