package rest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/access"
	"berth/billing"
	"berth/billing/focus"
	"berth/billing/proof"
	"berth/fault"
	"berth/server/api"
)

// Costs knows what everything cost together.
type Costs interface {
	// Costs answers q: a page of at most limit groups and the token of the next
	// page, "" if there is none.
	Costs(ctx context.Context, q billing.CostQuery, limit int, token string) (billing.CostReport, error)

	// Chargeback returns what each of what costs can be grouped by has to pay for a
	// month. Of a closed period it is the same for ever.
	Chargeback(ctx context.Context, month time.Time, by string) (billing.Chargeback, error)

	// Charges yields the entries of the ledger that are booked in a range, hour by
	// hour, and within an hour by task and SKU.
	Charges(ctx context.Context, from, to time.Time) iter.Seq2[billing.Charge, error]

	// Export returns the newest checkpoint of the ledger and the Charges that are
	// under it. The size is 0 if nothing was posted yet.
	Export(ctx context.Context, from, to time.Time) (proof.Checkpoint, iter.Seq2[billing.Charge, error], error)

	// OnDemand returns what price lists say, named as entries name them, of what no
	// plan covers.
	OnDemand(ctx context.Context) (billing.RateBook, error)
}

// spanIn is a range of time in a query. Costs are known by full hours, so it is
// widened to these.
type spanIn struct {
	From moment `query:"from" doc:"RFC 3339, or how long ago, as in 168h; the first of this month if left out; the hour in which it is counts whole"`
	To   moment `query:"to" doc:"RFC 3339, or how long ago; now if left out; the hour in which it is counts whole"`
}

