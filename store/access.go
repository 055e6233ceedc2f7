package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/access"
	"berth/fault"
)

var (
	_ access.Book     = (*Store)(nil)
	_ access.Policies = (*Store)(nil)
)

// PutUser remembers a new user. One of that name and account is fault.Conflict.
func (s *Store) PutUser(ctx context.Context, u access.User) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO users (account, name, admin, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			u.Account, u.Name, u.Admin, nanos(u.CreatedAt))
		if err != nil {
			return fmt.Errorf("insert user: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fault.New(fault.Conflict, "account %s has a user %s already", u.Account, u.Name))
		}
		return nil
	})
}

// Users returns the users of an account, or of all if it is "", by account and name.
func (s *Store) Users(ctx context.Context, account string) ([]access.User, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT account, name, admin, created_at FROM users WHERE ? = '' OR account = ? ORDER BY account, name`, account, account)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	defer rows.Close()
	all := []access.User{}
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, rows.Err()
}

func scanUser(row interface{ Scan(...any) error }) (u access.User, err error) {
	var created int64
	if err := row.Scan(&u.Account, &u.Name, &u.Admin, &created); err != nil {
		return u, fmt.Errorf("scan user: %w", err)
	}
	u.CreatedAt = timeOf(created)
	return u, nil
}

// User returns a user, or fault.NotFound.
func (s *Store) User(ctx context.Context, account, name string) (access.User, error) {
	u, err := scanUser(s.reader().QueryRowContext(ctx, `SELECT account, name, admin, created_at FROM users WHERE account = ? AND name = ?`, account, name))
	if errors.Is(err, sql.ErrNoRows) {
		return u, noUser(account, name)
	}
	return u, err
}

func noUser(account, name string) error {
	return fault.New(fault.NotFound, "account %s has no user %s", account, name)
}

// RemoveUser forgets a user with their keys and policies. The last admin is
// fault.Conflict: nobody could make another.
func (s *Store) RemoveUser(ctx context.Context, account, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var admin bool
		var others int
		err := tx.QueryRowContext(ctx, `SELECT admin, (SELECT count(*) FROM users WHERE admin AND NOT (account = ?1 AND name = ?2))
				FROM users WHERE account = ?1 AND name = ?2`, account, name).Scan(&admin, &others)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return noUser(account, name)
		case err != nil:
			return fmt.Errorf("read user: %w", err)
		case admin && others == 0:
			return fault.New(fault.Conflict, "%s is the last admin", name)
		}
		for _, q := range []string{`DELETE FROM users WHERE account = ? AND name = ?`, `DELETE FROM policies WHERE account = ? AND principal = 'user/' || ?`} {
			if _, err := tx.ExecContext(ctx, q, account, name); err != nil {
				return fmt.Errorf("remove user: %w", err)
			}
		}
		return nil
	})
}

// maxKeys is how many keys a user may have of each kind; AWS allows two access keys, which
// is just enough to replace one.
const maxKeys = 10

// PutKey remembers a new key of a user and what is kept of its secret. A user who does not
// exist is fault.NotFound, one with too many keys fault.Exhausted.
func (s *Store) PutKey(ctx context.Context, k access.Key, secret []byte) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var exists bool
		var n int
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE account = ?1 AND name = ?2),
				(SELECT count(*) FROM access_keys WHERE account = ?1 AND user = ?2 AND kind = ?3)`, k.Account, k.User, k.Kind).Scan(&exists, &n)
		switch {
		case err != nil:
			return fmt.Errorf("count keys: %w", err)
		case !exists:
			return noUser(k.Account, k.User)
		case n >= maxKeys:
			return fault.New(fault.Exhausted, "%s has %d keys of that kind, and more are not possible; remove one", k.User, n)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO access_keys (id, kind, account, user, secret, disabled, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.Kind, k.Account, k.User, secret, k.Disabled, nanos(k.CreatedAt), nanos(k.ExpiresAt)); err != nil {
			return fmt.Errorf("insert key: %w", err)
		}
		return nil
	})
}

const keyColumns = `k.id, k.kind, k.account, k.user, k.disabled, k.created_at, k.expires_at`

func scanKey(row interface{ Scan(...any) error }, more ...any) (k access.Key, err error) {
	var created, expires int64
	if err := row.Scan(append([]any{&k.ID, &k.Kind, &k.Account, &k.User, &k.Disabled, &created, &expires}, more...)...); err != nil {
		return k, fmt.Errorf("scan key: %w", err)
	}
	k.CreatedAt, k.ExpiresAt = timeOf(created), timeOf(expires)
	return k, nil
}

