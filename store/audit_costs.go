package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"berth/billing"
	"berth/task"
)

// costTables follow from the ledger, but for cost_facts, which says of tasks what
// nothing else remembers.
var costTables = []string{"cost_facts", "cost_tags", "cost_tasks", "cost_hours", "cost_days"}

// costAudit verifies the sums of costs. It reads them in the order of time, as
// entries come, and keeps only those of which entries are missing.
type costAudit struct {
	q        driver.QueryerContext
	rows     map[string]int64 // that were checked
	payers   *rawRows
	payer    *payerRow // the next; nil after the last
	begun    int64     // rows of cost_tasks that begin with an entry
	hours    *rawRows
	hour     *hourRow // the next; nil after the last
	unsummed []hourRow
}

// payerRow is a row of cost_tasks, hourRow one of cost_hours.
type (
	payerRow struct {
		task         task.ID
		since, facts int64
	}
	hourRow struct {
		costKey
		costSum
	}
)

// payer is whose costs the entries of a task are.
type payer struct {
	task  task.ID
	facts []payerRow // in order
	held  int        // how many of them held until now
}

func badPayer(id task.ID, since int64, format string, args ...any) error {
	return bad("cost_tasks", fmt.Sprint(id, " ", since), format, args...)
}

func badSum(k costKey, format string, args ...any) *billing.BadRow {
	return &billing.BadRow{Table: "cost_hours", Row: fmt.Sprint(k.hour, " ", k.facts, " ", k.sku), Why: fmt.Sprintf(format, args...)}
}

// open begins to read. What it reads must be closed, also after an error.
func (c *costAudit) open(ctx context.Context) (err error) {
	if c.payers, err = query(ctx, c.q, `SELECT task, since, facts FROM cost_tasks ORDER BY task, since`); err != nil {
		return err
	}
	if c.hours, err = query(ctx, c.q, `SELECT hour, facts, sku, entries, amount, units, units_ns, used, used_ns FROM cost_hours
			ORDER BY hour, facts, sku`); err != nil {
		return err
	}
	if err := c.nextPayer(); err != nil {
		return err
	}
	return c.nextHour()
}

func (c *costAudit) close() {
	for _, r := range []*rawRows{c.payers, c.hours} {
		if r != nil {
			r.close()
		}
	}
}

func (c *costAudit) nextPayer() error {
	c.payer = nil
	r := c.payers
	ok, err := r.next()
	if err != nil || !ok {
		return err
	}
	c.payer = &payerRow{task.ID(r.text(0)), r.number(1), r.number(2)}
	c.rows["cost_tasks"]++
	if r.wrong != nil {
		return badPayer(c.payer.task, c.payer.since, "%v", r.wrong)
	}
	return nil
}

func (c *costAudit) nextHour() error {
	c.hour = nil
	r := c.hours
	ok, err := r.next()
	if err != nil || !ok {
		return err
	}
	c.hour = &hourRow{costKey{r.number(0), r.number(1), billing.SKU(r.text(2))}, costSum{
		entries: r.number(3), amount: r.number(4),
		units: billing.Units{Seconds: r.number(5), Nanos: r.number(6)}, used: billing.Units{Seconds: r.number(7), Nanos: r.number(8)},
	}}
	c.rows["cost_hours"]++
	if r.wrong != nil {
		return badSum(c.hour.costKey, "%v", r.wrong)
	}
	return nil
}

