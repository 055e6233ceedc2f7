// Command otel is OpenTelemetry's receiver of ECS container metrics in a program of its
// own, to be run as a container of a task: it prints what the receiver makes of the
// metadata endpoint, one metric a line as "NAME RESOURCE VALUE". It is a module of its
// own because of all that the receiver needs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	receivers "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/awsecscontainermetricsreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sink, err := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
		show(m)
		return nil
	})
	if err != nil {
		return err
	}
	factory := receivers.NewFactory()
	config := factory.CreateDefaultConfig().(*receivers.Config)
	config.CollectionInterval = time.Second
	r, err := factory.CreateMetrics(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	<-ctx.Done()
	return r.Shutdown(context.Background())
}

// show prints a line for each value, of the task and of each container.
func show(m pmetric.Metrics) {
	for _, resource := range m.ResourceMetrics().All() {
		who := "task"
		if name, ok := resource.Resource().Attributes().Get("container.name"); ok {
			who = name.Str()
		}
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				points := pmetric.NewNumberDataPointSlice()
				switch metric.Type() {
				case pmetric.MetricTypeGauge:
					points = metric.Gauge().DataPoints()
				case pmetric.MetricTypeSum:
					points = metric.Sum().DataPoints()
				}
				for _, p := range points.All() {
					value := p.DoubleValue()
					if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
						value = float64(p.IntValue())
					}
					fmt.Println(metric.Name(), who, value)
				}
			}
		}
	}
}
