// Command bench measures Berth against bare runc and ctr on the same image, in
// one interleaved run, and prints medians, spread and ratios:
//
//	(a) from the call until the container's process runs, one at a time
//	(b) tasks run to completion per second, at 1, 4 and 8 in flight
//
// The process says itself when it runs: the demo program's stamp command prints
// the wall clock as its first act, the same way under all three.
//
//	go run ./tests/bench [-rounds N] [-tasks N]
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// contender is one way to run the demo image.
type contender struct {
	name string
	// run runs the demo command to completion and returns what it printed.
	run func(ctx context.Context, command ...string) (string, error)
}

func main() {
	rounds := flag.Int("rounds", 30, "launches of each contender for (a)")
	tasks := flag.Int("tasks", 48, "tasks of each contender and concurrency for (b)")
	repeats := flag.Int("repeats", 3, "interleaved repeats of (b)")
	bin := flag.String("bin", "bin", "`directory` of the built binaries")
	only := flag.String("only", "", "one contender: berth, runc or ctr (for a profile)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *bin, *only, *rounds, *tasks, *repeats); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, only string, rounds, tasks, repeats int) error {
	b, err := open(ctx, bin)
	if err != nil {
		return err
	}
	defer b.close()
	contenders := []contender{{"berth", b.berth}, {"runc run", b.runc}, {"ctr run", b.ctr}}
	if only != "" {
		contenders = slices.DeleteFunc(contenders, func(c contender) bool { return !strings.HasPrefix(c.name, only) })
	}
	fmt.Printf("%s/%s, %d CPUs; medians (min–max); interleaved\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if err := latency(ctx, contenders, rounds); err != nil {
		return err
	}
	return throughput(ctx, contenders, tasks, repeats)
}

// latency measures (a).
func latency(ctx context.Context, contenders []contender, rounds int) error {
	took := make(map[string][]float64)
	for n := range rounds + 2 {
		for _, c := range contenders {
			begun, out := time.Now(), ""
			for try := 0; out == "" && try < 5; try++ { // ctr sometimes ends before it has copied the output
				var err error
				begun = time.Now()
				if out, err = c.run(ctx, "stamp"); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			ran, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(out))
			if err != nil {
				return fmt.Errorf("%s printed %q", c.name, out)
			}
			if n >= 2 { // the first two warm up
				took[c.name] = append(took[c.name], float64(ran.Sub(begun).Microseconds())/1000)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "(a) call to process running, ms\tmedian\tmin\tmax\tberth ÷ it\t\n")
	for _, c := range contenders {
		m := median(took[c.name])
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t\n", c.name, m, slices.Min(took[c.name]), slices.Max(took[c.name]), median(took["berth"])/m)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// throughput measures (b).
func throughput(ctx context.Context, contenders []contender, tasks, repeats int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "(b) run to completion, tasks/s\tin flight\tmedian\tmin\tmax\tberth ÷ it\t\n")
	for _, inFlight := range []int{1, 4, 8} {
		rates := make(map[string][]float64)
		for range repeats {
			for _, c := range contenders {
				rate, err := rate(ctx, c, tasks, inFlight)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				rates[c.name] = append(rates[c.name], rate)
			}
		}
		for _, c := range contenders {
			m := median(rates[c.name])
			fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.2f\t\n", c.name, inFlight, m, slices.Min(rates[c.name]), slices.Max(rates[c.name]), median(rates["berth"])/m)
		}
	}
	return w.Flush()
}

// rate runs tasks with a fixed number in flight and returns how many ended per
// second.
func rate(ctx context.Context, c contender, tasks, inFlight int) (float64, error) {
	work := make(chan struct{}, tasks)
	for range tasks {
		work <- struct{}{}
	}
	close(work)
	errs := make(chan error, inFlight)
	var workers sync.WaitGroup
	begun := time.Now()
	for range inFlight {
		workers.Go(func() {
			for range work {
				if _, err := c.run(ctx, "exit", "0"); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(tasks) / time.Since(begun).Seconds(), nil
	}
}

// median returns NaN if there is nothing, as in a ratio to one who did not run.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
