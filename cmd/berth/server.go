package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"berth/billing"
	"berth/fault"
)

// serverConfig is everything that can be set about a server.
type serverConfig struct {
	StateDir          string // everything that a server remembers
	Listen            string // host:port of the API
	ListenAnywhere    bool
	Door              doorConfig
	Hosts             []string // further names that clients may call it by
	Libexec           string   // where containerd, runc and their kin are
	ContainerdAddress string   // socket of a containerd to use; empty: start our own

	CPU        int64   // CPU units that tasks may reserve; 0: what the host has
	Memory     int64   // MiB that tasks may reserve; 0: what the host has
	Overcommit float64 // how often CPU and memory may be reserved
	PIDsLimit  int64   // most processes and threads in one task
	CPUPolicy  string  // static: tasks of whole CPUs have them to themselves; none: all share all
	HostUsers  bool    // tasks have the host's user IDs

	AWSLogsCreateGroups bool // make log groups that tasks name and that are not there

	Retention   time.Duration // how long stopped tasks, their logs and samples are kept
	KeepUsage   billing.Keeping
	Anomalies   anomalyConfig // what is told of costs
	SpotRate    float64       // interruptions in an hour of a task
	SpotNotice  time.Duration // of an interruption
	Throttle    string        // aws: refuse calls of AWS's APIs that come faster than AWS takes them; off
	Latency     bool          // simulate that of Fargate
	LatencySeed uint64        // of the simulation
	LogMaxSize  int64         // bytes of one log file of one container
	LogMaxFiles int           // log files of one container
	ImportMax   int64         // bytes of an image that is imported

	CgroupParent   string // cgroup under which tasks are
	Discovery      bool   // tasks find one another by name
	BalancerListen string // IP address at which the ports of target groups are

	BridgeSubnet string // CIDR out of which tasks get addresses

	Runtime  string // runtime class of tasks that do not say
	KataShim string // path of containerd-shim-kata-v2; empty: looked for in PATH

	EFS []string // ID=DIR: directories of this host that stand for file systems of EFS
	S3  []string // BUCKET=DIR: directories of this host that stand for buckets of S3

	Secrets        []string // where secrets are looked for, in order; see secretSources
	VaultTokenFile string   // the token for Vault

	TaskCredentials string // file with the credentials in which tasks act
	STSEndpoint     string // URL of the STS that gives the roles of tasks their credentials

	Region    string // names ARNs
	Account   string // names ARNs
	Provider  string // who runs the tasks, in exports of costs
	LogLevel  string
	LogFormat string // console or json
}

