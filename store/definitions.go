package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/fault"
	"berth/task"
)

// Register remembers d as the next revision of its family and returns it as it
// is now known. Registering the same definition again makes another revision, as
// the ECS API does.
func (s *Store) Register(ctx context.Context, in task.Realm, d task.Definition) (task.Definition, error) {
	var made task.Definition
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		made, err = s.register(ctx, tx, in, d)
		return err
	})
	return made, err
}

func (s *Store) register(ctx context.Context, tx *sql.Tx, in task.Realm, d task.Definition) (task.Definition, error) {
	var revision int
	err := tx.QueryRowContext(ctx, `INSERT INTO families (account, region, family, last_revision) VALUES (?, ?, ?, 1)
			ON CONFLICT (account, region, family) DO UPDATE SET last_revision = last_revision + 1 RETURNING last_revision`, in.Account, in.Region, d.Family).Scan(&revision)
	if err != nil {
		return d, fmt.Errorf("take next revision: %w", err)
	}
	d.Registration = task.Registration{
		ARN: in.DefinitionARN(d.Family, revision), Revision: revision, Status: task.Active,
		Compatibilities: []string{"EC2", "FARGATE"}, RequiresAttrs: []task.Attribute{}, RegisteredAt: s.Now().UTC(),
		RegisteredBy: d.RegisteredBy,
	}
	body, err := json.Marshal(d)
	if err != nil {
		return d, fmt.Errorf("encode definition: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO definitions (account, region, family, revision, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		in.Account, in.Region, d.Family, revision, d.Status, string(body), s.at()); err != nil {
		return d, fmt.Errorf("insert definition: %w", err)
	}
	return d, nil
}

// ensure returns the latest ACTIVE revision of d's family if it says the same as
// d, and else registers d.
func (s *Store) ensure(ctx context.Context, tx *sql.Tx, in task.Realm, d task.Definition) (task.Definition, error) {
	latest, err := definition(ctx, tx, in, d.Family)
	switch {
	case err == nil && latest.Same(d):
		return latest, nil
	case err == nil || fault.KindOf(err) == fault.NotFound:
		return s.register(ctx, tx, in, d)
	}
	return d, err
}

// Definition returns the definition that ref names in an account and region: a family, which means its
// latest ACTIVE revision, or a family:revision, or an ARN of either.
func (s *Store) Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error) {
	return definition(ctx, s.reader(), in, ref)
}

func definition(ctx context.Context, q querier, in task.Realm, ref string) (task.Definition, error) {
	family, revision, err := in.DefinitionRef(ref)
	if err != nil {
		return task.Definition{}, err
	}
	var body string
	err = q.QueryRowContext(ctx, `SELECT body FROM definitions WHERE account = ? AND region = ? AND family = ?
			AND (revision = ? OR (? = 0 AND status = 'ACTIVE')) ORDER BY revision DESC LIMIT 1`, in.Account, in.Region, family, revision, revision).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return task.Definition{}, task.NoDefinition(ref)
	}
	if err != nil {
		return task.Definition{}, fmt.Errorf("read definition: %w", err)
	}
	return decodeDefinition(body)
}

func decodeDefinition(body string) (task.Definition, error) {
	var d task.Definition
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		return d, fmt.Errorf("decode definition: %w", err)
	}
	return d, nil
}

// Deregister makes a revision INACTIVE: no new task runs it, those that exist
// go on, and it can still be described. ref must name the revision. A second
// call changes nothing.
func (s *Store) Deregister(ctx context.Context, in task.Realm, ref string) (task.Definition, error) {
	if _, revision, err := task.ParseDefinitionRef(ref); err != nil || revision == 0 {
		return task.Definition{}, errors.Join(err, fault.At("taskDefinition", "Revision is missing."))
	}
	var d task.Definition
	err := s.write(ctx, func(tx *sql.Tx) error {
		var err error
		if d, err = definition(ctx, tx, in, ref); err != nil || d.Status != task.Active {
			return err
		}
		d.Status, d.DeregisteredAt = task.Inactive, s.Now().UTC()
		return update(ctx, tx, d)
	})
	return d, err
}

func update(ctx context.Context, tx *sql.Tx, d task.Definition) error {
	in := d.Realm()
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode definition: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE definitions SET status = ?, body = ? WHERE account = ? AND region = ? AND family = ? AND revision = ?`,
		d.Status, string(body), in.Account, in.Region, d.Family, d.Revision); err != nil {
		return fmt.Errorf("update definition: %w", err)
	}
	return nil
}

// DefinitionFilter says which definitions to list. Zero fields do not filter.
type DefinitionFilter struct {
	Account      string
	Region       string
	Family       string
	FamilyPrefix string
	Status       string
	Newest       bool // newest revisions first; otherwise by family and revision
}

// Definitions lists definitions and returns a token for the next page, empty
// after the last.
func (s *Store) Definitions(ctx context.Context, f DefinitionFilter, p Page) ([]task.Definition, string, error) {
	family, revision := "", 0
	if p.Token != "" {
		after, err := openToken(definitionsToken, p.Token)
		if err != nil {
			return nil, "", err
		}
		if family, revision, err = task.ParseDefinitionRef(after); err != nil || revision == 0 {
			return nil, "", fault.At("nextToken", "is not a token that a list returned")
		}
	}
	limit := max(p.Limit, 1)
	order, beyond := "ASC", ">"
	if f.Newest {
		order, beyond = "DESC", "<"
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM definitions
			WHERE (? = '' OR account = ?) AND (? = '' OR region = ?) AND (? = '' OR family = ?) AND substr(family, 1, length(?)) = ? AND (? = '' OR status = ?) AND (? = 0 OR (family, revision) `+beyond+` (?, ?))
			ORDER BY family `+order+`, revision `+order+` LIMIT ?`,
		f.Account, f.Account, f.Region, f.Region, f.Family, f.Family, f.FamilyPrefix, f.FamilyPrefix, f.Status, f.Status, revision, family, revision, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list definitions: %w", err)
	}
	defer rows.Close()
	ds := []task.Definition{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, "", fmt.Errorf("scan definition: %w", err)
		}
		d, err := decodeDefinition(body)
		if err != nil {
			return nil, "", err
		}
		ds = append(ds, d)
	}
	if err := rows.Err(); err != nil || len(ds) <= limit {
		return ds, "", err
	}
	ds = ds[:limit]
	last := ds[limit-1]
	return ds, sealToken(definitionsToken, fmt.Sprintf("%s:%d", last.Family, last.Revision)), nil
}
