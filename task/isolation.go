package task

// Isolation is what keeps a task apart, as the kernel says it is now; nothing in it is
// taken from what was asked for, but what is marked.
type Isolation struct {
	TaskARN    string               `json:"taskArn"`
	Runtime    string               `json:"runtime" doc:"What runs its containers"`
	Cgroup     CgroupLimits         `json:"cgroup" doc:"Limits of all its processes together"`
	Network    NetworkIsolation     `json:"network"`
	Storage    StorageIsolation     `json:"ephemeralStorage"`
	Containers []ContainerIsolation `json:"containers" doc:"Those that have a process"`
}

// CgroupLimits are the limits of a cgroup.
type CgroupLimits struct {
	Version     string  `json:"version" doc:"Of cgroups on this host"`
	Path        string  `json:"path" doc:"From the root of each hierarchy"`
	VCPU        float64 `json:"vCPU" doc:"CPU time in each second, in seconds; 0 if it is not limited, as before the first process runs"`
	CPUWeight   int64   `json:"cpuWeight" doc:"cpu.shares of version 1, cpu.weight of version 2"`
	CPUs        string  `json:"cpus,omitempty" doc:"Numbers of the host's CPUs that it may use, as in 0-3,8; left out if all"`
	MemoryBytes int64   `json:"memoryBytes" doc:"0 if it is not limited"`
	SwapBytes   *int64  `json:"swapBytes,omitempty" doc:"Memory that may be swapped out; left out if the kernel does not count it"`
	PIDs        int64   `json:"pids" doc:"Processes and threads; 0 if they are not limited"`
}

// NetworkIsolation is how a task is connected.
type NetworkIsolation struct {
	Namespace    string   `json:"namespace" doc:"Of the kernel, as in net:[4026532]"`
	Interfaces   []string `json:"interfaces" doc:"In its namespace, with their addresses"`
	PortIsolated bool     `json:"portIsolated" doc:"It is no neighbour of other tasks"`
	SenderGuard  []string `json:"senderGuard" doc:"Hardware and IP addresses that it may speak under"`
	Groups       []string `json:"securityGroups" doc:"IDs of the security groups whose rules hold for its address"`
	Rules        []string `json:"rules" doc:"Of these groups: egress or ingress, and how many"`
	Published    []Port   `json:"published" doc:"Ports of this host that lead to it"`
}

// StorageIsolation is a task's ephemeral storage.
type StorageIsolation struct {
	Limited      bool   `json:"limited" doc:"It is a file system of its own"`
	Device       string `json:"device,omitempty"`
	SizeBytes    int64  `json:"sizeBytes" doc:"Of that file system; what logs may take is not in it"`
	UsedBytes    int64  `json:"usedBytes"`
	FreeFiles    uint64 `json:"freeFiles" doc:"Files and directories that can still be made"`
	MountOptions string `json:"mountOptions,omitempty"`
}

// ContainerIsolation is what keeps a container apart.
type ContainerIsolation struct {
	Name            string            `json:"name"`
	HostPID         int               `json:"hostPid" doc:"In gVisor, of the sandbox that all containers of the task run in: what is said of the process is of that, and what stands between it and a container is gVisor's kernel"`
	Cgroup          CgroupLimits      `json:"cgroup"`
	Namespaces      map[string]string `json:"namespaces" doc:"Of the kernel; those that are the host's are in sharedWithHost"`
	SharedWithHost  []string          `json:"sharedWithHost"`
	UIDMap          string            `json:"uidMap" doc:"Inside, outside and length, as in /proc/PID/uid_map"`
	Capabilities    Capabilities      `json:"capabilities"`
	NoNewPrivileges bool              `json:"noNewPrivileges"`
	Seccomp         Seccomp           `json:"seccomp"`
	ReadonlyRoot    bool              `json:"readonlyRootFilesystem"`
	MaskedPaths     []string          `json:"maskedPaths" doc:"Hidden by mounts over them"`
	ReadonlyPaths   []string          `json:"readonlyPaths"`
	OOMScoreAdj     int               `json:"oomScoreAdj"`
	Rlimits         map[string]string `json:"rlimits" doc:"Soft and hard, as in /proc/PID/limits"`
}

// Capabilities are sets of capabilities(7).
type Capabilities struct {
	Effective   []string `json:"effective"`
	Permitted   []string `json:"permitted"`
	Inheritable []string `json:"inheritable"`
	Bounding    []string `json:"bounding"`
	Ambient     []string `json:"ambient"`
}

// Seccomp is the filter of system calls.
type Seccomp struct {
	Mode    string `json:"mode" doc:"disabled, strict or filter"`
	Filters int    `json:"filters"`
	Profile string `json:"profileSha256" doc:"Of the profile that the filter was made of, as JSON. The kernel keeps the filter to itself"`
}
