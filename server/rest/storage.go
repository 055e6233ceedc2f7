package rest

import (
	"context"
	"path"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"berth/task"
)

// tasksAtOnce is how many tasks are asked of the journal at a time.
const tasksAtOnce = 500

// Container Insights calls these EphemeralStorageUtilized and EphemeralStorageReserved.
// Like there a task has them while it runs; in bytes, Prometheus' unit, and not in GB.
var (
	storageLabels   = []string{"task", "family"}
	storageUtilized = prometheus.NewDesc("berth_ephemeral_storage_utilized_bytes",
		"Ephemeral storage that a running task uses, logs included.", storageLabels, nil)
	storageReserved = prometheus.NewDesc("berth_ephemeral_storage_reserved_bytes",
		"Ephemeral storage that a running task may use.", storageLabels, nil)
)

// storageSeries is what running tasks have of their ephemeral storage, at one moment.
// Each answer has its own: series of a task end with the task, and another answer that
// is written at the same time sees none of that.
type storageSeries []prometheus.Metric

// Describe implements prometheus.Collector.
func (storageSeries) Describe(to chan<- *prometheus.Desc) {
	to <- storageUtilized
	to <- storageReserved
}

// Collect implements prometheus.Collector.
func (s storageSeries) Collect(to chan<- prometheus.Metric) {
	for _, m := range s {
		to <- m
	}
}

// storage looks at the storage of all running tasks. What one uses is left out where it
// is not known.
func (s *server) storage(ctx context.Context) (prometheus.Gatherer, error) {
	var found storageSeries
	note := func(what *prometheus.Desc, bytes float64, t task.Task) {
		family, _, _ := strings.Cut(path.Base(t.DefinitionARN), ":")
		found = append(found, prometheus.MustNewConstMetric(what, prometheus.GaugeValue, bytes, string(t.ID), family))
	}
	for f := (TaskFilter{LastStatus: task.Running, Limit: tasksAtOnce}); ; {
		tasks, next, err := s.Journal.Tasks(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			note(storageReserved, float64(t.Storage()), t)
			if used, known := s.Host.StorageUsed(t.ID); known {
				note(storageUtilized, float64(used), t)
			}
		}
		if f.Token = next; next == "" {
			r := prometheus.NewRegistry()
			return r, r.Register(found)
		}
	}
}
