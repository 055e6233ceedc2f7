package rest_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/proof"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
)

// Ensure that the parameters of a question arrive, and its answer is whole.
func TestCosts(t *testing.T) {
	asked := &asked{}
	c := resttest.New().Config()
	c.Log, c.Costs = zap.NewNop(), asked
	c.Now = func() time.Time { return time.Date(2026, 10, 15, 12, 30, 0, 0, time.UTC) }
	h := rest.New(t.Context(), c)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request("GET", "/api/v1/costs?groupBy=day,tag:team,family&family=web,db&tag=env=prod,test&task=arn:aws:ecs:us-east-1:0:task/default/x&limit=7&from=48h", ""))
	if rec.Code != http.StatusOK {
		t.Fatal(rec.Code, rec.Body)
	}
	q, _ := json.Marshal(asked.q)
	want := `{"From":"2026-10-13T12:00:00Z","To":"2026-10-15T13:00:00Z","Granularity":"DAILY","GroupBy":["tag:team","family"],"Filters":{"family":["web","db"],"tag:env":["prod","test"],"task":["x"]}}`
	if string(q) != want || asked.limit != 7 {
		t.Errorf("asked for %s, at most %d, and must be\n%s", q, asked.limit, want)
	}
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, request("GET", "/api/v1/costs", ""))
	if asked.q.From.String() != "2026-10-01 00:00:00 +0000 UTC" || asked.q.To.String() != "2026-10-15 13:00:00 +0000 UTC" || asked.limit != 1000 {
		t.Errorf("without parameters it is %+v, at most %d", asked.q, asked.limit)
	}
	for path, field := range map[string]string{
		"/costs?groupBy=team": "groupBy", "/costs?granularity=WEEKLY": "granularity", "/costs?from=2026-10-02T00:00:00Z&to=2026-10-01T00:00:00Z": "to",
		"/costs?tag==x": "tag", "/costs?limit=0": "limit", "/costs?colour=red": "colour", "/costs?groupBy=day&granularity=MONTHLY": "groupBy",
		"/chargeback/2026-13": "period", "/exports/focus.csv?version=1.3": "version", "/exports/cur.csv?version=1.2": "version", "/exports/focus.csv?from=1h&to=5h": "to",
		"/anomalies?from=1h&to=5h": "to",
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, request("GET", "/api/v1"+path, ""))
		var p api.Fault
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != http.StatusBadRequest || p.Field != field {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
}

// asked notes what it is asked, and yields charges until it fails.
type asked struct {
	q      billing.CostQuery
	limit  int
	yields int
	fails  error
}

func (a *asked) Costs(_ context.Context, q billing.CostQuery, limit int, _ string) (billing.CostReport, error) {
	a.q, a.limit = q, limit
	return billing.CostReport{Groups: []billing.Group{}}, nil
}

func (a *asked) Chargeback(_ context.Context, month time.Time, by string) (billing.Chargeback, error) {
	return billing.Chargeback{From: month, By: by}, nil
}

func (a *asked) Export(ctx context.Context, from, to time.Time) (proof.Checkpoint, iter.Seq2[billing.Charge, error], error) {
	return proof.Checkpoint{Size: 7}, a.Charges(ctx, from, to), nil
}

func (a *asked) OnDemand(context.Context) (billing.RateBook, error) {
	return func(list string, k billing.SKU) (billing.Rate, bool) { return 2, list == "l+plan" }, nil
}

func (a *asked) Charges(_ context.Context, from, _ time.Time) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		f := &billing.Facts{Account: "000000000000", Region: "us-east-1", Cluster: "default"}
		for i := range a.yields {
			at := from.Add(time.Duration(i) * time.Hour)
			e := billing.Entry{ID: "e", Task: "t", SKU: billing.VCPU, Kind: billing.Metered, From: at, To: at.Add(time.Hour), Booked: at, Units: 1 << 40, Rate: 1, PriceList: "l+plan", Amount: 1}
			if !yield(billing.Charge{Entry: e, Facts: f}, nil) {
				return
			}
		}
		if a.fails != nil {
			yield(billing.Charge{}, a.fails)
		}
	}
}

// Ensure that an export comes whole, says what it is, and that one that fails on
// the way is not taken for a whole one.
func TestExport(t *testing.T) {
	a := &asked{yields: 5000}
	c := resttest.New().Config()
	c.Log, c.Costs = zap.NewNop(), a
	srv := httptest.NewServer(rest.New(t.Context(), c))
	defer srv.Close()
	get := func(path string) (*http.Response, []byte, error) {
		resp, err := http.Get(srv.URL + "/api/v1/exports/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
	for path, media := range map[string]string{"focus.csv?version=1.4": "text/csv", "cur.csv": "text/csv", "focus.parquet": "application/vnd.apache.parquet"} {
		resp, body, err := get(path)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != media || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %v %s %v", path, err, resp.Status, resp.Header)
		}
		if media == "text/csv" {
			if rows, err := csv.NewReader(strings.NewReader(string(body))).ReadAll(); err != nil || len(rows) != 5001 {
				t.Errorf("%s: %d rows, %v", path, len(rows), err)
			} else if i := slices.Index(rows[0], "ListUnitPrice"); i >= 0 && rows[1][i] != "0.0000000002" {
				t.Errorf("%s: the list price is %s", path, rows[1][i])
			} else if !slices.Contains(rows[5000], "7 "+proof.Hash{}.String()) {
				t.Errorf("%s: the last row has no checkpoint: %v", path, rows[5000])
			}
		} else if len(body) < 8 || string(body[len(body)-4:]) != "PAR1" {
			t.Errorf("%s is no Parquet file", path)
		}
	}
	a.fails = errors.New("the disk is gone")
	if resp, body, err := get("focus.csv"); err == nil {
		t.Errorf("half a file of %d bytes was taken for a whole one, %s", len(body), resp.Status)
	}
	a.yields = 0
	if resp, body, _ := get("focus.csv"); resp.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "disk") {
		t.Errorf("a failure before the first byte is %s %s", resp.Status, body)
	}
	a.fails = nil
	if _, body, err := get("focus.csv"); err != nil || strings.Count(string(body), "\n") != 1 {
		t.Errorf("without charges the file is %q, %v", body, err)
	}
}

// Ensure that a bill of ours is what the ledger says, and that what is no bill is
// refused.
func TestReconcile(t *testing.T) {
	a := &asked{yields: 3}
	c := resttest.New().Config()
	c.Log, c.Costs = zap.NewNop(), a
	h := rest.New(t.Context(), c)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request("GET", "/api/v1/exports/cur.csv", ""))
	post := func(body string) *httptest.ResponseRecorder {
		r := request("POST", "/api/v1/reconcile", body)
		r.Header.Set("Content-Type", api.CSV)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	answer := post(rec.Body.String())
	var got struct{ Equal, Different, OnlyHere, OnlyThere int }
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusOK || got.Equal != 3 || got.Different+got.OnlyHere+got.OnlyThere != 0 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if answer := post("a,b\n"); answer.Code != http.StatusBadRequest {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	c.MaxImport = 10
	h = rest.New(t.Context(), c)
	if answer := post(rec.Body.String()); answer.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