func (in spanIn) times(now time.Time) (from, to time.Time) {
	from, to = in.From.at(now).UTC().Truncate(time.Hour), in.To.at(now).UTC()
	if in.To.at(now).IsZero() {
		to = now.UTC()
	}
	if in.From.at(now).IsZero() {
		from = time.Date(to.Year(), to.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	if whole := to.Truncate(time.Hour); whole.Before(to) {
		to = whole.Add(time.Hour)
	}
	return from, to
}

// words is a list in a query: values with commas between them.
type words struct{ list []string }

func (w *words) UnmarshalText(text []byte) error {
	w.list = strings.Split(string(text), ",")
	return nil
}

// tagFilter is KEY, KEY=VALUE or KEY=VALUE,VALUE in a query.
type tagFilter struct {
	key    string
	values []string
}

func (t *tagFilter) UnmarshalText(text []byte) error {
	key, value, given := strings.Cut(string(text), "=")
	if t.key = key; given {
		t.values = strings.Split(value, ",")
	}
	if key == "" {
		return fault.New(fault.Invalid, "%q is neither KEY nor KEY=VALUE", text)
	}
	return nil
}

// filtersIn says of which tasks costs are asked. It has no SKU.
type filtersIn struct {
	Task       words     `query:"task" doc:"Only of these, as are the following; several with commas between them"`
	Family     words     `query:"family"`
	Definition words     `query:"definition" doc:"family:revision"`
	Group      words     `query:"group"`
	User       words     `query:"user" doc:"startedBy"`
	Account    words     `query:"account"`
	Region     words     `query:"region"`
	Tag        tagFilter `query:"tag" doc:"KEY, KEY=VALUE or KEY=VALUE,VALUE"`
}

// filters reads what is asked for.
func (in *filtersIn) filters(ctx context.Context) map[string][]string {
	filters := make(map[string][]string)
	for by, values := range map[string]words{billing.ByTask: in.Task, billing.ByFamily: in.Family, billing.ByDefinition: in.Definition, billing.ByGroup: in.Group,
		billing.ByUser: in.User, billing.ByAccount: in.Account, billing.ByRegion: in.Region} {
		if values.list != nil {
			filters[by] = values.list
		}
	}
	if who := access.From(ctx); !who.Admin { // What others cost is not theirs to know.
		filters[billing.ByAccount] = []string{who.Account}
	}
	for i, id := range in.Task.list { // An ARN will do.
		filters[billing.ByTask][i] = id[strings.LastIndexByte(id, '/')+1:]
	}
	if in.Tag.key != "" {
		filters[billing.TagKey+in.Tag.key] = in.Tag.values
	}
	return filters
}

type costsIn struct {
	spanIn
	Granularity string `query:"granularity" enum:"TOTAL,HOURLY,DAILY,MONTHLY" doc:"By which steps of time, UTC; TOTAL if left out"`
	GroupBy     words  `query:"groupBy" doc:"Any of task, family, definition, group, user, account, sku, region, tag:KEY and day, with commas between them; day is the granularity DAILY"`
	SKU         words  `query:"sku"`
	filtersIn
	Limit     *int   `query:"limit" minimum:"1" maximum:"10000" doc:"At most so many groups; 1000 if left out"`
	NextToken string `query:"nextToken" doc:"Where the page before ended"`
}

const costsLimit = 1000

// query reads what is asked for.
func (in *costsIn) query(ctx context.Context, now time.Time) (billing.CostQuery, error) {
	q := billing.CostQuery{Granularity: billing.Total, GroupBy: []string{}, Filters: in.filters(ctx)}
	q.From, q.To = in.times(now)
	if in.Granularity != "" {
		q.Granularity = in.Granularity
	}
	for _, by := range in.GroupBy.list {
		if by != "day" {
			q.GroupBy = append(q.GroupBy, by)
			continue
		}
		if in.Granularity != "" && in.Granularity != billing.Daily {
			return q, fault.At("groupBy", "day does not go with the granularity %s", in.Granularity)
		}
		q.Granularity = billing.Daily
	}
	if in.SKU.list != nil {
		q.Filters[billing.BySKU] = in.SKU.list
	}
	return q, q.Check()
}

// costs says what was charged, summed up.
func (s *server) costs(ctx context.Context, in *costsIn) (*billing.CostReport, error) {
	q, err := in.query(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	limit := costsLimit
	if in.Limit != nil {
		limit = *in.Limit
	}
	r, err := s.Costs.Costs(ctx, q, limit, in.NextToken)
	return &r, err
}

type chargebackIn struct {
	Period string `path:"period" doc:"A month, as 2026-10"`
	By     string `query:"by" doc:"task, family, definition, group, user, account, region or tag:KEY; account if left out"`
}

// chargeback is the statement for a month.
func (s *server) chargeback(ctx context.Context, in *chargebackIn) (*billing.Chargeback, error) {
	month, err := billing.ParsePeriod(in.Period)
	if err != nil {
		return nil, err
	}
	if in.By == "" {
		in.By = billing.ByAccount
	}
	c, err := s.Costs.Chargeback(ctx, month, in.By)
	return &c, err
}

type reconcileIn struct {
	Stream io.Reader `accept:"text/csv"`
}

// reconcile compares a bill with the ledger.
func (s *server) reconcile(ctx context.Context, in *reconcileIn) (*focus.Reconciliation, error) {
	r, err := focus.Reconcile(in.Stream, func(from, to time.Time) iter.Seq2[billing.Charge, error] { return s.Costs.Charges(ctx, from, to) })
	return &r, err
}

type exportIn struct {
	spanIn
	Version string `query:"version" enum:"1.2,1.4" doc:"Of FOCUS; 1.2 if left out"`
}

func (s *server) focusCSV(ctx context.Context, in *exportIn, out io.Writer) error {
	return s.export(ctx, in.spanIn, focus.Version(in.Version), focus.CSV, out)
}

func (s *server) focusParquet(ctx context.Context, in *exportIn, out io.Writer) error {
	return s.export(ctx, in.spanIn, focus.Version(in.Version), focus.Parquet, out)
}

func (s *server) curCSV(ctx context.Context, in *spanIn, out io.Writer) error {
	return s.export(ctx, *in, focus.CUR, focus.CSV, out)
}

func (s *server) export(ctx context.Context, in spanIn, v focus.Version,
	write func(io.Writer, focus.Options, iter.Seq2[*focus.Row, error]) error, out io.Writer) error {
	from, to := in.times(s.Now())
	if !from.Before(to) {
		return fault.At("to", "is not after from")
	}
	if v == "" {
		v = focus.V12
	}
	onDemand, err := s.Costs.OnDemand(ctx)
	if err != nil {
		return err
	}
	asOf, charges, err := s.Costs.Export(ctx, from, to)
	if err != nil {
		return err
	}
	return write(out, focus.Options{Version: v, Provider: s.Provider, Checkpoint: asOf, OnDemand: onDemand}, focus.Rows(charges))
}

// file makes an operation of a function that answers with a file.
func file[In any](s *server, path, summary, media string, f func(context.Context, *In, io.Writer) error) operation {
	in := newPlan(reflect.TypeFor[In]())
	return operation{
		method: "GET", path: path, summary: summary, status: http.StatusOK, in: in, out: reflect.TypeFor[string](), formats: []string{media},
		handler: func(c *gin.Context) {
			var v In
			if err := s.bind(c, in, &v); err != nil {
				s.fail(c, err)
				return
			}
			ctx, cancel := context.WithCancel(c.Request.Context())
			defer cancel()
			stop := context.AfterFunc(s.lifetime, cancel)
			defer stop()
			w := &fileWriter{s: s, c: c, media: media, name: path[strings.LastIndexByte(path, '/')+1:], control: http.NewResponseController(c.Writer)}
			err := f(ctx, &v, w)
			switch {
			case err == nil:
				w.begin()
				w.control.SetWriteDeadline(time.Time{})
			case !w.begun:
				s.fail(c, err)
			default:
				w.breakOff(err)
			}
		},
	}
}

// fileWriter sends a file. Its header goes out with the first bytes, so that what
// fails before is answered properly.
type fileWriter struct {
	s           *server
	c           *gin.Context
	control     *http.ResponseController
	media, name string
	begun       bool
}

func (w *fileWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	w.c.Header("Content-Type", w.media)
	w.c.Header("Content-Disposition", fmt.Sprintf("attachment; filename=%q", w.name))
	w.c.Status(http.StatusOK)
}

func (w *fileWriter) Write(p []byte) (int, error) {
	w.begin()
	w.control.SetWriteDeadline(w.s.Now().Add(patience)) // Not every connection can.
	n, err := w.c.Writer.Write(p)
	if err != nil {
		return n, errGone{err}
	}
	return n, nil
}

// breakOff ends the connection in the middle, so that nobody takes half a file for
// a whole one.
func (w *fileWriter) breakOff(err error) {
	w.s.Log.Error("file not sent to its end", zap.String("request", w.c.Writer.Header().Get(api.RequestID)), zap.String("file", w.name), zap.Error(err))
	w.control.SetWriteDeadline(time.Unix(1, 0)) // What ends the answer cannot be written any more.
	w.c.Abort()
}
