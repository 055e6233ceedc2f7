package balancer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/balancer"
	"berth/task"
)

// measured is a target on loopback and the ways to it: directly, over HTTP and over TCP.
func measured(b *testing.B) (urls []string) {
	b.Helper()
	body := make([]byte, 1024)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	b.Cleanup(target.Close)
	_, text, err := net.SplitHostPort(target.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	w := &world{groups: make(map[string]balancer.TargetGroup), tasks: make(map[task.ID]task.Task), grown: make(chan struct{})}
	addresses := make(chan string, 2)
	var l net.ListenConfig
	var d net.Dialer
	s := balancer.New(balancer.Config{
		Book: w, Journal: w, Log: zap.NewNop(), Now: time.Now,
		Listen: func(ctx context.Context, _ int) (net.Listener, error) {
			l, err := l.Listen(ctx, "tcp4", "127.0.0.1:0")
			if err == nil {
				addresses <- l.Addr().String()
			}
			return l, err
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp4", address)
		},
	})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	urls = []string{target.URL}
	var groups []balancer.TargetGroup
	for i, protocol := range []balancer.Protocol{balancer.HTTP, balancer.TCP} {
		g, err := s.PutGroup(b.Context(), realm, balancer.TargetGroup{Name: string(protocol), Protocol: protocol, Port: 80, ListenPort: i + 1})
		if err != nil {
			b.Fatal(err)
		}
		groups = append(groups, g)
		urls = append(urls, "http://"+<-addresses)
	}
	id := task.NewID()
	one := task.Task{
		ID: id, ARN: realm.TaskARN(id), ClusterARN: realm.ClusterARN(), LastStatus: task.Running, DesiredStatus: task.Running,
		Attachments: []task.Attachment{{Type: "ElasticNetworkInterface", Status: "ATTACHED", Details: []task.KeyValuePair{{Name: "privateIPv4Address", Value: "127.0.0.1"}}}},
	}
	for _, g := range groups {
		one.LoadBalancers = append(one.LoadBalancers, task.LoadBalancer{TargetGroupARN: g.ARN, ContainerName: "web", ContainerPort: port})
	}
	w.put(one)
	for healthy := false; !healthy; healthy, _ = s.Health(id) {
		time.Sleep(10 * time.Millisecond)
	}
	return urls
}

func request(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 1024 || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s after %d bytes: %w", resp.Status, n, err)
	}
	return nil
}

// ways are the names of the URLs of measured.
var ways = []string{"direct", "http", "tcp"}

// BenchmarkLatency takes the time of one request at a time of 1 KiB, in turns directly and
// through the balancer, on connections that are kept.
func BenchmarkLatency(b *testing.B) {
	urls := measured(b)
	c := &http.Client{Transport: &http.Transport{}}
	took := make([][]time.Duration, len(urls))
	for b.Loop() {
		for i, url := range urls {
			begin := time.Now()
			if err := request(c, url); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	for i, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, "median-µs-"+ways[i])
		b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, "p99-µs-"+ways[i])
	}
}

// BenchmarkThroughput counts what 16 clients get in slices of 200 ms, in turns directly and
// through the balancer.
func BenchmarkThroughput(b *testing.B) {
	urls := measured(b)
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	counts := make([]atomic.Int64, len(urls))
	spans := make([]time.Duration, len(urls))
	for b.Loop() {
		for i, url := range urls {
			begin := time.Now()
			var clients sync.WaitGroup
			for range 16 {
				clients.Go(func() {
					for time.Since(begin) < 200*time.Millisecond {
						if err := request(c, url); err != nil {
							b.Error(err)
							return
						}
						counts[i].Add(1)
					}
				})
			}
			clients.Wait()
			spans[i] += time.Since(begin)
		}
	}
	for i := range urls {
		b.ReportMetric(float64(counts[i].Load())/spans[i].Seconds(), "req/s-"+ways[i])
	}
}
