package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"berth/billing"
	"berth/billing/proof"
)

// book is what the writer remembers of the ledger so that it need not ask: how
// many entries there are, and the numbers of accounts. What the group that is
// being written adds can be taken back.
type book struct {
	frontier *proof.Frontier // of what is committed
	leaves   []proof.Hash    // of this group
	accounts map[account]int64
	opened   []account // by this group
	sides    map[sidesKey]*[billing.Sides]int64
}

// sidesKey is what the accounts of an entry follow from; sides has their numbers, 0
// where they have not been needed.
type sidesKey struct {
	account string
	sku     billing.SKU
}

// account is the name of an account and the unit in which it counts.
type account struct{ name, unit string }

// mark is a moment in the writing of a group.
type mark struct{ leaves, opened int }

// openBook reads the ledger.
func openBook(ctx context.Context, tx *sql.Tx) (*book, error) {
	b := &book{accounts: make(map[account]int64), sides: make(map[sidesKey]*[billing.Sides]int64)}
	var err error
	if b.frontier, err = openFrontier(ctx, tx); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, name, unit FROM ledger_accounts`)
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var a account
		if err := rows.Scan(&id, &a.name, &a.unit); err != nil {
			return nil, fmt.Errorf("scan account: %w", err)
		}
		b.accounts[a] = id
	}
	return b, rows.Err()
}

// mark returns where b is.
func (b *book) mark() mark {
	if b == nil {
		return mark{}
	}
	return mark{len(b.leaves), len(b.opened)}
}

// rollBack forgets what was added since m.
func (b *book) rollBack(m mark) {
	if b == nil {
		return
	}
	b.leaves = b.leaves[:m.leaves]
	for _, a := range b.opened[m.opened:] {
		delete(b.accounts, a)
	}
	if len(b.opened) > m.opened {
		clear(b.sides)
	}
	b.opened = b.opened[:m.opened]
}

// committed notes that what was added is there; next is what it led to, if it
// was anything.
func (b *book) committed(next *proof.Frontier) {
	if next == nil {
		return
	}
	b.frontier = next
	b.leaves, b.opened = b.leaves[:0], b.opened[:0]
}

// enter writes entries and their postings behind those that are there.
func (b *book) enter(ctx context.Context, tx *sql.Tx, entries []billing.Entry) error {
	const entryArgs, postingArgs = 19, 3
	args := make([]any, 0, len(entries)*entryArgs)
	sides := make([]any, 0, len(entries)*6*postingArgs)
	for _, e := range entries {
		n, hash := b.frontier.Size()+int64(len(b.leaves)), e.Hash()
		b.leaves = append(b.leaves, hash)
		args = append(args, n, e.ID, string(e.Task), e.Account, string(e.SKU), e.Seq, string(e.Kind), e.From.UnixNano(), e.To.UnixNano(), e.Units,
			int64(e.Rate), e.PriceList, int64(e.Amount), e.Booked.UnixNano(), usedArg(e.Used), e.Measured.UnixNano(), refArg(e.Ref), e.Reason, hash[:])
		amounts, posted := e.Amounts()
		numbers := b.sides[sidesKey{e.Account, e.SKU}]
		if numbers == nil {
			numbers = new([billing.Sides]int64)
			b.sides[sidesKey{e.Account, e.SKU}] = numbers
		}
		for i, ok := range posted {
			if !ok {
				continue
			}
			if numbers[i] == 0 {
				p := e.Accounts()[i]
				id, err := b.account(ctx, tx, account{p.Account, p.Unit})
				if err != nil {
					return err
				}
				numbers[i] = id
			}
			sides = append(sides, n, numbers[i], amounts[i])
		}
	}
	if err := insert(ctx, tx, insertEntries, entryArgs, args); err != nil {
		return fmt.Errorf("insert entries: %w", err)
	}
	if err := insert(ctx, tx, insertPostings, postingArgs, sides); err != nil {
		return fmt.Errorf("insert postings: %w", err)
	}
	return nil
}

func usedArg(u billing.UsedUnits) any {
	if !u.Known {
		return nil
	}
	return u.Units
}

func refArg(ref string) any {
	if ref == "" {
		return nil
	}
	return ref
}

// account returns the number of an account, which it opens if it is new.
func (b *book) account(ctx context.Context, tx *sql.Tx, a account) (int64, error) {
	if id, ok := b.accounts[a]; ok {
		return id, nil
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO ledger_accounts (name, unit) VALUES (?, ?)`, a.name, a.unit)
	if err != nil {
		return 0, fmt.Errorf("open account %s: %w", a.name, err)
	}
	id, err := res.LastInsertId()
	if err != nil {
		return 0, fmt.Errorf("open account %s: %w", a.name, err)
	}
	b.accounts[a] = id
	b.opened = append(b.opened, a)
	return id, nil
}

// batches are how many rows are inserted by one statement, the most first.
var batches = [...]int{64, 8, 1}

var (
	insertEntries  = statements(`INSERT INTO ledger_entries (`+entryColumns+`) VALUES `, 19)
	insertPostings = statements(`INSERT INTO ledger_postings (entry, account, amount) VALUES `, 3)
)

// statements returns the statement for each batch of rows of so many columns.
func statements(head string, columns int) (all [len(batches)]string) {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	for i, n := range batches {
		all[i] = head + row + strings.Repeat(", "+row, n-1)
	}
	return all
}

// insert inserts rows of so many columns, whose values are in args one after
// another.
func insert(ctx context.Context, tx *sql.Tx, statements [len(batches)]string, columns int, args []any) error {
	for i, n := range batches {
		for n *= columns; len(args) >= n; args = args[n:] {
			if _, err := tx.ExecContext(ctx, statements[i], args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}
