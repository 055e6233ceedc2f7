package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/billing"
	"berth/billing/budget"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/billing/prices"
	"berth/billing/rightsize"
	"berth/billing/tuning"
	"berth/eventbridge"
	"berth/fault"
	"berth/images"
	"berth/isolation/containerd"
	"berth/isolation/containerd/daemon"
	"berth/logs"
	"berth/runner"
	"berth/server/aws/wire"
	"berth/server/rest"
	"berth/store"
	"berth/task"
)

// pullBackoff is how long a pull waits before it asks a registry again that
// failed for now.
var pullBackoff = []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second}

// serve is the whole server: read it top to bottom to see what depends on what.
func serve(ctx context.Context, config serverConfig, log *zap.Logger) error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Invalid, "the server makes namespaces, mounts and cgroups: run it as root")
	}
	clock, err := newClock()
	if err != nil {
		return err
	}
	instance := containerd.Instance(config.StateDir)
	dirs := struct{ state, run, logs, libexec string }{
		config.StateDir, runDir(instance), filepath.Join(config.StateDir, "logs"), libexec(config.Libexec),
	}
	if err := openRunDirs(dirs.run); err != nil {
		return err
	}
	ctrd, err := daemon.Open(daemon.Config{Libexec: dirs.libexec, StateDir: dirs.state, RunDir: dirs.run, Log: log.Named("containerd")})
	if err != nil {
		return err
	}
	defer ctrd.Close()
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fault.Wrap(fault.Conflict, err, "nothing can listen on %s; choose another port with --listen", config.Listen)
	}
	defer listener.Close()
	if err := writePID(dirs.state, config.endpoint(), config.Door.pinned(dirs.state)); err != nil {
		return err
	}

	realm := task.Realm{Region: config.Region, Account: config.Account, Cluster: task.DefaultCluster}
	st, err := store.Open(ctx, store.Config{
		Path: filepath.Join(dirs.state, "berth.db"), Log: log.Named("store"), Now: time.Now,
	})
	if err != nil {
		return err
	}
	defer st.Close()
	rates, err := prices.Open(ctx, prices.Config{Book: st, Region: config.Region, Log: log.Named("prices"), Now: time.Now})
	if err != nil {
		return err
	}

	// containerd outlives everything that uses it, within this process too.
	life, release := context.WithCancel(context.WithoutCancel(ctx))
	beneath, life := errgroup.WithContext(life)
	defer func() { release(); beneath.Wait() }()
	address := config.ContainerdAddress
	if address == "" {
		address = ctrd.Address()
		beneath.Go(func() error { return ctrd.Run(life) })
		if err := ctrd.Ready(ctx); err != nil {
			return fmt.Errorf("start containerd: %w", err)
		}
	}
	c, err := client.New(address, client.WithDefaultNamespace(containerd.Namespace), client.WithTimeout(30*time.Second))
	if err != nil {
		return fmt.Errorf("connect to containerd at %s: %w", address, err)
	}
	defer c.Close()
	shim, below := containerd.BerthShim, dirs.state
	if config.ContainerdAddress != "" { // What is its own is its own.
		shim, below = containerd.RuncShim, ""
	}
	snapshotter, err := containerd.Snapshotter(ctx, c, below, log)
	if err != nil {
		return err
	}

	pulls := images.New(images.Config{
		Client: c, Snapshotter: snapshotter, DockerConfig: dockerConfig(), Backoff: pullBackoff,
		InUse: imagesInUse(st), Log: log.Named("images"), Now: time.Now,
	})
	defer pulls.Close()
	if err := errors.Join(pulls.Sweep(ctx), buildDemo(ctx, pulls, dirs.libexec)); err != nil {
		return err
	}
	subnet, err := parseSubnet(config.BridgeSubnet)
	if err != nil {
		return err
	}
	fileSystems, err := config.fileSystems()
	if err != nil {
		return err
	}
	classes, err := config.runtimes(dirs.libexec)
	if err != nil {
		return err
	}
	kata, err := config.kataShim()
	if err != nil {
		return err
	}
	sandboxes, err := containerd.New(ctx, containerd.Config{
		Client: c, Snapshotter: snapshotter, Shim: shim, KataShim: kata,
		Libexec: dirs.libexec, StateDir: dirs.state, RunDir: dirs.run, LogsDir: dirs.logs,
		LogMaxSize: config.LogMaxSize, LogMaxFiles: config.LogMaxFiles,
		Instance: instance, CgroupParent: cgroupParent(config.CgroupParent, instance), Subnet: subnet, PIDs: config.PIDsLimit, HostUsers: config.HostUsers, FileSystems: fileSystems,
		ShareCPUs: config.CPUPolicy == "none",
		Now:       time.Now, Log: log.Named("isolation"),
	})
	if err != nil {
		return err
	}
	whole, err := hostSize()
	if err != nil {
		return err
	}
	secrets, kept, err := config.secrets(dirs.state)
	if err != nil {
		return err
	}
	kept.report(ctx, log.Named("secrets"))
	var latency *runner.Latency
	if config.Latency {
		latency = &runner.Latency{Seed: config.LatencySeed, Size: pulls.Size}
	}
	sessions, err := newSessions(config)
	if err != nil {
		return err
	}
	asked, err := openMetadata(ctx, config, st, sessions, sandboxes, snapshotter, log.Named("metadata"))
	if err != nil {
		return err
	}
	defer asked.listener.Close()
	names, err := openNames(ctx, config, st, sandboxes, log.Named("discovery"))
	if err != nil {
		return err
	}
	budgets := budget.New(budget.Config{
		Book: st, Prices: rates, Stop: stops(st, log.Named("budgets")), Tell: told(st, log.Named("budgets")), Clock: clock.now, Log: log.Named("budgets"),
	})
	groups, logsAPI := newCloudWatch(config, st, dirs.logs, log.Named("cloudwatch"))
	balance := newBalancer(config, st, log.Named("balancer"))
	tasks, err := runner.New(ctx, runner.Config{
		Store: held{st, budgets}, Images: pulls, Secrets: secrets, Runtime: sandboxes, Environment: asked.names.Environment,
		OpenLogs: groups.Open,
		Capacity: config.capacity(whole), Largest: config.largest(whole), PIDs: config.PIDsLimit, Runtimes: classes, Arch: architecture(),
		SpotRate: config.SpotRate, SpotNotice: config.SpotNotice, Latency: latency,
		Drain: balance.Drain,
		Log:   log.Named("runner"), Now: clock.now, NewID: task.NewID,
	})
	if err != nil {
		return err
	}
	retention := runner.Retention{Archive: st, Logs: logs.Dir(dirs.logs), Keep: config.Retention, Log: log.Named("retention"), Now: time.Now}
	meter := billing.NewMeter(billing.Config{
		Journal: st, Ledger: st, Probe: probe{sandboxes}, Prices: rates, Log: log.Named("meter"), Clock: clock.now,
	})
	usage := billing.Retention{History: st, Keep: config.KeepUsage, Log: log.Named("retention"), Now: time.Now}
	estimates := estimate.New(estimate.Config{Prices: regional{rates}, Runs: st, Definitions: st, Now: time.Now})
	sizes := rightsize.New(rightsize.Config{Runs: st, Live: running{st, clock.now}, Prices: regional{rates}, Now: time.Now})
	tunings := tuning.New(tuning.Config{
		Tasks: at{tasks, realm}, Journal: journal{st}, Meter: meter, Book: st, Quote: estimates.Expect, Price: priceOf(rates),
		Log: log.Named("tuning"), Now: time.Now, NewID: func() tuning.ID { return tuning.ID(task.NewID()) },
	})
	recorder := history.New(history.Config{Journal: st, Usage: st, Book: st, Quote: estimates.Expect, Log: log.Named("history")})
	deliverer, err := newDeliverer(ctx, config, realm, st, log.Named("notices"))
	if err != nil {
		return err
	}
	happens := bridge{st, eventbridge.Feed{Journal: st, Services: serviceFeed{st}}}
	forwarder, err := newForwarder(config, happens, log.Named("events"))
	if err != nil {
		return err
	}
	entry, err := openDoor(ctx, config, st, sessions, log.Named("access"))
	if err != nil {
		return err
	}
	execs, err := newExecSessions(ctx, st, sandboxes, entry.audit, log.Named("sessions"))
	if err != nil {
		return err
	}
	channels := newChannels(ctx, config, execs, log.Named("ssm"))
	api := rest.New(ctx, rest.Config{
		Sessions: execs,
		Tasks:    tasks, Definitions: definitions{st}, Groups: tasks, Balancer: balance, Journal: journal{st}, Images: imageStore{pulls}, Secrets: kept,
		Logs: logs.Dir(dirs.logs), Meter: meter, Host: host{tasks, c, st, sandboxes},
		Prices: rates, Ledger: newLedger(st), Costs: st, Hindsight: newHindsight(st, rates), Estimates: quotes{estimates, st},
		Budgets: budgets, Notices: st, Anomalies: st, EventBridge: happens, Sizes: sizes, Tunings: tunings,
		Identify: entry.identify, Access: entry.access, Throttle: entry.throttle, Audit: entry.audit, Users: entry.users,
		Provider: config.Provider, Hosts: config.Hosts, MaxImport: config.ImportMax, Version: version(),
		Log: log.Named("server"), Now: time.Now, NewRequestID: func() string { return uuid.Must(uuid.NewV7()).String() },
	})

	services := newServices(st, tasks, balance, log.Named("services"))
	pace := config.pace()
	aws := newAWS(config, entry, []wire.Service{
		newECS(st, tasks, services, ecsExec{execs, channels}, pace),
		newSTS(config, sessions, st),
		newEC2(st, tasks, sandboxes),
		channels.Service(),
		newAutoscaling(st, services),
		logsAPI,
		newELB(config, balance, st),
	}, pace, log.Named("aws"))

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return tasks.Run(ctx) })
	g.Go(func() error { return balance.Run(ctx) })
	g.Go(func() error { return names.run(ctx) })
	g.Go(func() error { return meter.Run(ctx) })
	g.Go(func() error { return execs.Run(ctx) })
	g.Go(func() error { return budgets.Run(ctx) })
	g.Go(func() error { return sandboxes.KeepFilter(ctx) })
	g.Go(func() error { return retention.Run(ctx) })
	g.Go(func() error { return usage.Run(ctx) })
	g.Go(func() error { return groups.Run(ctx) })
	g.Go(func() error { return recorder.Run(ctx) })
	g.Go(func() error { return tunings.Run(ctx) })
	g.Go(func() error { return services.Run(ctx) })
	g.Go(func() error { return newScaler(st, services, log.Named("scaling")).Run(ctx) })
	g.Go(func() error { return forgetDefinitions(ctx, st, log.Named("ecs")) })
	g.Go(func() error { return deliverer.Run(ctx) })
	g.Go(func() error { return forwarder.Run(ctx) })
	g.Go(func() error { return newWatch(config.Anomalies, st, log.Named("anomalies")).Run(ctx) })
	g.Go(func() error { return entry.run(ctx) })
	g.Go(func() error {
		return serveHTTP(ctx, entry.listener(listener), entry.handler(besideChannels(channels, beside(aws, api))), log)
	})
	g.Go(func() error { return serveHTTP(ctx, asked.listener, asked.handler, log) })
	g.Go(func() error { // If containerd cannot be kept running, nothing can.
		select {
		case <-life.Done():
			return context.Cause(life)
		case <-ctx.Done():
			return nil
		}
	})
	log.Info("server ready", zap.String("endpoint", config.endpoint()), zap.String("stateDir", dirs.state),
		zap.Stringer("capacity", config.capacity(whole)))
	err = g.Wait()
	log.Info("server ended; tasks go on", zap.Error(err))
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// shutdownPatience is how long open requests may take when the server ends.
const shutdownPatience = 5 * time.Second

