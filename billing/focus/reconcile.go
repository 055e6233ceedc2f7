package focus

import (
	"cmp"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
)

const (
	linesMax   = 2_000_000 // lines about tasks that a file may have
	columnsMax = 1000
	shownMax   = 1000 // lines that differ and are shown
)

// Reconciliation is what a bill of someone else and our own ledger say of the same
// hours, line by line. Lines are of one resource, SKU and hour.
type Reconciliation struct {
	Format  string    `json:"format" enum:"FOCUS,CUR"`
	From    time.Time `json:"from" doc:"The first hour in the file"`
	To      time.Time `json:"to" doc:"The end of its last hour"`
	Ignored int       `json:"ignored" doc:"Lines of the file that are not about time of tasks"`

	Equal     int    `json:"equal" doc:"Lines of which both say the same, to a nano-dollar and 1e-9 unit-hours"`
	Different int    `json:"different"`
	OnlyThere int    `json:"onlyThere" doc:"Lines that only the file has"`
	OnlyHere  int    `json:"onlyHere" doc:"Lines that only the ledger has"`
	There     string `json:"there" doc:"What the file charges for tasks, in US dollars"`
	Here      string `json:"here" doc:"What the ledger charges in the same hours"`
	Lines     []Diff `json:"lines" doc:"The first 1000 of those that are not equal, the largest difference first"`
}

// Diff is a line that is not the same in both. What only one has is empty in the
// other.
type Diff struct {
	Kind      string      `json:"kind" enum:"DIFFERENT,ONLY_THERE,ONLY_HERE"`
	Resource  string      `json:"resource"`
	SKU       billing.SKU `json:"sku"`
	Hour      time.Time   `json:"hour"`
	There     string      `json:"there,omitempty"`
	Here      string      `json:"here,omitempty"`
	ThereUsed string      `json:"thereQuantity,omitempty"`
	HereUsed  string      `json:"hereQuantity,omitempty"`
	By        string      `json:"by" doc:"here − there, in US dollars"`
}

// The kinds of a Diff.
const (
	Different = "DIFFERENT"
	OnlyThere = "ONLY_THERE"
	OnlyHere  = "ONLY_HERE"
)

// lineKey is what lines are matched by.
type lineKey struct {
	resource string
	sku      billing.SKU
	hour     int64
}

// amounts is what is charged, and for how much, in 1e-12.
type amounts struct{ cost, quantity *big.Int }

func newAmounts() *amounts { return &amounts{new(big.Int), new(big.Int)} }

func (a *amounts) add(cost, quantity *big.Int) {
	a.cost.Add(a.cost, cost)
	a.quantity.Add(a.quantity, quantity)
}

// line is a line of the file, and what we have for it.
type line struct {
	amounts
	here *amounts
}

// Reconcile compares a FOCUS or Cost and Usage Report CSV with charges of the
// ledger, which it asks for the hours that are in the file. What the file has is
// kept in memory, and the ledger streams by. A file that is neither is
// fault.Invalid.
func Reconcile(file io.Reader, charges func(from, to time.Time) iter.Seq2[billing.Charge, error]) (Reconciliation, error) {
	r := Reconciliation{Lines: []Diff{}}
	lines, err := readLines(file, &r)
	if err != nil {
		return r, err
	}
	there, here := new(big.Int), new(big.Int)
	for _, l := range lines {
		there.Add(there, l.cost)
	}
	if len(lines) > 0 {
		if err := compare(&r, lines, Rows(charges(r.From, r.To)), here); err != nil {
			return r, err
		}
	}
	for k, l := range lines {
		d := Diff{Resource: k.resource, SKU: k.sku, Hour: time.Unix(k.hour, 0).UTC(), There: show(l.cost), ThereUsed: show(l.quantity)}
		switch {
		case l.here == nil:
			r.OnlyThere++
			d.Kind, d.By = OnlyThere, show(new(big.Int).Neg(l.cost))
		case near(l.cost, l.here.cost) && near(l.quantity, l.here.quantity):
			r.Equal++
			continue
		default:
			r.Different++
			d.Kind, d.Here, d.HereUsed, d.By = Different, show(l.here.cost), show(l.here.quantity), show(new(big.Int).Sub(l.here.cost, l.cost))
		}
		r.add(d)
	}
	r.There, r.Here = show(there), show(here)
	slices.SortFunc(r.Lines, largest)
	return r, nil
}

