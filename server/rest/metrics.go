package rest

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/task"
)

// metrics is what Prometheus sees. What belongs to others is asked for when
// Prometheus asks.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	tasks    *prometheus.GaugeVec
	cpu      *prometheus.GaugeVec
	memory   *prometheus.GaugeVec
	waiting  prometheus.Gauge
}

func newMetrics() *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "berth", Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "berth", Name: "http_request_duration_seconds",
			Help:    "How long requests took. Streams count from their beginning to their end.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"method", "route", "status"}),
		tasks:  gauge("tasks", "Tasks that are remembered, by lastStatus.", "status"),
		cpu:    gauge("cpu_units", "CPU units (1024 are one vCPU) that tasks may reserve (total) and do reserve (reserved).", "kind"),
		memory: gauge("memory_mebibytes", "Memory in MiB that tasks may reserve (total) and do reserve (reserved).", "kind"),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "berth", Name: "tasks_waiting", Help: "Tasks that wait until there is room for them.",
		}),
	}
	m.registry.MustRegister(m.requests, m.tasks, m.cpu, m.memory, m.waiting,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// took counts a request.
func (m *metrics) took(method, route string, status int, d time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(d.Seconds())
}

func (s *server) serveMetrics(c *gin.Context) {
	ctx := c.Request.Context()
	counts, err := s.Journal.Count(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	load, err := s.Host.Capacity(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	storage, err := s.storage(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	present, err := s.present(counts)
	if err != nil {
		s.fail(c, err)
		return
	}
	m := s.metrics
	for _, status := range task.Statuses {
		m.tasks.WithLabelValues(string(status)).Set(float64(counts[status]))
	}
	m.cpu.WithLabelValues("total").Set(float64(load.Total.CPU))
	m.cpu.WithLabelValues("reserved").Set(float64(load.Reserved.CPU))
	m.memory.WithLabelValues("total").Set(float64(load.Total.Memory))
	m.memory.WithLabelValues("reserved").Set(float64(load.Reserved.Memory))
	m.waiting.Set(float64(load.Waiting))
	all := prometheus.Gatherers{m.registry, storage, present}
	promhttp.HandlerFor(all, promhttp.HandlerOpts{Registry: m.registry}).ServeHTTP(c.Writer, c.Request)
}