// serveHTTP serves h until ctx ends, then lets open requests finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *zap.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(log.Named("http")),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		return errors.Join(srv.Close(), nil)
	}
	return nil
}

// sweep removes what the server with this state directory has on the host, when
// the server itself does not run any more, and returns what it was.
func sweep(ctx context.Context, stateDir, programs string) (removed []string, err error) {
	if _, err := os.Stat(filepath.Join(stateDir, "lock")); errors.Is(err, os.ErrNotExist) {
		return nil, nil // No server ever ran there.
	}
	log := zap.NewNop()
	if _, err := os.Stat(filepath.Join(programs, "containerd")); err != nil {
		return nil, fault.New(fault.Invalid, "there is no containerd in %s; say where it is with --libexec", programs)
	}
	instance := containerd.Instance(stateDir)
	run := runDir(instance)
	ctrd, err := daemon.Open(daemon.Config{Libexec: programs, StateDir: stateDir, RunDir: run, Log: log})
	if err != nil {
		return nil, err
	}
	defer ctrd.Close()
	life, release := context.WithCancel(ctx)
	beneath, life := errgroup.WithContext(life)
	beneath.Go(func() error { return ctrd.Run(life) })
	stop := func() error { release(); return beneath.Wait() }
	if err := ctrd.Ready(ctx); err != nil {
		return nil, errors.Join(err, stop())
	}
	removed, err = sweepTasks(ctx, ctrd.Address(), stateDir, run, programs, instance, log)
	err = errors.Join(err, stop())
	if err == nil {
		err = os.RemoveAll(run)
		os.Remove(filepath.Dir(run)) // if it was the last one
	}
	return removed, err
}