// compare goes through our rows, and adds those that the file has to its lines.
func compare(r *Reconciliation, lines map[lineKey]*line, rows iter.Seq2[*Row, error], here *big.Int) error {
	cs := newCells(&Options{})
	var key lineKey
	var only *amounts // what only we have of key
	flush := func() {
		if only != nil {
			r.OnlyHere++
			r.add(Diff{Kind: OnlyHere, Resource: key.resource, SKU: key.sku, Hour: time.Unix(key.hour, 0).UTC(),
				Here: show(only.cost), HereUsed: show(only.quantity), By: show(only.cost)})
		}
		only = nil
	}
	for row, err := range rows {
		if err != nil {
			return err
		}
		cs.set(row)
		cost := new(big.Int).Mul(big.NewInt(int64(row.Amount)), big.NewInt(1e3))
		quantity := new(big.Int).Mul(big.NewInt(cs.quantity), big.NewInt(100))
		here.Add(here, cost)
		k := lineKey{cs.realm.TaskARN(row.Task), row.SKU, row.Start.Unix()}
		if k != key {
			flush()
			key = k
		}
		into := &only
		if l := lines[k]; l != nil {
			into = &l.here
		}
		if *into == nil {
			*into = newAmounts()
		}
		(*into).add(cost, quantity)
	}
	flush()
	return nil
}

// near reports whether two amounts in 1e-12 are the same to 1e-9: AWS rounds to
// ten decimals and we to nine.
func near(a, b *big.Int) bool {
	d := new(big.Int).Sub(a, b)
	return d.CmpAbs(big.NewInt(1000)) <= 0
}

func show(n *big.Int) string { return new(big.Rat).SetFrac(n, big.NewInt(1e12)).FloatString(10) }

// add keeps a difference, if it is among the largest.
func (r *Reconciliation) add(d Diff) {
	r.Lines = append(r.Lines, d)
	if len(r.Lines) >= 2*shownMax {
		slices.SortFunc(r.Lines, largest)
		r.Lines = r.Lines[:shownMax]
	}
}

func largest(a, b Diff) int {
	x, _ := new(big.Rat).SetString(a.By)
	y, _ := new(big.Rat).SetString(b.By)
	return cmp.Or(y.Abs(y).Cmp(x.Abs(x)), a.Hour.Compare(b.Hour), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.SKU, b.SKU))
}

// shape says where a format has what is compared.
type shape struct{ format, resource, usage, description, start, quantity, cost, kind, usual string }

var shapes = []shape{
	{"FOCUS", "ResourceId", "x_UsageType", "ChargeDescription", "ChargePeriodStart", "PricingQuantity", "BilledCost", "ChargeCategory", "Usage"},
	{"CUR", "line_item_resource_id", "line_item_usage_type", "line_item_line_item_description", "line_item_usage_start_date", "line_item_usage_amount",
		"line_item_unblended_cost", "line_item_line_item_type", "Usage"},
}

