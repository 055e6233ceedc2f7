package balancer_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/balancer"
	"berth/fault"
	"berth/task"
)

// Ensure requests go round over the tasks that are healthy, as they come and go, over a
// restart of the server, and that without any the answer is 503.
func TestRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80, HealthCheck: balancer.Check{Interval: 1, Unhealthy: 4}})
		c := w.client(80)
		if code, _ := get(t, c, "/"); code != http.StatusServiceUnavailable {
			t.Errorf("without a target: %d", code)
		}
		turns := func(n int) map[string]int {
			got := make(map[string]int)
			for range n {
				code, body := get(t, c, "/")
				if code != http.StatusOK {
					t.Errorf("%d %s", code, body)
				}
				got[body]++
			}
			return got
		}
		var tasks []task.Task
		for n := range 3 {
			tasks = append(tasks, w.newTask(n, g))
		}
		synctest.Wait()
		if healthy, known := w.b.Health(tasks[0].ID); healthy || known {
			t.Error("what nobody has found out is known")
		}
		w.serve("10.0.0.1:80", says("a"))
		w.serve("10.0.0.2:80", says("b"))
		time.Sleep(2 * time.Second)
		if got := turns(10); got["a"] != 5 || got["b"] != 5 {
			t.Errorf("two of three serve: %v", got)
		}
		kill, _ := w.serve("10.0.0.3:80", says("c"))
		time.Sleep(2 * time.Second)
		if got := turns(9); got["a"] != 3 || got["b"] != 3 || got["c"] != 3 {
			t.Errorf("all serve: %v", got)
		}
		kill()
		if got := turns(9); got["c"] != 0 { // nobody has noticed yet: what was not accepted goes to the next
			t.Errorf("one was killed: %v", got)
		}
		time.Sleep(5 * time.Second)
		states, err := w.b.Targets(t.Context(), realm, "web")
		if err != nil || len(states) != 3 {
			t.Fatal(states, err)
		}
		for _, s := range states {
			want := map[bool]balancer.State{true: balancer.Unhealthy, false: balancer.Healthy}[s.IP == "10.0.0.3"]
			if s.State != want || (s.Reason == "Target.FailedHealthChecks") != (want == balancer.Unhealthy) {
				t.Errorf("%s is %s: %s", s.IP, s.State, s.Reason)
			}
		}
		if healthy, known := w.b.Health(tasks[2].ID); healthy || !known {
			t.Error("the one that was killed is healthy, or not known")
		}
		if healthy, known := w.b.Health(tasks[0].ID); !healthy || !known {
			t.Error("one that serves is not healthy, or not known")
		}
		w.become(tasks[1], task.Deprovisioning)
		synctest.Wait()
		if got := turns(4); got["a"] != 4 {
			t.Errorf("one is left: %v", got)
		}
	})
}

// Ensure a server that starts anew balances as the one before.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80})
		w.newTask(0, g)
		w.serve("10.0.0.1:80", says("a"))
		time.Sleep(2 * time.Second)
		c := w.client(80)
		if code, _ := get(t, c, "/"); code != 200 {
			t.Errorf("at first: %d", code)
		}
		w.crash()
		if _, err := c.Get("http://web.test/"); err == nil {
			t.Error("nobody serves, and somebody answers")
		}
		other, err := w.listen(t.Context(), 80) // somebody takes the port meanwhile
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		time.Sleep(10 * time.Second)
		other.Close()
		time.Sleep(10 * time.Second)
		if code, _ := get(t, c, "/"); code != 200 {
			t.Errorf("after a restart: %d", code)
		}
	})
}

// Ensure the reasons of states are those of Elastic Load Balancing, and that a target has
// time to start.
func TestHealthReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "web", HealthCheck: balancer.Check{Interval: 10, Timeout: 5, Unhealthy: 3, Matcher: "200-204,301"}})
		for n := range 5 {
			w.newTask(n, g)
		}
		code := func(code int) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) })
		}
		w.serve("10.0.0.1:80", code(301))
		w.serve("10.0.0.2:80", code(302))
		w.serve("10.0.0.3:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		states := func() string {
			targets, err := w.b.Targets(t.Context(), realm, "web")
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, s := range targets {
				all = append(all, fmt.Sprintf("%s %s %s", s.IP[7:], s.State, strings.TrimPrefix(s.Reason, "Target.")))
			}
			return strings.Join(all, ", ")
		}
		time.Sleep(25 * time.Second)
		w.serve("10.0.0.5:80", code(204)) // late, and in time
		time.Sleep(3 * time.Second)
		const checking = "initial Elb.InitialHealthChecking"
		if got, want := states(), "1 healthy , 2 "+checking+", 3 "+checking+", 4 "+checking+", 5 healthy "; got != want {
			t.Errorf("at first: %s, want %s", got, want)
		}
		time.Sleep(10 * time.Second)
		if got, want := states(), "1 healthy , 2 unhealthy ResponseCodeMismatch, 3 unhealthy Timeout, 4 unhealthy FailedHealthChecks, 5 healthy "; got != want {
			t.Errorf("later: %s, want %s", got, want)
		}
	})
}