// Key is part of access.Book.
func (s *Store) Key(ctx context.Context, id string) (access.Key, access.User, []byte, error) {
	var u access.User
	var secret []byte
	k, err := scanKey(s.reader().QueryRowContext(ctx, `SELECT `+keyColumns+`, k.secret, u.admin FROM access_keys k
			JOIN users u ON u.account = k.account AND u.name = k.user WHERE k.id = ?`, id), &secret, &u.Admin)
	if errors.Is(err, sql.ErrNoRows) {
		return k, u, nil, fault.New(fault.NotFound, "no key %s", id)
	}
	u.Account, u.Name = k.Account, k.User
	return k, u, secret, err
}

// Keys returns the keys of a user, oldest first.
func (s *Store) Keys(ctx context.Context, account, user string) ([]access.Key, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT `+keyColumns+` FROM access_keys k WHERE account = ? AND user = ? ORDER BY created_at, id`, account, user)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	defer rows.Close()
	all := []access.Key{}
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, rows.Err()
}

// SetKey disables a key of an account, or enables it again. Repeating it changes nothing.
func (s *Store) SetKey(ctx context.Context, account, id string, disabled bool) error {
	return s.changeKey(ctx, `UPDATE access_keys SET disabled = ? WHERE account = ? AND id = ?`, id, disabled, account, id)
}

// RemoveKey forgets a key of an account.
func (s *Store) RemoveKey(ctx context.Context, account, id string) error {
	return s.changeKey(ctx, `DELETE FROM access_keys WHERE account = ? AND id = ?`, id, account, id)
}

func (s *Store) changeKey(ctx context.Context, query, id string, args ...any) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("change key: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fault.New(fault.NotFound, "no key %s", id))
		}
		return nil
	})
}

// PutPolicy remembers a policy of user/NAME or role/NAME, in place of the one of that name.
func (s *Store) PutPolicy(ctx context.Context, account, principal, name string, p access.Policy) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode policy: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO policies (account, principal, name, body) VALUES (?, ?, ?, ?)
				ON CONFLICT (account, principal, name) DO UPDATE SET body = excluded.body`, account, principal, name, string(body)); err != nil {
			return fmt.Errorf("write policy: %w", err)
		}
		return nil
	})
}

// PoliciesOf is part of access.Policies.
func (s *Store) PoliciesOf(ctx context.Context, account, principal string) (map[string]access.Policy, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT name, body FROM policies WHERE account = ? AND principal = ?`, account, principal)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	defer rows.Close()
	all := make(map[string]access.Policy)
	for rows.Next() {
		var name, body string
		if err := rows.Scan(&name, &body); err != nil {
			return nil, fmt.Errorf("scan policy: %w", err)
		}
		var p access.Policy
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			return nil, fmt.Errorf("decode policy %s: %w", name, err)
		}
		all[name] = p
	}
	return all, rows.Err()
}

// RemovePolicy forgets a policy, or is fault.NotFound.
func (s *Store) RemovePolicy(ctx context.Context, account, principal, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `DELETE FROM policies WHERE account = ? AND principal = ? AND name = ?`, account, principal, name)
		if err != nil {
			return fmt.Errorf("remove policy: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fault.New(fault.NotFound, "%s has no policy %s", principal, name))
		}
		return nil
	})
}

// Audit appends to the audit log. It is done whatever becomes of ctx's deadline.
func (s *Store) Audit(ctx context.Context, r access.Record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return s.write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO audit (at, account, body) VALUES (?, ?, ?)`, nanos(r.EventTime), r.Account, string(body)); err != nil {
			return fmt.Errorf("append to the audit log: %w", err)
		}
		return nil
	})
}

// AuditLog returns at most limit records of an account, or of all if it is "", newest first,
// of those before a position, if that is not 0.
func (s *Store) AuditLog(ctx context.Context, account string, before int64, limit int) ([]access.Record, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT seq, body FROM audit WHERE (? = '' OR account = ?) AND (? = 0 OR seq < ?) ORDER BY seq DESC LIMIT ?`,
		account, account, before, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	all := []access.Record{}
	for rows.Next() {
		var r access.Record
		var seq int64
		var body string
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, fmt.Errorf("scan record: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return nil, fmt.Errorf("decode record: %w", err)
		}
		r.Seq = seq
		all = append(all, r)
	}
	return all, rows.Err()
}

// PruneAudit forgets records from before a time, at most limit of them, and returns how many.
func (s *Store) PruneAudit(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT seq FROM audit ORDER BY seq LIMIT ?`, limit)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		var old []int64
		for rows.Next() {
			var seq int64
			if err := rows.Scan(&seq); err != nil {
				return errors.Join(fmt.Errorf("scan record: %w", err), rows.Close())
			}
			old = append(old, seq)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, seq := range old { // from the oldest on, and never past one that is kept
			done, err := tx.ExecContext(ctx, `DELETE FROM audit WHERE seq = ? AND at < ?`, seq, nanos(before))
			if err != nil {
				return fmt.Errorf("forget record: %w", err)
			}
			if one, err := done.RowsAffected(); err != nil || one == 0 {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