// sweepTasks removes every trace of tasks, and then what they stood on.
func sweepTasks(ctx context.Context, address, stateDir, run, programs, instance string, log *zap.Logger) (removed []string, err error) {
	c, err := client.New(address, client.WithDefaultNamespace(containerd.Namespace), client.WithTimeout(30*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	defer c.Close()
	snapshotter, err := containerd.Snapshotter(ctx, c, stateDir, log)
	if err != nil {
		return nil, err
	}
	sandboxes, err := containerd.New(ctx, containerd.Config{
		Client: c, Snapshotter: snapshotter, Libexec: programs, StateDir: stateDir, RunDir: run,
		LogsDir: filepath.Join(stateDir, "logs"), Instance: instance, Now: time.Now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	ids, err := sandboxes.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := sandboxes.Remove(ctx, id); err != nil {
			return removed, fmt.Errorf("remove task %s: %w", id, err)
		}
		removed = append(removed, "what was left of task "+string(id))
	}
	return removed, sandboxes.Close(ctx)
}

// runDir is where a server keeps what does not survive a restart of the host.
// Sockets in it need a short path.
func runDir(instance string) string { return filepath.Join("/run/berth", instance) }

// openRunDirs makes a server's directory, and lets everybody pass through it and the one of
// all servers: the root of a task is nobody on the host, and has its files below.
func openRunDirs(run string) error {
	for _, dir := range []string{filepath.Dir(run), run} {
		err := os.Mkdir(dir, 0o711)
		if errors.Is(err, fs.ErrExist) {
			err = os.Chmod(dir, 0o711) // an earlier release kept it to itself
		}
		if err != nil {
			return fmt.Errorf("make directories: %w", err)
		}
	}
	return nil
}

// cgroupParent is the cgroup of all tasks of this server.
func cgroupParent(flag, instance string) string {
	return "/" + strings.Trim(flag, "/") + "/" + instance
}

func parseSubnet(cidr string) (netip.Prefix, error) {
	if cidr == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() {
		return p, fault.New(fault.Invalid, "--bridge-subnet %q is not an IPv4 CIDR, as in 10.88.0.0/16", cidr)
	}
	return p.Masked(), nil
}

// dockerConfig is where Docker keeps the credentials of registries.
func dockerConfig() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// buildDemo makes the built-in image, if its program was built.
func buildDemo(ctx context.Context, s *images.Store, libexec string) error {
	program, err := os.ReadFile(filepath.Join(libexec, "demo"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read demo program: %w", err)
	}
	return s.Demo(ctx, program)
}

// architecture is this host's CPU architecture in ECS's words.
func architecture() string {
	if runtime.GOARCH == "arm64" {
		return "ARM64"
	}
	return "X86_64"
}