// flags defines the flags of a server.
func (c *serverConfig) flags(f *pflag.FlagSet) {
	c.stateFlag(f)
	f.StringVar(&c.Listen, "listen", defaultListen, "`host:port` of the API")
	f.BoolVar(&c.ListenAnywhere, "insecure-listen-anywhere", false,
		"allow --listen beyond loopback without --auth, where everybody who reaches it can run programs here")
	c.Door.flags(f)
	f.StringSliceVar(&c.Hosts, "host", nil, "further `name` that clients may call the server by")
	c.libexecFlag(f)
	f.StringVar(&c.ContainerdAddress, "containerd-address", "", "`socket` of a containerd to use, instead of starting one")

	f.Var(vcpuCount(&c.CPU), "vcpu", "vCPUs that tasks may reserve (default: the host's)")
	f.Var(memorySize(&c.Memory), "memory", "memory that tasks may reserve (default: the host's)")
	f.Float64Var(&c.Overcommit, "overcommit", 1, "how often the vCPUs and the memory may be reserved")
	f.Int64Var(&c.PIDsLimit, "pids-limit", 2048, "most processes and threads in one task")
	f.StringVar(&c.CPUPolicy, "cpu-policy", "static", "static: tasks of 1, 2, 4, … vCPUs have CPUs of their own, and the others share the rest; none: all share all")
	f.BoolVar(&c.HostUsers, "host-users", false, "give tasks the host's user IDs, instead of their own, so that their root is the host's")

	f.Float64Var(&c.SpotRate, "spot-interruptions", 0, "how often a task on FARGATE_SPOT is interrupted, in an hour of running")
	f.DurationVar(&c.SpotNotice, "spot-notice", 2*time.Minute, "how long a task on FARGATE_SPOT is warned before it is interrupted")

	f.StringVar(&c.Throttle, "throttle", "off", "aws: refuse requests to the ECS API that come faster than AWS takes them; off: take all")
	f.BoolVar(&c.Latency, "simulate-fargate-latency", false, "start tasks as late as Fargate does, pulls included")
	f.Uint64Var(&c.LatencySeed, "latency-seed", 0, "another number is another draw of the simulated latency for the same tasks")

	f.BoolVar(&c.AWSLogsCreateGroups, "awslogs-create-groups", true, "make the log groups that tasks write to and that are not there, as if they all had awslogs-create-group; AWS does not")
	f.DurationVar(&c.Retention, "retention", 720*time.Hour, "how long stopped tasks, their logs and samples are kept")
	c.KeepUsage = billing.Keeping{Seconds: 7 * lifetimes["d"], Minutes: 90 * lifetimes["d"], Hours: 2 * lifetimes["y"]}
	f.Var(lifetime{&c.KeepUsage.Seconds}, "usage-retention-1s", "how long samples are kept, at most as long as their task")
	f.Var(lifetime{&c.KeepUsage.Minutes}, "usage-retention-1m", "how long the minutes made of them are kept, also after their task")
	f.Var(lifetime{&c.KeepUsage.Hours}, "usage-retention-1h", "how long hours are kept, also after their task")
	c.Anomalies.flags(f)
	c.LogMaxSize = 10 << 20
	f.Var(byteSize(&c.LogMaxSize), "log-max-size", "size of a container's log file at which the next one is begun")
	f.IntVar(&c.LogMaxFiles, "log-max-files", 5, "most log files of one container")
	c.ImportMax = 16 << 30
	f.Var(byteSize(&c.ImportMax), "import-max-size", "largest image that may be imported")

	f.StringVar(&c.CgroupParent, "cgroup-parent", "berth", "`cgroup` under which tasks are")
	f.BoolVar(&c.Discovery, "discovery", true, "answer tasks' questions for the names of services; otherwise they ask the host's name servers")
	f.StringVar(&c.BalancerListen, "balancer-listen", "127.0.0.1", "IP `address` of the host at which target groups listen; 0.0.0.0 for all of them")
	f.StringVar(&c.BridgeSubnet, "bridge-subnet", "", "`CIDR` out of which tasks get addresses (default: derived from the state directory)")
	f.StringSliceVar(&c.EFS, "efs", nil, "`ID=DIR`: the directory of this host that is that file system of EFS, as in fs-12345678=/srv/shared; can be repeated")
	f.StringVar(&c.TaskCredentials, "task-credentials", "",
		"`file` with the AWS credentials of every task that has a role, JSON with AccessKeyId, SecretAccessKey, Token and Expiration, mode 0600")
	f.StringVar(&c.STSEndpoint, "sts-endpoint", "", "`URL` of an STS that gives each task's role its credentials, in place of this server's own; it is asked with those of --task-credentials, if given")
	c.secretFlags(f)
	f.StringVar(&c.Runtime, "runtime", "runc", "what stands between tasks and the host's kernel if they do not say: runc, gvisor or kata")
	c.kataFlag(f)
	f.StringVar(&c.Region, "region", "us-east-1", "region in ARNs and of prices")
	f.StringVar(&c.Account, "account", "000000000000", "account in ARNs, 12 digits")
	f.StringVar(&c.Provider, "provider", "Berth", "`name` of who runs the tasks and bills for them, in exports of costs")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "console", "console or json")
}

// fileSystemID is the form of EFS's IDs (EFS API reference, FileSystemId).
var fileSystemID = regexp.MustCompile(`^fs-[0-9a-f]{8,40}$`)

// defaultStateDir follows the Filesystem Hierarchy Standard.
const defaultStateDir = "/var/lib/berth"

func (c *serverConfig) stateFlag(f *pflag.FlagSet) {
	f.StringVar(&c.StateDir, "state-dir", defaultStateDir, "`directory` of everything that the server remembers")
}

