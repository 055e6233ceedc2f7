package billing

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Usage returns what a task used, up to the last second. It is served by the
// coarsest series whose steps go into q.Resolution, or by a coarser one if that does
// not reach back to the beginning of what is asked for; the answer says which. Of
// minutes and hours, those are returned whole in which From and To are. A task that
// does not exist is fault.NotFound; of one that was forgotten, minutes and hours are
// there as long as they are kept. A token that no page returned is fault.Invalid.
func (m *Meter) Usage(ctx context.Context, id task.ID, q UsageQuery) (Usage, error) {
	q.Resolution = max(Second, q.Resolution.Truncate(Second))
	after, err := openTime(q.Token)
	if err != nil {
		return Usage{}, err
	}
	for tries := 0; ; tries++ {
		p, err := m.past(ctx, id)
		if err != nil {
			return Usage{}, err
		}
		u, err := p.usage(ctx, q, after)
		if err != nil {
			return Usage{}, err
		}
		// A minute that was stored meanwhile may be in the answer twice.
		now, err := m.past(ctx, id)
		if err != nil || now.rolled.Upto.At.Equal(p.rolled.Upto.At) || tries == 3 {
			return u, err
		}
	}
}

// past reads what one task used.
type past struct {
	*Meter
	task      task.Task
	forgotten bool   // there are only rolls of it
	rolled    RollUp // without Rolls
}

func (m *Meter) past(ctx context.Context, id task.ID) (past, error) {
	p := past{Meter: m}
	var rolled, found error
	p.rolled, rolled = m.Ledger.RolledUp(ctx, id)
	p.task, found = m.Journal.Task(ctx, id)
	switch {
	case rolled != nil && fault.KindOf(rolled) != fault.NotFound:
		return p, rolled
	case fault.KindOf(found) == fault.NotFound && rolled == nil:
		p.task, p.forgotten = p.rolled.Subject.task(), true
		return p, nil
	case rolled != nil:
		p.rolled.Upto = task.Sample{At: p.task.PullStartedAt.Truncate(time.Millisecond)}
	}
	return p, found
}

func (p past) usage(ctx context.Context, q UsageQuery, after time.Time) (Usage, error) {
	step, err := p.serves(ctx, &q)
	switch {
	case err != nil:
		return Usage{}, err
	case step == Second:
		return p.samples(ctx, q, after)
	}
	return p.steps(ctx, step, q, after)
}

// coarser is the series above each.
var coarser = map[time.Duration]time.Duration{Second: Minute, Minute: Hour}

// serves returns the step of the series that serves q, and makes the resolution of q
// a multiple of it.
func (p past) serves(ctx context.Context, q *UsageQuery) (time.Duration, error) {
	step := Second
	for step != Hour && q.Resolution%coarser[step] == 0 {
		step = coarser[step]
	}
	begin := q.From
	if begin.Before(p.task.PullStartedAt) {
		begin = p.task.PullStartedAt
	}
	for step != Hour {
		kept, err := p.Ledger.Kept(ctx, step)
		if err != nil {
			return 0, err
		}
		if !begin.Before(kept) && !(step == Second && p.forgotten) {
			break
		}
		step = coarser[step]
	}
	q.Resolution = (q.Resolution + step - 1).Truncate(step)
	return step, nil
}

// seriesName is how the series of a step is called.
func seriesName(step time.Duration) string {
	return map[time.Duration]string{Second: "1s", Minute: "1m", Hour: "1h"}[step]
}

// samples serves from the samples.
func (p past) samples(ctx context.Context, q UsageQuery, after time.Time) (Usage, error) {
	page := q
	if !after.IsZero() {
		page.From = after.Add(time.Nanosecond)
	}
	lead := page.From
	if !lead.IsZero() { // The first rate needs the sample before.
		lead = lead.Add(-2*samplePeriod - q.Resolution)
	}
	begin := lead
	if begin.Before(p.task.PullStartedAt) {
		begin = p.task.PullStartedAt
	}
	end := p.task.Time(p.Clock())
	if !q.To.IsZero() && q.To.Before(end) {
		end = q.To
	}
	// What a full page takes is tried first, and more if samples are missing there.
	for span := time.Duration(q.Limit+2) * q.Resolution; ; span *= 4 {
		if page.To = q.To; q.Limit > 0 && begin.Add(span).Before(end) {
			page.To = begin.Add(span)
		}
		samples, err := p.between(ctx, lead, page.To)
		if err != nil {
			return Usage{}, err
		}
		before, kept := split(p.task, samples, page)
		u := readings(p.task, before, kept, page)
		switch whole := page.To.Equal(q.To); {
		case u.NextToken == "" && !whole:
		case u.NextToken == "" && after.IsZero(): // All samples are here.
			u.Summary = summarize(p.task, before, kept)
			return u, nil
		default:
			u.Summary, err = p.summary(ctx, q)
			return u, err
		}
	}
}

