package notice

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// memBook is a Book in memory.
type memBook struct {
	mu      sync.Mutex
	records []Record
	noted   chan struct{}
	broken  bool
}

func (b *memBook) put(n Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n.At, n.Type, n.Subject, n.Data = time.Now(), "berth.test", "test/1", []byte(`{"a":1}`)
	b.records = append(b.records, Record{Seq: Seq(len(b.records)), Notice: n, Next: n.At})
	close(b.noted)
	b.noted = make(chan struct{})
}

func (b *memBook) get(i int) Record { b.mu.Lock(); defer b.mu.Unlock(); return b.records[i] }

func (b *memBook) Noted() <-chan struct{} { b.mu.Lock(); defer b.mu.Unlock(); return b.noted }

func (b *memBook) Undelivered(_ context.Context, limit int) ([]Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := make(map[string]Record)
	for _, r := range b.records {
		if f, ok := first[r.Webhook]; !r.Next.IsZero() && (!ok || r.Next.Before(f.Next)) {
			first[r.Webhook] = r
		}
	}
	var all []Record
	for _, r := range first {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Record) int { return cmp.Or(a.Next.Compare(b.Next), cmp.Compare(a.Seq, b.Seq)) })
	return all[:min(limit, len(all))], nil
}

func (b *memBook) Delivered(_ context.Context, seq Seq, at time.Time) error {
	return b.attempted(seq, at, time.Time{}, "")
}

func (b *memBook) Failed(_ context.Context, seq Seq, why string, next time.Time) error {
	return b.attempted(seq, time.Time{}, next, why)
}

func (b *memBook) attempted(seq Seq, delivered, next time.Time, why string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return errors.New("disk full")
	}
	r := &b.records[seq]
	r.Attempts++
	r.Delivered, r.Next, r.Failure = delivered, next, why
	return nil
}

// roundTrip is a network without wires, which has its place in a bubble of fake time.
type roundTrip func(*http.Request) (int, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: r, Header: http.Header{"Location": {"https://elsewhere"}}}, nil
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func deliverer(b Book, via http.RoundTripper) *Deliverer {
	return NewDeliverer(Config{
		Book: b, Key: testKey, Source: "urn:berth:r:a:i", UserAgent: "berth/test", Transport: via,
		Log: zap.NewNop(), Now: time.Now, Jitter: func() float64 { return 0 },
	})
}

// run runs d in the background until the test ends; end ends it sooner.
func run(t *testing.T, d *Deliverer) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Ensure a delivery is tried at growing intervals until it is answered well, once, or
// given up; and that who is gone is left alone.
func TestRetries(t *testing.T) {
	for name, tt := range map[string]struct {
		answers   []int // the last one stays
		attempts  int
		delivered bool
		failure   string
	}{
		"well":       {[]int{204}, 1, true, ""},
		"third time": {[]int{500, 0, 200}, 3, true, ""},
		"gone":       {[]int{503, 410}, 2, false, "answered 410 Gone: it wants nothing more"},
		"redirect":   {[]int{307, 301, 200}, 3, true, ""},
		"never":      {[]int{404}, 13, false, "answered 404 Not Found"},
		"no network": {[]int{0}, 13, false, "no route"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &memBook{noted: make(chan struct{})}
				var at []time.Time
				defer run(t, deliverer(b, roundTrip(func(r *http.Request) (int, error) {
					if r.URL.Host != "example.com" {
						t.Errorf("%s was asked", r.URL)
					}
					answer := tt.answers[min(len(at), len(tt.answers)-1)]
					if at = append(at, time.Now()); answer == 0 {
						return 0, errors.New("no route")
					}
					return answer, nil
				})))()
				time.Sleep(time.Minute) // It waits already.
				start := time.Now()
				b.put(Notice{ID: "n", Webhook: "https://example.com/secret"})
				time.Sleep(72 * time.Hour)
				synctest.Wait()
				r := b.get(0)
				if len(at) != tt.attempts || r.Attempts != tt.attempts || r.Delivered.IsZero() == tt.delivered || r.Failure != tt.failure || !r.Next.IsZero() {
					t.Errorf("%d attempts: %+v", len(at), r)
				}
				for i, when := range at {
					if when.Sub(start) > 24*time.Hour {
						t.Errorf("attempt %d was after %s", i, when.Sub(start))
					}
					if want := start; i == 0 && !when.Equal(want) {
						t.Errorf("the first attempt was after %s", when.Sub(start))
					} else if i > 0 && when.Sub(at[i-1]) != Delay(i, 0) {
						t.Errorf("attempt %d was %s after the one before", i+1, when.Sub(at[i-1]))
					}
				}
			})
		})
	}
}

