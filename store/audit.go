package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"berth/billing"
	"berth/billing/proof"
	"berth/task"
)

// audit verifies a ledger. Its goroutines are one that reads entries and works out
// what must follow from them, one that reads postings, one that checks signatures
// and one that lets SQLite check the pages; the first is the one that owns what is not said to be another's.
type audit struct {
	db       *sql.DB
	verifier note.Verifier
	file     []byte // of checkpoints: what is left of it
	rates    billing.RateBook
	schema   bool // is looked at, too

	q        driver.QueryerContext
	size     int64
	frontier proof.Frontier
	rows     map[string]int64
	newest   string // checkpoint

	waiting  map[cursorKey]*progress // read, and not all of their entries
	cursors  *rawRows
	periods  []period
	prices   map[priceKey]billing.Rate
	known    map[priceKey]bool
	signed   *rawRows // checkpoints
	next     *checkpointRow
	tiles    int64
	sides    chan sent
	notes    chan []checkpointRow
	unsent   []expected
	unopened []checkpointRow
	costs    *costAudit
	last     *payer // whose cursor was read last
}

type cursorKey struct {
	task task.ID
	sku  billing.SKU
}

type priceKey struct {
	list string
	sku  billing.SKU
}

// progress is a cursor, where its entries have led so far, and those that came
// before their turn.
type progress struct {
	stored billing.Cursor
	payer  *payer
	replay *billing.Replay
	early  map[int64]billing.Entry // by Seq
}

// expected is the postings that an entry must have, and the facts it counts for.
type expected struct {
	n       int64
	facts   int64
	entry   billing.Entry
	amounts [billing.Sides]int64
	posted  [billing.Sides]bool
}

// sent is what goes to the goroutine that reads postings: entries, and the sums of
// their hours, which come before them.
type sent struct {
	entries []expected
	hours   []hourRow
}

// at is a BadRow among entries, so that of two the first can be told.
type at struct {
	n int64
	*billing.BadRow
}

func (e at) Unwrap() error { return e.BadRow }

func badEntry(n int64, format string, args ...any) error {
	return at{n, &billing.BadRow{Table: "ledger_entries", Row: fmt.Sprint(n), Why: fmt.Sprintf(format, args...)}}
}

func bad(table string, row any, format string, args ...any) error {
	return &billing.BadRow{Table: table, Row: fmt.Sprint(row), Why: fmt.Sprintf(format, args...)}
}

// report returns what was found.
func (a *audit) report(bad *billing.BadRow) billing.Audit {
	out := billing.Audit{OK: bad == nil, Bad: bad, Entries: a.frontier.Size(), Root: a.frontier.Root().String(), Checkpoint: a.newest}
	for _, table := range slices.Concat(ledgerTables, costTables) {
		out.Rows = append(out.Rows, billing.TableRows{Table: table, Rows: a.rows[table]})
	}
	return out
}

func (a *audit) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil { // Arithmetic on what nobody would write.
			err = bad("ledger_entries", a.frontier.Size(), "it says what cannot be: %v", p)
		}
	}()
	pages := make(chan error, 1)
	go func() { pages <- verifyPages(ctx, a.db) }()
	defer func() {
		if broken := <-pages; broken != nil { // Whatever else was found, this is why.
			err = broken
		}
	}()
	return raw(ctx, a.db, func(q driver.QueryerContext) error {
		a.q = q
		if a.schema {
			if err := verifySchema(ctx, q); err != nil {
				return err
			}
		}
		accounts, err := a.readAccounts(ctx)
		if err != nil {
			return err
		}
		if err := a.readPeriods(ctx); err != nil {
			return err
		}
		if err := a.count(ctx, `SELECT coalesce(max(n) + 1, 0) FROM ledger_entries`, &a.size); err != nil {
			return err
		}
		return a.verifyRows(ctx, accounts)
	})
}

// verifyPages lets SQLite check every page, index and constraint.
func verifyPages(ctx context.Context, db *sql.DB) error {
	return raw(ctx, db, func(q driver.QueryerContext) error {
		return all(ctx, q, `PRAGMA integrity_check(1)`, func(r *rawRows) error {
			if verdict := r.text(0); verdict != "ok" {
				return bad("file", "pages", "%s", verdict)
			}
			return nil
		})
	})
}

func (a *audit) count(ctx context.Context, text string, n *int64, args ...any) error {
	return all(ctx, a.q, text, func(r *rawRows) error {
		*n = r.number(0)
		return r.wrong
	}, args...)
}

