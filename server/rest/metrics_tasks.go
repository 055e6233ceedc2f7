package rest

import (
	"github.com/prometheus/client_golang/prometheus"

	"berth/task"
)

// What Container Insights calls CpuUtilized, CpuReserved, MemoryUtilized, MemoryReserved,
// NetworkRxBytes, NetworkTxBytes, StorageReadBytes and StorageWriteBytes, of each task
// while it is metered; and beside them what an alert needs. Units are Prometheus': bytes
// and not MB; and what only grows is a counter, as StorageReadBytes is there too.
var (
	taskLabels     = []string{"task", "family"}
	cpuUtilized    = taskMetric("cpu_utilized_units", "CPU units (1024 are one vCPU) that a task uses, on average over the last minute.")
	cpuReserved    = taskMetric("cpu_reserved_units", "CPU units (1024 are one vCPU) that a task has reserved.")
	memoryUtilized = taskMetric("memory_utilized_bytes", "Memory that a task uses, without inactive page cache.")
	memoryReserved = taskMetric("memory_reserved_bytes", "Memory that a task has reserved.")
	networkRx      = taskMetric("network_rx_bytes_total", "Bytes that a task has received, without loopback.")
	networkTx      = taskMetric("network_tx_bytes_total", "Bytes that a task has sent, without loopback.")
	storageRead    = taskMetric("storage_read_bytes_total", "Bytes that a task has read from disks.")
	storageWrite   = taskMetric("storage_write_bytes_total", "Bytes that a task has written to disks.")
	cpuSeconds     = taskMetric("cpu_seconds_total", "CPU time that a task has used.")
	cpuThrottled   = taskMetric("cpu_throttled_seconds_total", "For how long a task's CPUs were held back by its CPU limit.")
	oomKills       = taskMetric("oom_kills_total", "Processes of a task that the kernel killed for memory.")
)

func taskMetric(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("berth_"+name, help, taskLabels, nil)
}

// taskSeries is what the tasks that are metered use, at one moment. Each answer has its
// own, as storageSeries says.
type taskSeries []prometheus.Metric

// Describe implements prometheus.Collector. What is collected is not said beforehand.
func (taskSeries) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s taskSeries) Collect(to chan<- prometheus.Metric) {
	for _, m := range s {
		to <- m
	}
}

// present returns the series of all tasks that are metered, and how many tasks there are.
func (s *server) present(counts map[task.Status]int) (prometheus.Gatherer, error) {
	var found taskSeries
	for _, p := range s.Meter.Present() {
		note := func(what *prometheus.Desc, kind prometheus.ValueType, v float64) {
			found = append(found, prometheus.MustNewConstMetric(what, kind, v, string(p.Task), p.Family))
		}
		c := p.Last.Counters
		note(cpuUtilized, prometheus.GaugeValue, p.CPU)
		note(cpuReserved, prometheus.GaugeValue, float64(p.Size.CPU))
		note(memoryUtilized, prometheus.GaugeValue, float64(c.WorkingSetBytes))
		note(memoryReserved, prometheus.GaugeValue, float64(p.Size.Memory)*(1<<20))
		note(networkRx, prometheus.CounterValue, float64(c.RxBytes))
		note(networkTx, prometheus.CounterValue, float64(c.TxBytes))
		note(storageRead, prometheus.CounterValue, float64(c.ReadBytes))
		note(storageWrite, prometheus.CounterValue, float64(c.WriteBytes))
		note(cpuSeconds, prometheus.CounterValue, float64(c.CPUNanos)/1e9)
		note(cpuThrottled, prometheus.CounterValue, float64(c.ThrottledNanos)/1e9)
		note(oomKills, prometheus.CounterValue, float64(c.OOMKills))
	}
	all := 0
	for status, n := range counts {
		if !status.Final() {
			all += n
		}
	}
	count := func(name, help string, n int) {
		found = append(found, prometheus.MustNewConstMetric(prometheus.NewDesc("berth_"+name, help, nil, nil), prometheus.GaugeValue, float64(n)))
	}
	count("task_count", "Tasks that have not stopped.", all)
	count("running_task_count", "Tasks that are RUNNING.", counts[task.Running])
	count("pending_task_count", "Tasks that are on their way to RUNNING.", counts[task.Provisioning]+counts[task.Pending]+counts[task.Activating])
	r := prometheus.NewRegistry()
	return r, r.Register(found)
}
