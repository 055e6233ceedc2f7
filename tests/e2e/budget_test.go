//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// minute is what the smallest task costs for a minute: 0.25 × 0.04048 / 60 and 0.5 ×
// 0.004445 / 60 US dollars, each rounded to nine decimals.
const minute = "0.000205709"

// aBudget is what these tests read of a budget.
type aBudget struct{ Spent, Held, Left string }

// cost returns what a stopped task cost in the end.
func (s *server) cost(got aTask) *big.Rat {
	s.t.Helper()
	s.checkBill(got)
	vcpu, gb := oracle(s.t, got)
	return new(big.Rat).Add(dollars(round(vcpu)), dollars(round(gb)))
}

func dollars(text string) *big.Rat {
	r, _ := new(big.Rat).SetString(text)
	return r
}

// Ensure that of 200 runs that come at once only those begin that there is money for, and
// that a budget and the limit of a run stop what runs before it costs more, a task that does
// not listen too, and also if the server dies meanwhile.
func TestBudgets(t *testing.T) {
	s := start(t)
	put := func(name, body string) {
		t.Helper()
		if code := s.call("PUT", "/api/v1/budgets/"+name, body, nil); code != http.StatusOK {
			t.Fatalf("budget %s: %d", name, code)
		}
	}
	told := listen(t)
	put("race", `{"limit":"0.0011","period":"DAILY","action":"DENY","scope":{"family":["race"]},"notify":[{"type":"ACTUAL","percent":90}],"webhook":"`+told.url+`"}`)
	put("stop", `{"limit":"0.0003","action":"STOP","scope":{"family":["stop"],"user":["ann"]},"webhook":"`+told.url+`"}`)

	stubborn := s.run1(definition("stop", "256", "512", "", "ignore", "TERM"), `,"startedBy":"ann"`)
	limited := s.run1(definition("limited", "256", "512", "", "trap", "TERM"), `,"maxCost":"0.00021"`)
	free := s.run1(definition("stop", "256", "512", "", "trap", "TERM"), `,"startedBy":"bob"`)
	var p problem
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":"limited","maxCost":"0.0002"}`, &p); code != http.StatusBadRequest || p.Field != "maxCost" {
		t.Errorf("a run that cannot keep its limit: %d %+v", code, p)
	}

	var mu sync.Mutex
	var wg sync.WaitGroup
	var begun []aTask
	refused := 0
	race := definition("race", "256", "512", "", "hello")
	for range 200 {
		wg.Go(func() {
			var out struct {
				problem
				Tasks []aTask
			}
			code, err := s.try("POST", "/api/v1/tasks", `{"taskDefinition":`+race+`}`, &out)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case code == http.StatusCreated && err == nil:
				begun = append(begun, out.Tasks[0])
			case code == http.StatusPaymentRequired && strings.Contains(fmt.Sprint(err), "budget race allows $0.0011"):
				refused++
			default:
				t.Errorf("run: %d %v", code, err)
			}
		})
	}
	wg.Wait()
	if len(begun) != 5 || refused != 195 {
		t.Errorf("%d began and %d were refused, want 5 and 195", len(begun), refused)
	}
	spent := new(big.Rat)
	for _, tk := range begun {
		spent.Add(spent, s.cost(s.until(tk.id(), "STOPPED", 60*time.Second)))
	}
	var b aBudget
	s.call("GET", "/api/v1/budgets/race", "", &b)
	if spent.FloatString(9) != "0.001028545" || b.Spent != "0.001028545" || b.Held != "0.000000000" || b.Left != "0.000071455" {
		t.Errorf("%s was charged, and the budget says %+v", spent.FloatString(9), b)
	}
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":"race"}`, &p); code != http.StatusPaymentRequired {
		t.Errorf("a run over the limit: %d", code)
	}

	s.kill()
	s.run()
	for _, c := range []struct {
		of   aTask
		most string
		code int
	}{{limited, "0.00021", 0}, {stubborn, "0.0003", 137}} {
		got := s.until(c.of.id(), "STOPPED", 2*time.Minute)
		if got.StopCode != "SpendLimit" || !strings.HasPrefix(got.StoppedReason, "SpendLimitReached: ") || got.code("main") != c.code {
			t.Errorf("%s %q %d, want code %d", got.StopCode, got.StoppedReason, got.code("main"), c.code)
		}
		if cost := s.cost(got); cost.Cmp(dollars(c.most)) > 0 || cost.Cmp(dollars(minute)) < 0 {
			t.Errorf("it cost %s, and the limit is %s", cost.FloatString(9), c.most)
		}
	}
	s.eventually(30*time.Second, "the webhook is told", func() error {
		for _, want := range []string{"berth.budget.threshold budget/race", "berth.budget.denied budget/race", "berth.budget.stopped budget/stop"} {
			if n := told.count(want); n != 1 {
				return fmt.Errorf("%s: %d times", want, n)
			}
		}
		return nil
	})
	if got := s.task(free.id()); got.LastStatus != "RUNNING" {
		t.Errorf("what is in no scope is %s: %s", got.LastStatus, got.StoppedReason)
	}
}

// listener is a webhook.
type listener struct {
	url string
	mu  sync.Mutex
	had map[string]string // ID → type and subject
}

func listen(t testing.TB) *listener {
	l := &listener{had: make(map[string]string)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct{ SpecVersion, ID, Type, Subject string }
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || e.SpecVersion != "1.0" || r.Header.Get("webhook-id") != e.ID || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Errorf("webhook: %v, %v, %s", err, r.Header, body)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.had[e.ID] = e.Type + " " + e.Subject
	}))
	t.Cleanup(srv.Close)
	l.url = srv.URL + "/hook"
	return l
}

// count returns how many different notices there were of a type and subject.
func (l *listener) count(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, had := range l.had {
		if had == what {
			n++
		}
	}
	return n
}

// run1 runs one task of an inline definition with more fields.
func (s *server) run1(definition, more string) aTask {
	s.t.Helper()
	var out struct{ Tasks []aTask }
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+definition+more+`}`, &out); code != http.StatusCreated || len(out.Tasks) != 1 {
		s.t.Fatalf("run: status %d, %d tasks", code, len(out.Tasks))
	}
	return out.Tasks[0]
}
