package task

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"berth/fault"
	"berth/money"
)

// ID names a task for ever: 32 lower-case hex digits, as on Fargate. IDs made
// by NewID sort by the time they were made.
type ID string

// NewID returns a fresh ID, a UUID version 7 (RFC 9562) without its hyphens.
func NewID() ID { return ID(strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", "")) }

// ParseID accepts a task's ID or its ARN.
func ParseID(s string) (ID, error) {
	id := s[strings.LastIndexByte(s, '/')+1:]
	if b, err := hex.DecodeString(id); err != nil || len(b) != 16 || id != strings.ToLower(id) {
		return "", fault.New(fault.NotFound, "no task %q: a task ID is 32 hex digits", s)
	}
	return ID(id), nil
}

// Seq is a position in the journal. The first event has Seq 1.
type Seq uint64

// Event says that a task changed. It carries the whole task as it was then, so
// a reader needs nothing else.
type Event struct {
	Seq  Seq       `json:"seq"`
	At   time.Time `json:"at"`
	Task Task      `json:"task"`
}

// Task is one run of a Definition. Its JSON is the Task of the ECS API with RFC
// 3339 times, plus the fields that only Berth has, which are marked.
type Task struct {
	ARN           string `json:"taskArn"`
	ID            ID     `json:"taskId"` // Berth
	ClusterARN    string `json:"clusterArn"`
	DefinitionARN string `json:"taskDefinitionArn"`

	LastStatus    Status `json:"lastStatus"`
	DesiredStatus Status `json:"desiredStatus"` // RUNNING or STOPPED
	Version       int64  `json:"version"`       // grows with every change
	CPU           string `json:"cpu"`           // CPU units of the task's Size, as a decimal string
	Memory        string `json:"memory"`        // MiB of the task's Size, as a decimal string
	Group         string `json:"group"`
	StartedBy     string `json:"startedBy,omitempty"`
	Tags          []Tag  `json:"tags"`
	LaunchType    string `json:"launchType"`

	CapacityProvider string `json:"capacityProviderName,omitempty"` // FARGATE or FARGATE_SPOT, if the run had a strategy

	Platform      string  `json:"platformVersion"`
	Family        string  `json:"platformFamily"`
	Arch          string  `json:"cpuArchitecture"` // Berth: X86_64 or ARM64
	Health        string  `json:"healthStatus"`
	Connectivity  string  `json:"connectivity,omitempty"`
	StopCode      string  `json:"stopCode,omitempty"`
	StoppedReason string  `json:"stoppedReason,omitempty"`
	Timeout       Seconds `json:"timeoutSeconds,omitempty"` // Berth: the run is stopped this long after startedAt

	MaxCost money.Amount `json:"maxCost,omitzero"` // Berth: the task is stopped before it costs more; 0 means no limit

	NetworkConfiguration *NetworkConfiguration `json:"networkConfiguration,omitempty"` // Berth, as a service has it
	Runtime              RuntimeClass          `json:"runtime,omitempty"`              // Berth
	LoadBalancers        []LoadBalancer        `json:"loadBalancers,omitempty"`        // Berth, as a service has them: whose target it is

	EnableExecuteCommand bool `json:"enableExecuteCommand,omitempty"` // ECS's ExecuteCommand may be used on it

	Overrides   Overrides    `json:"overrides"`
	Containers  []Container  `json:"containers"`
	Attachments []Attachment `json:"attachments"`

	// ProtectedUntil is when the task's protection ends: until then its service does not
	// stop it to have fewer tasks or newer ones. Zero means that it is not protected. (Berth)
	ProtectedUntil time.Time `json:"protectedUntil,omitzero"`

	// Ephemeral is the task's disk. Every task has 20 GiB, or what it asked for.
	Ephemeral *EphemeralStorage `json:"ephemeralStorage,omitempty"`

	CreatedAt          time.Time `json:"createdAt"`
	ConnectivityAt     time.Time `json:"connectivityAt,omitzero"`
	PullStartedAt      time.Time `json:"pullStartedAt,omitzero"` // the charge begins
	PullStoppedAt      time.Time `json:"pullStoppedAt,omitzero"`
	StartedAt          time.Time `json:"startedAt,omitzero"`
	StoppingAt         time.Time `json:"stoppingAt,omitzero"`
	ExecutionStoppedAt time.Time `json:"executionStoppedAt,omitzero"`
	StoppedAt          time.Time `json:"stoppedAt,omitzero"` // the charge ends

	// Clock anchors the task's time line: every time stamp above is the anchor's
	// wall time plus boot time passed since. From PENDING on it also names the
	// life of the host in which the task's world was made; in any later one that
	// is gone. (Berth)
	Clock Instant `json:"clock"`

	// Usage is the last reading of the task's counters, taken after its last
	// process ended and before its cgroup was removed. (Berth)
	Usage *Counters `json:"usage,omitempty"`
}

// Seconds is a whole number of seconds.
type Seconds int64

// Tag is a key and a value on a task or a definition.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Container is one container of a task. Its JSON is the Container of the ECS
// API, plus the fields that only Berth has.
type Container struct {
	ARN               string             `json:"containerArn"`
	TaskARN           string             `json:"taskArn"`
	Name              string             `json:"name"`
	Image             string             `json:"image"`
	ImageDigest       string             `json:"imageDigest,omitempty"`
	ImageRef          string             `json:"imageRef,omitempty"` // Berth: name@digest of what was pulled
	RuntimeID         string             `json:"runtimeId,omitempty"`
	LastStatus        Status             `json:"lastStatus"` // PENDING, RUNNING or STOPPED
	ExitCode          *int               `json:"exitCode,omitempty"`
	Reason            string             `json:"reason,omitempty"`
	Health            string             `json:"healthStatus"`
	HealthSince       time.Time          `json:"healthStatusSince,omitzero"` // Berth: when healthStatus last changed; left out while it never has
	HealthExitCode    int                `json:"healthExitCode,omitempty"`   // Berth: of the check that last made it UNHEALTHY, also after that; -1: it took too long or could not be run
	RestartCount      int                `json:"restartCount,omitempty"`     // Berth, and the task metadata endpoint: how often its restartPolicy started it anew
	Essential         bool               `json:"essential"`                  // Berth
	CPU               string             `json:"cpu"`
	Memory            string             `json:"memory,omitempty"`
	MemoryReservation string             `json:"memoryReservation,omitempty"`
	NetworkInterfaces []NetworkInterface `json:"networkInterfaces"`
	NetworkBindings   []NetworkBinding   `json:"networkBindings,omitempty"` // ports of this host that lead to the container
	StartedAt         time.Time          `json:"startedAt,omitzero"`        // Berth
	ExitedAt          time.Time          `json:"exitedAt,omitzero"`         // Berth
}

// NetworkInterface is a container's view of its task's network.
type NetworkInterface struct {
	AttachmentID string `json:"attachmentId"`
	IPv4         string `json:"privateIpv4Address"`
}

// NetworkBinding is a port of the host that leads to a port of a container (ECS API,
// NetworkBinding).
type NetworkBinding struct {
	BindIP        string `json:"bindIP"`
	ContainerPort int    `json:"containerPort"`
	HostPort      int    `json:"hostPort"`
	Protocol      string `json:"protocol"`
}

// Attachment is something that belongs to a task from outside it: on Fargate,
// its elastic network interface.
type Attachment struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Status  string         `json:"status"`
	Details []KeyValuePair `json:"details"`
}

// KeyValuePair is a name and a value.
type KeyValuePair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EphemeralStorage is the size of a task's disk.
type EphemeralStorage struct {
	SizeInGiB int `json:"sizeInGiB"`
}

// Exit is how a container's main process ended.
type Exit struct {
	Code      int       // 0 to 255; 128 + n if signal n ended it
	At        time.Time // by the wall clock
	OOMKilled bool      // the kernel killed a process of the container for memory
}

// Counters is one reading of everything that a task has used since it began.
// All numbers but those marked "now" only grow.
type Counters struct {
	CPUNanos         uint64 `json:"cpuNanos"`         // CPU time, ns
	ThrottledNanos   uint64 `json:"throttledNanos"`   // time spent held back by the CPU limit, ns
	Periods          uint64 `json:"periods"`          // enforcement periods in which the task was runnable
	ThrottledPeriods uint64 `json:"throttledPeriods"` // of those, the ones in which it was held back
	MemoryBytes      uint64 `json:"memoryBytes"`      // now, including the page cache
	WorkingSetBytes  uint64 `json:"workingSetBytes"`  // now, without inactive page cache
	MemoryPeakBytes  uint64 `json:"memoryPeakBytes"`
	OOMKills         uint64 `json:"oomKills"`
	PIDs             uint64 `json:"pids"` // now
	ReadBytes        uint64 `json:"readBytes"`
	WriteBytes       uint64 `json:"writeBytes"`
	ReadOps          uint64 `json:"readOps"`
	WriteOps         uint64 `json:"writeOps"`
	RxBytes          uint64 `json:"rxBytes"` // network, the task's interface without loopback
	TxBytes          uint64 `json:"txBytes"`

	EphemeralStorageBytes uint64 `json:"ephemeralStorageBytes"` // now: root file systems, volumes and logs; 0 if that is not known
}

// Sample is what a task had used at one moment.
type Sample struct {
	At time.Time `json:"at"` // on the task's time line
	Counters
}

// Network is where a task can be reached.
type Network struct {
	IPv4    string // dotted quad; empty if the task has loopback only
	MAC     string
	Subnet  string // CIDR
	Gateway string

	Published []Port `json:",omitempty"` // with the ports of the host
}

// Seconds and sizes that Fargate fixes.
const (
	DefaultEphemeralGiB = 20 // included in the price; AWS Fargate pricing page
	DefaultStopTimeout  = 30 * time.Second

	// SpendGrace is the most time that the containers of a task have between the stop
	// signal and SIGKILL if there is no money left for it, whatever their stopTimeouts say.
	SpendGrace = 30 * time.Second
)

// Size returns the vCPU and memory that t reserves.
func (t Task) Size() Size { return Size{CPU: atoi(t.CPU), Memory: atoi(t.Memory)} }

// Storage returns how many bytes of ephemeral storage t reserves.
func (t Task) Storage() int64 {
	if t.Ephemeral == nil {
		return DefaultEphemeralGiB << 30
	}
	return int64(t.Ephemeral.SizeInGiB) << 30
}

// Container returns the container of that name, or nil.
func (t *Task) Container(name string) *Container {
	for i := range t.Containers {
		if t.Containers[i].Name == name {
			return &t.Containers[i]
		}
	}
	return nil
}

// Time returns the time of now on t's time line. It is never earlier than t's
// latest time stamp, so stamps taken from it are in order.
func (t Task) Time(now Instant) time.Time { return t.InOrder(t.Clock.Project(now)) }

// InOrder returns at, or t's latest time stamp if that is later.
func (t Task) InOrder(at time.Time) time.Time {
	if last := t.latest(); at.Before(last) {
		return last
	}
	return at
}

// latest returns t's latest time stamp.
func (t Task) latest() time.Time {
	last := t.CreatedAt
	for _, at := range []time.Time{t.PullStartedAt, t.PullStoppedAt, t.StartedAt, t.StoppingAt, t.ExecutionStoppedAt, t.StoppedAt} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// Clone returns a copy of t that shares nothing with it.
func (t Task) Clone() Task {
	t.Tags = slices.Clone(t.Tags)
	t.Containers = slices.Clone(t.Containers)
	t.Attachments = slices.Clone(t.Attachments)
	return t
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // Apply and New write nothing else.
	return n
}

func itoa(n int) string { return strconv.Itoa(n) }