func (a *audit) readAccounts(ctx context.Context) (map[account]int64, error) {
	accounts := make(map[account]int64)
	err := all(ctx, a.q, `SELECT id, name, unit FROM ledger_accounts`, func(r *rawRows) error {
		accounts[account{r.text(1), r.text(2)}] = r.number(0)
		a.rows["ledger_accounts"]++
		return r.wrong
	})
	return accounts, err
}

// verifyRows verifies all that follows from entries.
func (a *audit) verifyRows(ctx context.Context, accounts map[account]int64) (err error) {
	a.waiting, a.prices, a.known = make(map[cursorKey]*progress), make(map[priceKey]billing.Rate), make(map[priceKey]bool)
	a.sides, a.notes = make(chan sent, 4), make(chan []checkpointRow, 4)
	if a.cursors, err = query(ctx, a.q, `SELECT `+cursorColumns+`, entered FROM meter_cursors ORDER BY task, sku`); err != nil {
		return err
	}
	defer a.cursors.close()
	if a.signed, err = query(ctx, a.q, `SELECT size, root, note FROM ledger_checkpoints ORDER BY size`); err != nil {
		return err
	}
	defer a.signed.close()
	if err := a.nextCheckpoint(); err != nil {
		return err
	}
	a.costs = &costAudit{q: a.q, rows: a.rows}
	defer a.costs.close()
	if err := a.costs.open(ctx); err != nil {
		return err
	}

	p := &postings{db: a.db, size: a.size, accounts: accounts, sides: a.sides}
	g, gctx := errgroup.WithContext(ctx)
	var posted, opened error
	g.Go(func() error { posted = p.run(gctx); return nil })
	g.Go(func() error { opened = a.openNotes(); return nil })
	entries := a.verifyEntries(ctx)
	a.send(true)
	g.Wait()
	a.rows["ledger_postings"] = p.rows
	for _, err := range first(entries, posted, opened) {
		return err
	}
	if err := p.unused(); err != nil {
		return err
	}
	if err := a.verifyCursors(ctx); err != nil {
		return err
	}
	if err := a.verifyPeriods(); err != nil {
		return err
	}
	if err := a.verifyEnd(ctx); err != nil {
		return err
	}
	if err := p.sums.left(); err != nil {
		return err
	}
	return a.costs.verifyEnd(ctx)
}

// first returns the errors that are not nil, that about the first entry first.
func first(errs ...error) (sorted []error) {
	least := int64(-1)
	for _, err := range errs {
		var e at
		if errors.As(err, &e) && (least < 0 || e.n < least) {
			least, sorted = e.n, append([]error{err}, sorted...)
		} else if err != nil {
			sorted = append(sorted, err)
		}
	}
	return sorted
}

// batch is how many rows go from goroutine to goroutine at once.
const batch = 512

// send sends what has gathered to the other goroutines; all of it and the end, if
// there will be no more.
func (a *audit) send(last bool) {
	if len(a.unsent) >= batch || last {
		a.sides <- sent{a.unsent, a.costs.unsummed}
		a.unsent, a.costs.unsummed = make([]expected, 0, batch), nil
	}
	if len(a.unopened) >= batch || last {
		a.notes <- a.unopened
		a.unopened = nil
	}
	if last {
		close(a.sides)
		close(a.notes)
	}
}

// verifyEntries reads the entries in order.
func (a *audit) verifyEntries(ctx context.Context) error {
	r, err := query(ctx, a.q, `SELECT `+entryColumns+` FROM ledger_entries ORDER BY n`)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		n := a.frontier.Size()
		ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if n%batch == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, at, hash := rawEntry(r)
		if r.wrong != nil {
			return badEntry(n, "%v", r.wrong)
		}
		if at != n {
			return badEntry(n, "it is missing; the next is %d", at)
		}
		if err := a.verifyEntry(ctx, n, e, proof.Hash(hash)); err != nil {
			return err
		}
		a.rows["ledger_entries"]++
		a.send(false)
	}
}