// Ensure what a task was sent may end when the task is drained, for as long as the delay
// says, and that it gets nothing new meanwhile.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80, DeregistrationDelay: 30})
		slow := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if d, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
				select {
				case <-time.After(d):
				case <-r.Context().Done():
				}
			}
			fmt.Fprint(rw, "slow")
		})
		one := w.newTask(0, g)
		w.serve("10.0.0.1:80", slow)
		time.Sleep(2 * time.Second)
		c := w.client(80)
		codes := make(chan int, 2)
		for _, wait := range []string{"10s", "100s"} {
			go func() { code, _ := get(t, c, "/?for="+wait); codes <- code }()
		}
		time.Sleep(time.Second)
		w.newTask(1, g)
		w.serve("10.0.0.2:80", says("quick"))
		time.Sleep(2 * time.Second)
		one = w.become(one, task.Deactivating)
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- w.b.Drain(t.Context(), one) }()
		time.Sleep(5 * time.Second)
		for range 4 {
			if _, body := get(t, c, "/"); body != "quick" {
				t.Errorf("while one drains, %s answers", body)
			}
		}
		targets, _ := w.b.Targets(t.Context(), realm, g.ARN)
		if len(targets) != 2 || targets[0].State != balancer.Draining || targets[0].Open != 2 || targets[0].Reason != "Target.DeregistrationInProgress" {
			t.Errorf("while it drains: %+v", targets)
		}
		if code := <-codes; code != 200 {
			t.Errorf("a request that ends within the delay: %d", code)
		}
		if err := <-drained; err != nil || time.Since(begin) != 30*time.Second {
			t.Errorf("drained after %v: %v", time.Since(begin), err)
		}
		if code := <-codes; code != 502 && code != 200 {
			t.Errorf("a request that takes longer: %d", code)
		}
		begin = time.Now()
		if err := w.b.Drain(t.Context(), one); err != nil || time.Since(begin) > 0 {
			t.Errorf("draining again takes %v: %v", time.Since(begin), err)
		}
	})
}

// Ensure connections are shared out over TCP, end where either side ends them, and are cut
// off when a drain has taken long enough.
func TestTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "db", Protocol: balancer.TCP, ListenPort: 5432, DeregistrationDelay: 10})
		echo := func(address string) {
			l := newListener(func() {})
			w.mu.Lock()
			w.servers[address] = l
			w.mu.Unlock()
			t.Cleanup(l.kill)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
				}
			}()
		}
		lone := w.newTask(0, g)
		conn, err := w.connect(t.Context(), 5432)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("without a target a connection stays open")
		}
		echo("10.0.0.1:80")
		time.Sleep(2 * time.Second)
		conn, err = w.connect(t.Context(), 5432)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			if _, err := fmt.Fprintln(conn, "hello"); err != nil {
				return err
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil && line != "hello\n" {
				err = fmt.Errorf("it says %q", line)
			}
			return err
		}
		if err := ask(); err != nil {
			t.Error(err)
		}
		lone = w.become(lone, task.Deactivating)
		begin := time.Now()
		time.AfterFunc(5*time.Second, func() {
			if err := ask(); err != nil {
				t.Errorf("while it drains: %v", err)
			}
		})
		if err := w.b.Drain(t.Context(), lone); err != nil || time.Since(begin) != 10*time.Second {
			t.Errorf("drained after %v: %v", time.Since(begin), err)
		}
		synctest.Wait()
		if err := ask(); err == nil {
			t.Error("after the delay the connection is open")
		}
	})
}