func (c *serverConfig) libexecFlag(f *pflag.FlagSet) {
	f.StringVar(&c.Libexec, "libexec", "", "`directory` of containerd, its shim, runc, the CNI plugins and berth-log (default: libexec beside this program)")
}

// stateDir is the one name of a state directory, whatever path leads to it: absolute,
// without symbolic links. Instances, sockets and cgroups are named after it, so a
// second name would be a second server on the same containerd.
// What does not exist yet is taken as it is written.
func stateDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find state directory: %w", err)
	}
	for real, missing := dir, ""; ; real, missing = filepath.Dir(real), filepath.Join(filepath.Base(real), missing) {
		resolved, err := filepath.EvalSymlinks(real)
		switch {
		case err == nil:
			return filepath.Join(resolved, missing), nil
		case !errors.Is(err, fs.ErrNotExist) || real == "/":
			return "", fault.Wrap(fault.Invalid, err, "--state-dir %s cannot be a directory: %v", dir, err)
		}
	}
}

// check refuses what can never work, before anything is started.
func (c *serverConfig) check() error {
	if c.StateDir == "" {
		return fault.New(fault.Invalid, "--state-dir is empty")
	}
	var err error
	if c.StateDir, err = stateDir(c.StateDir); err != nil {
		return err
	}
	if c.Libexec != "" {
		if c.Libexec, err = filepath.Abs(c.Libexec); err != nil {
			return fmt.Errorf("find libexec directory: %w", err)
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fault.New(fault.Invalid, "--listen %q is not host:port, as in %s", c.Listen, defaultListen)
	}
	if err := c.Door.check(); err != nil {
		return err
	}
	switch {
	case loopback(host) || c.ListenAnywhere:
	case !c.Door.Auth:
		return fault.New(fault.Invalid, "--listen %s is not loopback: whoever reaches it could run programs here. Say --auth, and --tls-cert and --tls-key, "+
			"--acme-host or --behind-proxy; or listen on 127.0.0.1; or say --insecure-listen-anywhere if something else keeps strangers away", c.Listen)
	case !c.Door.encrypted():
		return fault.New(fault.Invalid, "--listen %s is not loopback: whoever listens on the way could read tokens and what tasks say. "+
			"Say --tls-cert and --tls-key, --acme-host, or --behind-proxy if a proxy in front of it speaks TLS", c.Listen)
	}
	for i, name := range c.Hosts {
		c.Hosts[i] = strings.ToLower(name)
	}
	c.Hosts = append(c.Hosts, c.Door.ACMEHosts...)
	switch {
	case c.Overcommit < 1 || c.Overcommit > 100:
		return fault.New(fault.Invalid, "--overcommit %v: it can be from 1 to 100", c.Overcommit)
	case c.CPUPolicy != "static" && c.CPUPolicy != "none":
		return fault.New(fault.Invalid, "--cpu-policy %q: it can be static or none", c.CPUPolicy)
	case c.PIDsLimit < 16:
		return fault.New(fault.Invalid, "--pids-limit %d: it can be 16 or more", c.PIDsLimit)
	case c.Throttle != "aws" && c.Throttle != "off":
		return fault.New(fault.Invalid, "--throttle %q: it can be aws or off", c.Throttle)
	case c.SpotRate < 0 || c.SpotRate > 3600:
		return fault.New(fault.Invalid, "--spot-interruptions %v: it can be from 0 to 3600", c.SpotRate)
	case c.SpotNotice < 0 || c.SpotNotice > time.Hour:
		return fault.New(fault.Invalid, "--spot-notice %s: it can be from 0 to 1h", c.SpotNotice)
	case c.Retention < time.Hour:
		return fault.New(fault.Invalid, "--retention %s: it can be 1h or more, as long as ECS shows stopped tasks", c.Retention)
	case c.KeepUsage.Seconds < 24*time.Hour:
		return fault.New(fault.Invalid, "--usage-retention-1s %s: it can be 1d or more", lifetime{&c.KeepUsage.Seconds})
	case c.KeepUsage.Minutes < c.KeepUsage.Seconds || c.KeepUsage.Hours < c.KeepUsage.Minutes:
		return fault.New(fault.Invalid, "--usage-retention-1s, -1m and -1h are %s, %s and %s: each can be as long as the one before or longer",
			lifetime{&c.KeepUsage.Seconds}, lifetime{&c.KeepUsage.Minutes}, lifetime{&c.KeepUsage.Hours})
	case c.LogMaxFiles < 2:
		return fault.New(fault.Invalid, "--log-max-files %d: it can be 2 or more", c.LogMaxFiles)
	case c.LogMaxSize < 64<<10:
		return fault.New(fault.Invalid, "--log-max-size %d: it can be 64KiB or more", c.LogMaxSize)
	case len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "":
		return fault.New(fault.Invalid, "--account %q: it has 12 digits", c.Account)
	}
	if _, err := c.runtimes(libexec(c.Libexec)); err != nil {
		return err
	}
	if _, err := c.fileSystems(); err != nil {
		return err
	}
	if err := c.Anomalies.check(); err != nil {
		return err
	}
	if err := c.checkSecrets(); err != nil {
		return err
	}
	if err := c.checkRoles(); err != nil {
		return err
	}
	if err := c.checkBalancer(); err != nil {
		return err
	}
	if c.BridgeSubnet != "" {
		if _, _, err := net.ParseCIDR(c.BridgeSubnet); err != nil {
			return fault.New(fault.Invalid, "--bridge-subnet %q is not a CIDR, as in 10.88.0.0/16", c.BridgeSubnet)
		}
	}
	return nil
}

// fileSystems returns the directories that stand for file systems, by their IDs.
func (c *serverConfig) fileSystems() (map[string]string, error) {
	all := make(map[string]string)
	for _, text := range c.EFS {
		id, dir, ok := strings.Cut(text, "=")
		if !ok || !fileSystemID.MatchString(id) || !filepath.IsAbs(dir) {
			return nil, fault.New(fault.Invalid, "--efs %q has not the form fs-12345678=/srv/shared", text)
		}
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, fault.Wrap(fault.Invalid, err, "--efs %s: %s is no directory of this host", text, dir)
		}
		if all[id] != "" {
			return nil, fault.New(fault.Invalid, "--efs: %s is there twice", id)
		}
		all[id] = dir
	}
	return all, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// endpoint is where clients on this host find the server.
func (c *serverConfig) endpoint() string {
	host, port, err := net.SplitHostPort(c.Listen)
	scheme := "http://"
	if c.Door.serves() {
		scheme = "https://"
	}
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return scheme + net.JoinHostPort("127.0.0.1", port)
	}
	return scheme + c.Listen
}

