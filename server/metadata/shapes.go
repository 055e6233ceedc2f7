package metadata

import "time"

// The shapes below have the order and the omissions of the agent's.

type taskAnswer struct {
	Cluster            string             `json:"Cluster"`
	TaskARN            string             `json:"TaskARN"`
	Family             string             `json:"Family"`
	Revision           string             `json:"Revision"`
	DesiredStatus      string             `json:"DesiredStatus,omitempty"`
	KnownStatus        string             `json:"KnownStatus"`
	ContainersV3       []*containerAnswer `json:"Containers,omitempty"`
	Limits             *limitsAnswer      `json:"Limits,omitempty"`
	PullStartedAt      *time.Time         `json:"PullStartedAt,omitempty"`
	PullStoppedAt      *time.Time         `json:"PullStoppedAt,omitempty"`
	ExecutionStoppedAt *time.Time         `json:"ExecutionStoppedAt,omitempty"`
	AvailabilityZone   string             `json:"AvailabilityZone,omitempty"`
	LaunchType         string             `json:"LaunchType,omitempty"`
	TaskTags           map[string]string  `json:"TaskTags,omitempty"`
}

// taskAnswerV4 is a taskAnswer with what version 4 adds after it. Its Containers hide
// the others.
type taskAnswerV4 struct {
	*taskAnswer
	Containers []*containerAnswerV4 `json:"Containers,omitempty"`
	Clock      *clockAnswer         `json:"ClockDrift,omitempty"`
	Disk       *diskAnswer          `json:"EphemeralStorageMetrics,omitempty"`
	Faults     bool                 `json:"FaultInjectionEnabled"`
}

type containerAnswer struct {
	ID            string            `json:"DockerId"`
	Name          string            `json:"Name"`
	DockerName    string            `json:"DockerName"`
	Image         string            `json:"Image"`
	ImageID       string            `json:"ImageID"`
	Ports         []portAnswer      `json:"Ports,omitempty"`
	Labels        map[string]string `json:"Labels,omitempty"`
	DesiredStatus string            `json:"DesiredStatus"`
	KnownStatus   string            `json:"KnownStatus"`
	ExitCode      *int              `json:"ExitCode,omitempty"`
	Limits        limitsAnswer      `json:"Limits"`
	CreatedAt     *time.Time        `json:"CreatedAt,omitempty"`
	StartedAt     *time.Time        `json:"StartedAt,omitempty"`
	FinishedAt    *time.Time        `json:"FinishedAt,omitempty"`
	Type          string            `json:"Type"`
	NetworksV3    []networkAnswer   `json:"Networks,omitempty"`
	Health        *healthAnswer     `json:"Health,omitempty"`
	LogDriver     string            `json:"LogDriver,omitempty"`
	LogOptions    map[string]string `json:"LogOptions,omitempty"`
	ContainerARN  string            `json:"ContainerARN,omitempty"`
}

// containerAnswerV4 is to containerAnswer what taskAnswerV4 is to taskAnswer.
type containerAnswerV4 struct {
	*containerAnswer
	Networks    []networkAnswerV4 `json:"Networks,omitempty"`
	Snapshotter string            `json:"Snapshotter,omitempty"`
	Restarts    *int              `json:"RestartCount,omitempty"` // of containers with a restart policy
}

// limitsAnswer is in vCPUs of a task and CPU units of a container, and MiB.
type limitsAnswer struct {
	CPU    *float64 `json:"CPU,omitempty"`
	Memory *int     `json:"Memory,omitempty"`
}

type portAnswer struct {
	ContainerPort int    `json:"ContainerPort,omitempty"`
	Protocol      string `json:"Protocol,omitempty"`
	HostPort      int    `json:"HostPort,omitempty"`
}

// healthAnswer says what was when the status last changed. The agent's output, the first KiB
// of what the check printed, is missing: that is lost here.
type healthAnswer struct {
	Status   string     `json:"status,omitempty"`
	Since    *time.Time `json:"statusSince,omitempty"` // left out while it never has
	ExitCode int        `json:"exitCode,omitempty"`    // of the check that last made it UNHEALTHY
}

type networkAnswer struct {
	Mode string   `json:"NetworkMode,omitempty"`
	IPv4 []string `json:"IPv4Addresses,omitempty"`
}

type networkAnswerV4 struct {
	networkAnswer
	AttachmentIndex *int     `json:"AttachmentIndex,omitempty"`
	MAC             string   `json:"MACAddress,omitempty"`
	Subnet          string   `json:"IPv4SubnetCIDRBlock,omitempty"`
	NameServers     []string `json:"DomainNameServers,omitempty"`
	Search          []string `json:"DomainNameSearchList,omitempty"`
	DNSName         string   `json:"PrivateDNSName,omitempty"`
	Gateway         string   `json:"SubnetGatewayIpv4Address,omitempty"`
}

type clockAnswer struct {
	ErrorBound float64    `json:"ClockErrorBound,omitempty"` // ms
	At         *time.Time `json:"ReferenceTimestamp,omitempty"`
	Status     string     `json:"ClockSynchronizationStatus,omitempty"`
}

// diskAnswer is in MiB.
type diskAnswer struct {
	Utilized int64 `json:"Utilized"`
	Reserved int64 `json:"Reserved"`
}