// between returns the samples from the chunks that overlap [from, to], also what is
// not stored yet.
func (p past) between(ctx context.Context, from, to time.Time) ([]task.Sample, error) {
	var live []Chunk // before the ledger is read: what is stored in between is in both
	if mt := p.find(p.task.ID); mt != nil {
		live = mt.series.pending()
	}
	chunks, err := p.Ledger.Usage(ctx, p.task.ID, from, to)
	if err != nil {
		return nil, err
	}
	return unpackAll(merge(chunks, live))
}

// tail returns the minutes that are not stored, the last one as far as it has come,
// and what the counters are after them.
func (p past) tail(ctx context.Context) ([]Roll, task.Sample, error) {
	if p.rolled.Closed || p.forgotten || p.rolled.Upto.At.IsZero() {
		return nil, p.rolled.Upto, nil
	}
	samples, err := p.between(ctx, p.rolled.Upto.At, time.Time{})
	if err != nil {
		return nil, task.Sample{}, err
	}
	r := newRoller(p.rolled.Upto)
	var rolls []Roll
	for _, s := range samples {
		rolls = append(rolls, r.add(s)...)
	}
	if p.task.StoppedAt.IsZero() {
		if rest, some := r.rest(); some {
			rolls = append(rolls, rest)
		}
	} else {
		rolls = append(rolls, r.close(p.task.StoppedAt)...)
	}
	return rolls, r.upto, nil
}

// steps serves from minutes or hours.
func (p past) steps(ctx context.Context, step time.Duration, q UsageQuery, after time.Time) (Usage, error) {
	from, to := aligned(q.From, q.To, q.Resolution)
	if !after.IsZero() {
		from = after
	}
	enough := 0
	if q.Limit > 0 {
		enough = (q.Limit + 1) * int(q.Resolution/step)
	}
	rolls, err := p.Ledger.Rolls(ctx, p.task.ID, step, from, to, enough)
	if err != nil {
		return Usage{}, err
	}
	tail, end, err := p.tail(ctx)
	if err != nil {
		return Usage{}, err
	}
	if enough == 0 || len(rolls) < enough {
		rolls = append(rolls, within(tail, from, to)...)
	}
	rolls = Fold(rolls, q.Resolution)
	u := Usage{TaskARN: p.task.ARN, Series: seriesName(step), ResolutionSeconds: int64(q.Resolution / Second), Samples: make([]Reading, len(rolls))}
	if u.Summary, err = p.summary(ctx, q); err != nil || len(rolls) == 0 {
		return u, err
	}
	if q.Limit > 0 && len(rolls) > q.Limit {
		rolls, u.Samples = rolls[:q.Limit], u.Samples[:q.Limit]
		u.NextToken = sealTime(rolls[q.Limit-1].At.Add(q.Resolution))
	}
	// What the counters were is what they are, less what they grew since.
	next := rolls[len(rolls)-1].At.Add(q.Resolution)
	later, err := p.Ledger.RollSum(ctx, p.task.ID, step, next, time.Time{})
	if err != nil {
		return Usage{}, err
	}
	for _, r := range within(tail, next, time.Time{}) {
		later = later.plus(r)
	}
	total := less(end.Counters, later)
	for i := len(rolls) - 1; i >= 0; i-- {
		r := rolls[i]
		begin := r.At
		if begin.Before(p.task.PullStartedAt) {
			begin = p.task.PullStartedAt.Truncate(time.Millisecond)
		}
		now := task.Sample{At: begin.Add(r.Covered), Counters: total}
		now.MemoryBytes, now.WorkingSetBytes, now.PIDs, now.EphemeralStorageBytes = r.MemoryBytes, r.WorkingSetBytes, r.PIDs, r.StorageBytes
		now.MemoryPeakBytes = r.MemoryPeak
		total = less(total, r)
		reading := reading(p.task, task.Sample{At: begin, Counters: total}, now)
		reading.AverageWorkingSetBytes, reading.PeakWorkingSetBytes = r.average(), r.WorkingSetPeak
		reading.ofMemory(p.task)
		u.Samples[i] = reading
	}
	return u, nil
}