// Ensure a webhook that hangs delays no other, and what waits for it comes in order,
// one at a time.
func TestSlowWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memBook{noted: make(chan struct{})}
		var mu sync.Mutex
		hanging, slowest := 0, time.Duration(0)
		var order []string
		start := time.Now()
		defer run(t, deliverer(b, roundTrip(func(r *http.Request) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.Host != "slow" {
				slowest = max(slowest, time.Since(start))
				return 200, nil
			}
			order = append(order, r.Header.Get("Webhook-Id"))
			if hanging++; hanging > 1 {
				t.Error("two deliveries to one webhook at once")
			}
			mu.Unlock()
			<-r.Context().Done()
			mu.Lock()
			hanging--
			return 0, r.Context().Err()
		})))()
		for i := range 20 {
			b.put(Notice{ID: fmt.Sprint("s", i), Webhook: "https://slow"})
			b.put(Notice{ID: fmt.Sprint("f", i), Webhook: fmt.Sprint("https://fast", i%3)})
		}
		time.Sleep(9 * time.Second)
		if mu.Lock(); slowest > time.Second {
			t.Errorf("a delivery waited %s", slowest)
		}
		mu.Unlock()
		for i := range 20 {
			if b.get(2*i + 1).Delivered.IsZero() {
				t.Errorf("%s was not delivered", b.get(2*i+1).ID)
			}
		}
		time.Sleep(2 * time.Second)
		if r := b.get(0); r.Failure != "no answer in 10s" || r.Next.Sub(start) != 20*time.Second {
			t.Errorf("%+v", r)
		}
		if mu.Lock(); !slices.Equal(order, []string{"s0", "s1"}) {
			t.Errorf("the order is %v", order)
		}
		mu.Unlock()
	})
}

// Ensure what was not delivered when the server ended is when it comes back, whether it
// failed before or was broken off; and a book that is broken makes no flood.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memBook{noted: make(chan struct{})}
		b.put(Notice{ID: "n", Webhook: "https://example.com"})
		calls := 0
		end := run(t, deliverer(b, roundTrip(func(r *http.Request) (int, error) {
			calls++
			<-r.Context().Done()
			return 0, r.Context().Err()
		})))
		time.Sleep(5 * time.Second)
		end()
		if r := b.get(0); calls != 1 || r.Attempts != 0 || r.Next.IsZero() {
			t.Fatalf("%d calls: %+v", calls, r)
		}
		b.broken = true
		end = run(t, deliverer(b, roundTrip(func(r *http.Request) (int, error) { calls++; return 200, nil })))
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls < 2 || calls > 9 {
			t.Errorf("%d calls in a minute of a broken disk", calls)
		}
		b.mu.Lock()
		b.broken = false
		b.mu.Unlock()
		time.Sleep(time.Minute)
		end()
		if r := b.get(0); r.Delivered.IsZero() {
			t.Errorf("%+v", r)
		}
	})
}

// Ensure a receiver on a real network gets what the specs say, and verifies it as they
// say, without code of ours.
func TestDelivery(t *testing.T) {
	type delivery struct {
		header http.Header
		body   []byte
	}
	got, elsewhere := make(chan delivery, 10), make(chan struct{}, 10)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere <- struct{}{} }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Header, body}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}
		for range 100 { // of an answer that is too long
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	b := &memBook{noted: make(chan struct{})}
	b.put(Notice{ID: "ntc_1", Webhook: s.URL + "/costs"})
	b.put(Notice{ID: "ntc_2", Webhook: s.URL + "/moved"})
	defer run(t, deliverer(b, http.DefaultTransport))()
	for range 2 {
		d := <-got
		id, at := d.header.Get("webhook-id"), d.header.Get("webhook-timestamp")
		if want := Sign(testKey, id, unix(t, at), d.body); d.header.Get("webhook-signature") != want {
			t.Errorf("the signature is %s, want %s", d.header.Get("webhook-signature"), want)
		}
		if d.header.Get("Content-Type") != "application/cloudevents+json" || d.header.Get("User-Agent") != "berth/test" {
			t.Errorf("%v", d.header)
		}
		var ev Event
		if err := json.Unmarshal(d.body, &ev); err != nil || ev.ID != id || ev.Source != "urn:berth:r:a:i" || string(ev.Data) != `{"a":1}` {
			t.Errorf("%s: %v", d.body, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); b.get(0).Delivered.IsZero() || b.get(1).Attempts == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v %+v", b.get(0), b.get(1))
		}
	}
	if r := b.get(1); !r.Delivered.IsZero() || r.Failure != "answered 307 Temporary Redirect" || len(elsewhere) > 0 {
		t.Errorf("%+v, and elsewhere %d", r, len(elsewhere))
	}
}

func unix(t *testing.T, text string) time.Time {
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return time.Unix(n, 0)
}

// Ensure a signature is what others make of the same: secret, ID, time and body are an
// example of theirs (docs.svix.com, "Verifying payloads", and the tests of Standard Webhooks).
func TestSign(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if KeyText(key) != "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" {
		t.Error(KeyText(key))
	}
}