func (a *audit) verifyEntry(ctx context.Context, n int64, e billing.Entry, hash proof.Hash) error {
	p, err := a.progress(ctx, n, e)
	if err != nil {
		return err
	}
	if p != nil {
		e.ARN = p.stored.ARN
	} else if e.ARN, err = a.arn(ctx, n, e); err != nil {
		return err
	}
	if proof.Hash(e.Hash()) != hash {
		return badEntry(n, "it is not what its hash says, which is of its fields and the ARN in its cursor")
	}
	for _, t := range a.frontier.Append(hash) {
		if err := a.verifyTile(ctx, t); err != nil {
			return err
		}
	}
	if err := a.verifyRate(n, e); err != nil {
		return err
	}
	natural := e.Natural()
	if e.Kind == billing.Reversal {
		original, err := a.original(ctx, n, e)
		if err != nil {
			return err
		}
		natural = original.Booked
	} else if err := a.take(n, p, e); err != nil {
		return err
	}
	if err := a.book(n, e, natural); err != nil {
		return err
	}
	x := expected{n: n, entry: e}
	var payer *payer
	if p != nil {
		payer = p.payer
	}
	if x.facts, err = a.costs.factsOf(ctx, n, e, payer); err != nil {
		return err
	}
	if err := a.costs.readHours(e.Booked.Unix() / 3600); err != nil {
		return err
	}
	x.amounts, x.posted = e.Amounts()
	a.unsent = append(a.unsent, x)
	return a.verifyCheckpoint()
}

func (a *audit) verifyRate(n int64, e billing.Entry) error {
	if a.rates == nil {
		return nil
	}
	k := priceKey{e.PriceList, e.SKU}
	rate, asked := a.prices[k]
	if !asked {
		rate, a.known[k] = a.rates(e.PriceList, e.SKU)
		a.prices[k] = rate
	}
	if a.known[k] && rate != e.Rate {
		return badEntry(n, "it charges %s for %s and price list %s says %s", e.Rate, e.SKU, e.PriceList, rate)
	}
	return nil
}

// progress returns the cursor of e; nil if e is a reversal.
func (a *audit) progress(ctx context.Context, n int64, e billing.Entry) (*progress, error) {
	if e.Kind == billing.Reversal {
		return nil, nil
	}
	k := cursorKey{e.Task, e.SKU}
	for {
		if p := a.waiting[k]; p != nil {
			return p, nil
		}
		if ok, err := a.readCursor(); err != nil || !ok {
			if err == nil {
				err = badEntry(n, "it has no cursor, or its cursor knows of fewer entries")
			}
			return nil, err
		}
	}
}

// readCursor reads the next cursor; false after the last.
func (a *audit) readCursor() (bool, error) {
	ok, err := a.cursors.next()
	if err != nil || !ok {
		return false, err
	}
	c := rawCursor(a.cursors)
	if a.cursors.wrong != nil {
		return false, bad("meter_cursors", string(c.Task)+" "+string(c.SKU), "%v", a.cursors.wrong)
	}
	if a.last == nil || a.last.task != c.Task {
		if a.last, err = a.costs.payerOf(c.Task); err != nil {
			return false, err
		}
	}
	if entered := a.cursors.number(15); entered != c.Seq {
		return false, bad("meter_cursors", string(c.Task)+" "+string(c.SKU), "it has counted %d entries and knows of %d", entered, c.Seq)
	}
	a.waiting[cursorKey{c.Task, c.SKU}] = &progress{stored: c, payer: a.last, replay: billing.NewReplay(c)}
	a.rows["meter_cursors"]++
	return true, nil
}

// take lets the cursor of e take it and those that waited for it. A cursor that has
// all is checked and forgotten.
func (a *audit) take(n int64, p *progress, e billing.Entry) error {
	if e.Seq != p.replay.Seq()+1 {
		if p.early == nil {
			p.early = make(map[int64]billing.Entry)
		}
		if e.Seq <= p.replay.Seq() {
			return badEntry(n, "it is the second with the number %d", e.Seq)
		}
		p.early[e.Seq] = e
		return nil
	}
	for ok := true; ok; e, ok = p.early[p.replay.Seq()+1] {
		if err := p.replay.Take(e); err != nil {
			return badEntry(n, "%v", err)
		}
		delete(p.early, e.Seq)
	}
	if p.stored.Seq == p.replay.Seq() && len(p.early) == 0 {
		delete(a.waiting, cursorKey{p.stored.Task, p.stored.SKU})
		return checkCursor(p)
	}
	return nil
}

// largestSize is beyond any reservation, and small enough that nothing computed from it
// wraps around.
const largestSize = 1 << 24

func checkCursor(p *progress) error {
	c := p.stored
	if err := p.replay.Check(c); err != nil {
		return bad("meter_cursors", string(c.Task)+" "+string(c.SKU), "%v", err)
	}
	if c.Rate < 0 || c.Size < 1 || c.Size > largestSize {
		return bad("meter_cursors", string(c.Task)+" "+string(c.SKU), "size %d, rate %s", c.Size, c.Rate)
	}
	return nil
}
