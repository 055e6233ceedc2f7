package rest_test

import (
	"strings"
	"testing"

	"berth/billing"
	"berth/billing/prices"
	"berth/server/api"
)

// Ensure prices can be added, imported, activated and used, and that a dry run tells
// of those that hold.
func TestPrices(t *testing.T) {
	w := newWorld(t)
	rec := w.call("POST", "/price-lists", `{"vcpu":0.02,"memory":"0.002","plans":[{"name":"team","discount":"25%"}]}`)
	own := decode[prices.Described](t, rec)
	if rec.Code != 201 || own.Status != prices.Stored || own.Rates[billing.VCPU] != 2e8 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := w.call("POST", "/price-lists/"+own.ID+"/activate", ``); rec.Code != 200 || decode[prices.Change](t, rec).List != own.ID {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = w.call("POST", "/price-lists/use", `{"prices":"own","plan":"team","effectiveFrom":"2027-03-01"}`)
	if ch := decode[prices.Change](t, rec); rec.Code != 200 || ch.Plan != "team" || ch.From.Format("2006-01-02") != "2027-03-01" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	o := decode[prices.Overview](t, w.call("GET", "/price-lists", ""))
	if len(o.Timeline) != 2 || o.Timeline[1].List != own.ID || o.Notice == "" {
		t.Errorf("%+v", o.Timeline)
	}
	if d := decode[prices.Described](t, w.call("GET", "/price-lists/own", "")); d.ID != own.ID || d.Status != prices.Planned {
		t.Errorf("%+v", d)
	}

	r := request("POST", api.Base+"/price-lists/import?region=eu-west-1&name=rack", `{"vcpu":1,"memory":1}`)
	r.Header.Set("Content-Type", "application/octet-stream")
	imported := w.serve(r)
	if got := decode[prices.Imported](t, imported); imported.Code != 201 || len(got.Lists) != 1 || got.Lists[0].Name != "rack" || got.Lists[0].Region != "eu-west-1" || got.Skipped == nil {
		t.Errorf("%d %s", imported.Code, imported.Body)
	}

	quote := decode[api.RunResponse](t, w.call("POST", "/tasks?dryRun=true", `{"taskDefinition":`+hello+`}`)).Quote
	if quote.PriceList.ID != "aws-us-east-1-2026-09-28" {
		t.Errorf("%+v", quote.PriceList)
	}
}

// Ensure bad requests about prices are refused by their field.
func TestPricesRefused(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"GET", "/price-lists/nobody", ``, 404, ""},
		{"POST", "/price-lists", `{"vcpu":0.02}`, 400, "memory"},
		{"POST", "/price-lists", `{"vcpu":-0.02,"memory":1}`, 400, "vcpu"},
		{"POST", "/price-lists", `{"vcpu":[],"memory":1}`, 400, "vcpu"},
		{"POST", "/price-lists", `{"vcpu":1,"memory":1,"id":"mine"}`, 400, "id"},
		{"POST", "/price-lists", `{"vcpu":1,"memory":1,"arm":{"vcpu":1}}`, 400, "arm.memory"},
		{"POST", "/price-lists/use", `{}`, 400, "prices"},
		{"POST", "/price-lists/use", `{"prices":"nobody"}`, 404, ""},
		{"POST", "/price-lists/use", `{"prices":"us-east-1","plan":"x"}`, 400, "plan"},
		{"POST", "/price-lists/use", `{"prices":"us-east-1","effectiveFrom":"2026-12-01"}`, 400, "effectiveFrom"},
		{"POST", "/price-lists/use", `{"prices":"us-east-1","effectiveFrom":"soon"}`, 400, "effectiveFrom"},
		{"POST", "/price-lists/nobody/activate", `{}`, 404, ""},
		{"POST", "/price-lists/aws-us-east-1-2026-09-28/activate", `{"effectiveFrom":"soon"}`, 400, "effectiveFrom"},
		{"POST", "/price-lists/import", `{"prices":[]}`, 400, ""},
		{"POST", "/price-lists/import?region=x", `{"vcpu":1,"memory":1}`, 400, "region"},
		{"POST", "/price-lists/import?name=x", `{"vcpu":1,"memory":1}`, 400, "name"},
		{"POST", "/price-lists/import", strings.Repeat(" ", 1<<20+1), 413, ""}, // resttest's limit
	} {
		rec := w.call(tt.method, tt.path, tt.body)
		if p := decode[api.Fault](t, rec); rec.Code != tt.status || p.Field != tt.field || p.Detail == "" {
			t.Errorf("%s %s %.60s: %d %s, want %d and the field %q", tt.method, tt.path, tt.body, rec.Code, rec.Body, tt.status, tt.field)
		}
	}
	if o := decode[prices.Overview](t, w.call("GET", "/price-lists", "")); len(o.Lists) != 23 || len(o.Timeline) != 1 {
		t.Errorf("%d lists, %d segments", len(o.Lists), len(o.Timeline))
	}
}