// Ensure a request that may change something reaches one target at most, and reaches one if
// the first did not accept it.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80})
		got := 0
		breaks := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.URL.Path == "/break" {
				got++
				panic(http.ErrAbortHandler)
			}
		})
		var kills []func()
		for n := range 3 {
			w.newTask(n, g)
			kill, _ := w.serve(fmt.Sprintf("10.0.0.%d:80", n+1), breaks)
			kills = append(kills, kill)
		}
		time.Sleep(2 * time.Second)
		c := w.client(80)
		post := func(body io.Reader) int {
			resp, err := c.Post("http://web.test/", "text/plain", body)
			if err != nil {
				t.Error(err)
				return 0
			}
			defer resp.Body.Close()
			return resp.StatusCode
		}
		if code := post(strings.NewReader("buy")); code != http.StatusBadGateway || got != 1 {
			t.Errorf("a POST whose target breaks off: %d, it reached %d", code, got)
		}
		if code, _ := get(t, c, "/break"); code != http.StatusBadGateway || got != 1+3 {
			t.Errorf("a GET whose targets break off: %d, it reached %d", code, got-1)
		}
		kills[0]()
		kills[1]()
		got = 0
		for range 3 {
			body, out := io.Pipe() // of no known length, and read once
			go func() { fmt.Fprint(out, "buy"); out.Close() }()
			if code := post(body); code != http.StatusBadGateway {
				t.Errorf("with one target left: %d", code)
			}
		}
		if got != 3 {
			t.Errorf("three POSTs reached the target that is left %d times", got)
		}
	})
}

// Ensure groups are refused that cannot be, that two have not the same port, and that one
// that a task names stays.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for field, g := range map[string]balancer.TargetGroup{
			"targetGroupName":                     {Name: "-web", Port: 80},
			"port":                                {Name: "web"},
			"protocol":                            {Name: "web", Port: 80, Protocol: "UDP"},
			"listenPort":                          {Name: "web", Port: 80, ListenPort: 70000},
			"deregistrationDelaySeconds":          {Name: "web", Port: 80, DeregistrationDelay: 3601},
			"healthCheck.path":                    {Name: "web", Port: 80, HealthCheck: balancer.Check{Path: "health"}},
			"healthCheck.matcher":                 {Name: "web", Port: 80, HealthCheck: balancer.Check{Matcher: "200-600"}},
			"healthCheck.timeoutSeconds":          {Name: "web", Port: 80, HealthCheck: balancer.Check{Interval: 5, Timeout: 6}},
			"healthCheck.intervalSeconds":         {Name: "web", Port: 80, HealthCheck: balancer.Check{Interval: 301}},
			"healthCheck.healthyThresholdCount":   {Name: "web", Port: 80, HealthCheck: balancer.Check{Healthy: 11}},
			"healthCheck.unhealthyThresholdCount": {Name: "web", Port: 80, HealthCheck: balancer.Check{Unhealthy: -1}},
		} {
			if _, err := w.b.PutGroup(t.Context(), realm, g); fault.FieldOf(err) != field {
				t.Errorf("%+v: %v, want it at %s", g, err, field)
			}
		}
		g := w.group(balancer.TargetGroup{Name: "web", ListenPort: 80})
		if g.HealthCheck.Path != "/" || g.HealthCheck.Matcher != "200-399" || g.HealthCheck.Healthy != 5 || g.HealthCheck.Unhealthy != 2 {
			t.Errorf("defaults: %+v", g)
		}
		if _, err := w.b.PutGroup(t.Context(), realm, balancer.TargetGroup{Name: "other", Port: 80, ListenPort: 80}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a port that is taken: %v", err)
		}
		if _, err := w.b.PutGroup(t.Context(), realm, balancer.TargetGroup{Name: "unlucky", Port: 80, ListenPort: 81}); err == nil {
			t.Error("what was not written down is a group")
		}
		g.ListenPort = 81
		w.group(g)
		synctest.Wait()
		if _, err := w.connect(t.Context(), 80); err == nil {
			t.Error("the old port is open")
		}
		if code, _ := get(t, w.client(81), "/"); code != 503 {
			t.Errorf("at the new port: %d", code)
		}
		one := w.newTask(0, g)
		if err := w.b.RemoveGroup(t.Context(), realm, "web"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a group that a task names: %v", err)
		}
		stranger := w.newTask(1, g)
		stranger.ClusterARN = task.Realm{Region: realm.Region, Account: "999999999999", Cluster: "default"}.ClusterARN()
		stranger.ARN = strings.Replace(stranger.ARN, realm.Account, "999999999999", 1)
		stranger.ID = task.NewID()
		w.put(stranger)
		synctest.Wait()
		if _, known := w.b.Health(stranger.ID); known {
			t.Error("a task of another account is a target")
		}
		for _, each := range w.tasks {
			w.become(each, task.Stopped)
		}
		if err := w.b.RemoveGroup(t.Context(), realm, "web"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := w.connect(t.Context(), 81); err == nil {
			t.Error("the port of a group that was removed is open")
		}
		if _, known := w.b.Health(one.ID); known {
			t.Error("a target of a group that was removed is known")
		}
	})
}