// payerOf reads whose costs those of a task are. Tasks are asked for in their order.
func (c *costAudit) payerOf(id task.ID) (*payer, error) {
	p := &payer{task: id}
	for c.payer != nil && c.payer.task <= id {
		if c.payer.task < id {
			return p, badPayer(c.payer.task, c.payer.since, "nothing was charged to this task")
		}
		p.facts = append(p.facts, *c.payer)
		if err := c.nextPayer(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// factsOf returns the facts that entry n counts for. p is nil if it is a reversal.
func (c *costAudit) factsOf(ctx context.Context, n int64, e billing.Entry, p *payer) (facts int64, err error) {
	if p == nil {
		found := false
		err := all(ctx, c.q, `SELECT c.facts FROM ledger_entries r JOIN cost_tasks c ON c.task = r.task AND c.since <= r.n
				WHERE r.n = `+placeBefore+` ORDER BY c.since DESC LIMIT 1`, func(r *rawRows) error {
			facts, found = r.number(0), true
			return r.wrong
		}, e.Ref, n)
		if err == nil && !found {
			err = badPayer(e.Task, 0, "it is missing: nobody was charged what entry %d takes back", n)
		}
		return facts, err
	}
	for p.held < len(p.facts) && p.facts[p.held].since <= n {
		if p.facts[p.held].since == n {
			c.begun++
		}
		p.held++
	}
	if p.held == 0 {
		return 0, badPayer(e.Task, n, "it is missing: nobody is charged entry %d", n)
	}
	return p.facts[p.held-1].facts, nil
}

// readHours reads the sums up to those of an hour.
func (c *costAudit) readHours(hour int64) error {
	for c.hour != nil && c.hour.hour <= hour {
		c.unsummed = append(c.unsummed, *c.hour)
		if err := c.nextHour(); err != nil {
			return err
		}
	}
	return nil
}

// verifyEnd checks what is left over when all entries were read, and the tables
// that follow from others.
func (c *costAudit) verifyEnd(ctx context.Context) error {
	if c.hour != nil {
		return badSum(c.hour.costKey, "nothing is booked in it")
	}
	if c.payer != nil {
		return badPayer(c.payer.task, c.payer.since, "nothing was charged to this task")
	}
	if c.begun != c.rows["cost_tasks"] {
		if err := c.none(ctx, "cost_tasks", factsOfNoEntry, "no entry of the task begins it"); err != nil {
			return err
		}
	}
	if err := c.none(ctx, "cost_days", daysOfNoHours, "its hours add up to something else"); err != nil {
		return err
	}
	if err := c.none(ctx, "cost_facts", factsMissing, "it is missing, and costs are charged to it or tags lead to it"); err != nil {
		return err
	}
	if err := c.none(ctx, "cost_tags", tagsOfNoFacts, "its facts say otherwise"); err != nil {
		return err
	}
	for _, table := range []string{"cost_facts", "cost_tags", "cost_days"} {
		err := all(ctx, c.q, `SELECT count(*) FROM `+table, func(r *rawRows) error {
			c.rows[table] = r.number(0)
			return r.wrong
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// none returns a BadRow if a query finds one.
func (c *costAudit) none(ctx context.Context, table, text, why string) error {
	return all(ctx, c.q, text, func(r *rawRows) error { return bad(table, r.values[0], "%s", why) })
}

const (
	factsOfNoEntry = `SELECT c.task || ' ' || c.since FROM cost_tasks c WHERE NOT EXISTS (SELECT 1 FROM ledger_entries e
		WHERE e.n = c.since AND e.task = c.task AND e.ref IS NULL) LIMIT 1`

	daysOfNoHours = `SELECT coalesce(w.day, d.day) || ' ' || coalesce(w.facts, d.facts) || ' ' || coalesce(w.sku, d.sku) FROM
		(SELECT hour / 24 AS day, facts, sku, sum(entries) AS entries, sum(amount) AS amount, sum(units) AS units, sum(units_ns) AS units_ns,
			sum(used) AS used, sum(used_ns) AS used_ns FROM cost_hours GROUP BY 1, 2, 3) w
		FULL JOIN cost_days d ON d.day = w.day AND d.facts = w.facts AND d.sku = w.sku
		WHERE w.entries IS NOT d.entries OR w.amount IS NOT d.amount OR w.units IS NOT d.units OR w.units_ns IS NOT d.units_ns
			OR w.used IS NOT d.used OR w.used_ns IS NOT d.used_ns LIMIT 1`

	factsMissing = `SELECT facts FROM (SELECT facts FROM cost_tasks UNION SELECT facts FROM cost_tags) WHERE facts NOT IN (SELECT id FROM cost_facts) LIMIT 1`

	tagsOfNoFacts = `SELECT f.id || ' ' || coalesce((SELECT min(t.key) FROM cost_tags t WHERE t.facts = f.id
			AND NOT EXISTS (SELECT 1 FROM json_each(f.tags) j WHERE j.value ->> 0 = t.key AND j.value ->> 1 = t.value)),
			(SELECT min(j.value ->> 0) FROM json_each(f.tags) j WHERE NOT EXISTS (SELECT 1 FROM cost_tags t
				WHERE t.facts = f.id AND t.key = j.value ->> 0 AND t.value = j.value ->> 1))) AS row FROM cost_facts f WHERE row IS NOT NULL LIMIT 1`
)

// sums are those of hours, less the entries that were seen. What has come to
// nothing is forgotten.
type sums map[costKey]*costSum

func (s sums) add(rows []hourRow) {
	for _, r := range rows {
		s[r.costKey] = &r.costSum
	}
}

// less takes an entry off its sum.
func (s sums) less(x *expected) error {
	e := &x.entry
	k := costKey{e.Booked.Unix() / 3600, x.facts, e.SKU}
	sum := s[k]
	if sum == nil {
		return at{x.n, badSum(k, "entry %d is not counted in it", x.n)}
	}
	units, used := billing.UnitsOf(e.Units), billing.UnitsOf(e.Used.Units)
	sum.entries--
	sum.amount -= int64(e.Amount)
	sum.units = billing.Units{Seconds: sum.units.Seconds - units.Seconds, Nanos: sum.units.Nanos - units.Nanos}
	sum.used = billing.Units{Seconds: sum.used.Seconds - used.Seconds, Nanos: sum.used.Nanos - used.Nanos}
	if sum.entries > 0 {
		return nil
	}
	if *sum != (costSum{}) {
		return at{x.n, badSum(k, "it is not the sum of its entries: an amount of %s, units of %+v and used ones of %+v are too much",
			billing.Money(sum.amount), sum.units, sum.used)}
	}
	delete(s, k)
	return nil
}

// left names the first sum that counts entries which are not there.
func (s sums) left() error {
	var first *costKey
	for k := range s {
		if first == nil || k.before(*first) {
			first = &k
		}
	}
	if first == nil {
		return nil
	}
	return badSum(*first, "it counts %d entries more than there are", s[*first].entries)
}

func (k costKey) before(l costKey) bool {
	if k.hour != l.hour {
		return k.hour < l.hour
	}
	if k.facts != l.facts {
		return k.facts < l.facts
	}
	return k.sku < l.sku
}
