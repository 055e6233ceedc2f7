package balancer_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/balancer"
	"berth/task"
)

// visits is what tasks saw of requests.
type visits struct {
	mu    sync.Mutex
	seen  map[string]int     // request → how often it came to a task
	last  map[string]bool    // tasks that are not to get anything any more
	wrong []string           // requests that came to those
	open  map[string]float64 // requests of a task that go on
}

// task serves requests that take as long as they say.
func (v *visits) task(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		if id == "" {
			return // a check
		}
		v.mu.Lock()
		v.seen[id]++
		v.open[name]++
		if v.last[name] {
			v.wrong = append(v.wrong, id+" at "+name)
		}
		v.mu.Unlock()
		defer func() {
			v.mu.Lock()
			v.open[name]--
			v.mu.Unlock()
		}()
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		_, _ = io.Copy(rw, r.Body)
		fmt.Fprint(rw, name)
	})
}

// Ensure that while tasks start, are drained and end one after the other, no request fails
// and none comes to a task that was drained; and that when they are killed, only requests
// do that were with one of them, and none that may change something is sent twice.
func TestSimulation(t *testing.T) {
	for seed := range uint64(20) {
		for _, killing := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d killing=%t", seed, killing), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { simulate(t, seed, killing) })
			})
		}
	}
}

func simulate(t *testing.T, seed uint64, killing bool) {
	w := newWorld(t)
	g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80, DeregistrationDelay: 60})
	v := &visits{seen: make(map[string]int), last: make(map[string]bool), open: make(map[string]float64)}
	luck := rand.New(rand.NewPCG(seed, 1))

	n, killed := 0, 0
	begin := func() (end func(kill bool)) {
		one, name, address := w.newTask(n, g), fmt.Sprint("task-", n), fmt.Sprintf("10.0.%d.%d:80", n/250, n%250+1)
		n++
		time.Sleep(time.Duration(luck.IntN(1500)) * time.Millisecond)
		kill, shut := w.serve(address, v.task(name))
		one = w.become(one, task.Running)
		for {
			if healthy, _ := w.b.Health(one.ID); healthy {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		return func(die bool) {
			if die {
				killed++
				kill()
				time.Sleep(time.Duration(luck.IntN(300)) * time.Millisecond) // until somebody notices
			}
			one = w.become(one, task.Deactivating)
			time.Sleep(time.Duration(luck.IntN(3)) * time.Millisecond) // The journal may be ahead, or not.
			before := time.Now()
			if err := w.b.Drain(t.Context(), one); err != nil || time.Since(before) > time.Second {
				t.Errorf("draining took %v: %v", time.Since(before), err)
			}
			v.mu.Lock()
			v.last[name] = true
			if v.open[name] > 0 && !die {
				t.Errorf("%s was drained with %v requests", name, v.open[name])
			}
			v.mu.Unlock()
			shut()
			one = w.become(one, task.Deprovisioning)
			w.become(one, task.Stopped)
		}
	}

	ends := []func(bool){begin(), begin()}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	sent, failed := 0, 0
	var reasons []string
	for client := range 4 {
		luck := rand.New(rand.NewPCG(seed, uint64(client)+100))
		c := w.client(80)
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id, method := fmt.Sprintf("%d-%d", client, i), "GET"
				var body io.Reader
				if luck.IntN(2) == 0 {
					method, body = "POST", strings.NewReader("order")
				}
				req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://web.test/?id=%s&for=%dms", id, luck.IntN(400)), body)
				if err != nil {
					t.Error(err)
					return
				}
				why := ""
				resp, err := c.Do(req)
				if err != nil {
					why = err.Error()
				} else {
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						why = err.Error()
					} else if resp.StatusCode != http.StatusOK {
						why = resp.Status
					}
					resp.Body.Close()
				}
				mu.Lock()
				sent++
				if why != "" {
					failed++
					reasons = append(reasons, method+" "+id+": "+why)
				}
				mu.Unlock()
				if method == "POST" {
					v.mu.Lock()
					if v.seen[id] > 1 {
						t.Errorf("POST %s came %d times", id, v.seen[id])
					}
					v.mu.Unlock()
				}
				time.Sleep(time.Duration(luck.IntN(50)) * time.Millisecond)
			}
		})
	}
	for range 12 { // a deployment after the other
		time.Sleep(time.Duration(luck.IntN(2000)) * time.Millisecond)
		ends = append(ends, begin())
		old := ends[0]
		ends = ends[1:]
		old(killing && luck.IntN(2) == 0)
	}
	cancel()
	clients.Wait()
	if len(v.wrong) > 0 {
		t.Errorf("requests came to tasks that were drained: %v", v.wrong)
	}
	if most := killed * 4; failed > most { // each client has one request at a time
		t.Errorf("%d of %d requests failed, and %d tasks were killed: %v", failed, sent, killed, reasons)
	}
	if sent < 100 {
		t.Errorf("only %d requests were sent", sent)
	}
}