// aligned widens a range to whole steps. A zero time stays.
func aligned(from, to time.Time, step time.Duration) (time.Time, time.Time) {
	if !from.IsZero() {
		from = from.UTC().Truncate(step)
	}
	if !to.IsZero() {
		to = to.UTC().Add(step - 1).Truncate(step)
	}
	return from, to
}

// within returns the rolls that begin in [from, to).
func within(rolls []Roll, from, to time.Time) (some []Roll) {
	for _, r := range rolls {
		if !r.At.Before(from) && (to.IsZero() || r.At.Before(to)) {
			some = append(some, r)
		}
	}
	return some
}

// less returns the counters before they grew by r.
func less(c task.Counters, r Roll) task.Counters {
	c.CPUNanos = growth(r.CPUNanos, c.CPUNanos)
	c.ThrottledNanos = growth(r.ThrottledNanos, c.ThrottledNanos)
	c.Periods = growth(r.Periods, c.Periods)
	c.ThrottledPeriods = growth(r.ThrottledPeriods, c.ThrottledPeriods)
	c.OOMKills = growth(r.OOMKills, c.OOMKills)
	c.ReadBytes = growth(r.ReadBytes, c.ReadBytes)
	c.WriteBytes = growth(r.WriteBytes, c.WriteBytes)
	c.ReadOps = growth(r.ReadOps, c.ReadOps)
	c.WriteOps = growth(r.WriteOps, c.WriteOps)
	c.RxBytes = growth(r.RxBytes, c.RxBytes)
	c.TxBytes = growth(r.TxBytes, c.TxBytes)
	return c
}

// average is the working set over the time that r covers.
func (r Roll) average() uint64 {
	if ms := uint64(r.Covered / time.Millisecond); ms > 0 {
		return r.MemoryByteMillis / ms
	}
	return r.WorkingSetBytes
}

// hoursFrom is the length of a range from which on hours are added up, not minutes.
const hoursFrom = 48 * time.Hour

// summary adds up what q selects, widened to whole minutes, or hours if the range is
// long or its minutes are not kept any more.
func (p past) summary(ctx context.Context, q UsageQuery) (Summary, error) {
	begin, end := q.From, q.To
	if begin.Before(p.task.PullStartedAt) {
		begin = p.task.PullStartedAt
	}
	if end.IsZero() {
		end = p.task.Time(p.Clock())
	}
	kept, err := p.Ledger.Kept(ctx, Minute)
	if err != nil {
		return Summary{}, err
	}
	step := Minute
	if end.Sub(begin) > hoursFrom || begin.Before(kept) {
		step = Hour
	}
	from, to := aligned(q.From, q.To, step)
	sum, err := p.Ledger.RollSum(ctx, p.task.ID, step, from, to)
	if err != nil {
		return Summary{}, err
	}
	tail, _, err := p.tail(ctx)
	if err != nil {
		return Summary{}, err
	}
	for _, r := range within(tail, from, to) {
		sum = sum.plus(r)
	}
	size := p.task.Size()
	s := Summary{
		Seconds: sum.Covered.Seconds(), CPUSeconds: float64(sum.CPUNanos) / 1e9,
		ReservedCPUSeconds:  sum.Covered.Seconds() * float64(size.CPU) / 1024,
		MemoryReservedBytes: uint64(mib(size.Memory)), MemoryPeakBytes: sum.MemoryPeak, AverageWorkingSetBytes: sum.average(),
		ThrottledSeconds: float64(sum.ThrottledNanos) / 1e9, OOMKills: sum.OOMKills,
		ReadBytes: sum.ReadBytes, WriteBytes: sum.WriteBytes, RxBytes: sum.RxBytes, TxBytes: sum.TxBytes,
	}
	if s.ReservedCPUSeconds > 0 {
		s.CPUEfficiency = s.CPUSeconds / s.ReservedCPUSeconds
	}
	return s, nil
}

// usageToken is what tokens of pages of usage begin with; a time in milliseconds
// follows.
const usageToken = "berth1-usage:"

func sealTime(at time.Time) string {
	return base64.RawURLEncoding.EncodeToString([]byte(usageToken + strconv.FormatInt(at.UnixMilli(), 10)))
}

// openTime is the inverse of sealTime; of no token it is the zero time.
func openTime(token string) (time.Time, error) {
	if token == "" {
		return time.Time{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	text, ok := strings.CutPrefix(string(b), usageToken)
	ms, bad := strconv.ParseInt(text, 10, 64)
	if err != nil || !ok || bad != nil {
		return time.Time{}, fault.At("nextToken", "is not a token that usage returned")
	}
	return time.UnixMilli(ms).UTC(), nil
}