// readLines reads what a file says of tasks.
func readLines(file io.Reader, r *Reconciliation) (map[lineKey]*line, error) {
	in := csv.NewReader(file)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil || len(header) > columnsMax {
		return nil, badFile(err, "the file has no header of a CSV file")
	}
	at := make(map[string]int)
	for i, name := range header {
		at[snake(strings.TrimPrefix(name, "\ufeff"))] = i + 1 // 0 is none
	}
	var s *shape
	for i := range shapes {
		if c := &shapes[i]; at[c.resource]*at[c.start]*at[c.quantity]*at[c.cost]*at[c.kind] != 0 && at[c.usage]+at[c.description] != 0 {
			s = c
		}
	}
	if s == nil {
		return nil, fault.New(fault.Invalid, "the file is neither FOCUS nor a Cost and Usage Report: its columns are those of neither")
	}
	r.Format = s.format
	lines := make(map[lineKey]*line)
	for n := 2; ; n++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, badFile(err, "the file is not CSV")
		}
		field := func(name string) string {
			if at[name] == 0 {
				return ""
			}
			return record[at[name]-1]
		}
		sku, ok := skuFrom(field(s.usage), field(s.description))
		if !ok || field(s.kind) != s.usual || field(s.resource) == "" {
			r.Ignored++
			continue
		}
		start, ok := parseTime(field(s.start))
		cost, ok1 := parseAmount(field(s.cost))
		quantity, ok2 := parseAmount(field(s.quantity))
		if !ok || !ok1 || !ok2 {
			return nil, fault.New(fault.Invalid, "line %d: the time, the quantity or the cost is none: %q, %q, %q", n, field(s.start), field(s.quantity), field(s.cost))
		}
		start = start.Truncate(time.Hour)
		if r.From.IsZero() || start.Before(r.From) {
			r.From = start
		}
		if end := start.Add(time.Hour); end.After(r.To) {
			r.To = end
		}
		key := lineKey{field(s.resource), sku, start.Unix()}
		l := lines[key]
		if l == nil {
			if len(lines) == linesMax {
				return nil, fault.New(fault.TooLarge, "the file has more than %d lines about tasks; give it in parts", linesMax)
			}
			l = &line{amounts: *newAmounts()}
			key.resource, key.sku = strings.Clone(key.resource), billing.SKU(strings.Clone(string(key.sku)))
			lines[key] = l
		}
		l.add(cost, quantity)
	}
}

// badFile says what is wrong with a file: err, if it is known, as when the body of a request was too large.
func badFile(err error, otherwise string) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fault.New(fault.Invalid, "%s: %v", otherwise, parse)
	}
	return fault.New(fault.Invalid, "%s", otherwise)
}

// snake writes lineItem/UsageType, as older reports have it, as line_item_usage_type.
// Names of FOCUS stay as they are.
func snake(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	var b strings.Builder
	for i, c := range name {
		switch {
		case c == '/':
			b.WriteByte('_')
		case c >= 'A' && c <= 'Z':
			if i > 0 && name[i-1] != '/' && (name[i-1] < 'A' || name[i-1] > 'Z') {
				b.WriteByte('_')
			}
			b.WriteRune(c + 'a' - 'A')
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// fargate is a usage type of Fargate without its region's prefix.
var fargate = regexp.MustCompile(`^(?:[A-Z]{2,4}[0-9]?-)?((?:SpotUsage-)?Fargate-[A-Za-z-]+(?::perCPU)?)$`)

// skuFrom returns the SKU of a line: its usage type or, in FOCUS files without one,
// as AWS's description says.
func skuFrom(usage, description string) (billing.SKU, bool) {
	if m := fargate.FindStringSubmatch(usage); m != nil {
		return billing.SKU(m[1]), true
	}
	if usage != "" || !strings.Contains(description, "Fargate") {
		return "", false
	}
	has := func(s string) bool { return strings.Contains(description, s) }
	name := "Fargate-"
	if has("Spot") {
		name = "SpotUsage-Fargate-"
	}
	switch {
	case has("Ephemeral"):
		return billing.Storage, true
	case has("Windows"):
		name += "Windows-"
	case has("ARM"):
		name += "ARM-"
	}
	switch {
	case has("OS"):
		name += "OS-Hours:perCPU"
	case has("vCPU"):
		name += "vCPU-Hours:perCPU"
	case has("Memory"):
		name += "GB-Hours"
	default:
		return "", false
	}
	return billing.SKU(name), true
}

// decimals are numbers as bills have them. Anything longer is none: an exponent
// of a billion is a number too, and takes gigabytes.
var decimals = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{0,40})?([eE][-+]?[0-9]{1,2})?$`)

// parseAmount reads a number in 1e-12, rounded towards zero.
func parseAmount(text string) (*big.Int, bool) {
	if !decimals.MatchString(text) {
		return nil, false
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	n.Mul(n, big.NewRat(1e12, 1))
	return new(big.Int).Quo(n.Num(), n.Denom()), true
}

func parseTime(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(form, text); err == nil && t.Year() > 2000 && t.Year() < 2200 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