func (a *app) serverCommand() *cobra.Command {
	var config serverConfig
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server in the foreground",
		Long: "Run the server in the foreground. It supervises its own containerd and keeps everything\n" +
			"in its state directory, so several servers can run side by side with different state\n" +
			"directories and ports. Ending the server never ends a task; the next one takes them over.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := config.check(); err != nil {
				return err
			}
			log, err := a.logger(config)
			if err != nil {
				return err
			}
			defer log.Sync()
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return serve(ctx, config, log)
		},
	}
	config.flags(c.Flags())
	complete(c, "cpu-policy", "static", "none")
	complete(c, "log-level", "debug", "info", "warn", "error")
	complete(c, "log-format", "console", "json")
	return c
}

// logger returns a logger on standard error.
func (a *app) logger(config serverConfig) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(config.LogLevel)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--log-level %q: it can be debug, info, warn or error", config.LogLevel)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch config.LogFormat {
	case "json":
		encoder = zapcore.NewJSONEncoder(enc)
	case "console":
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	default:
		return nil, fault.New(fault.Invalid, "--log-format %q: it can be console or json", config.LogFormat)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(a.err)), level)), nil
}

// libexec returns where the programs that Berth stands on are: where the flag
// says, or libexec beside the directory of this program.
func libexec(flag string) string {
	if flag != "" {
		return flag
	}
	self, err := os.Executable()
	if err != nil {
		return "libexec"
	}
	return filepath.Join(filepath.Dir(self), "libexec")
}
