package task

import (
	"bytes"
	"encoding/json"
	"time"
)

// Definition is a task definition: the request of the ECS API's
// RegisterTaskDefinition, whole, and the fields its answers add. Every member of
// the API's model is here by name and type, also those that Fargate refuses, so
// that a definition is refused for the right reason.
//
// A Definition as ParseDefinition returns it is normalised: what the API fills in
// is filled in, and CPU and Memory are plain integers.
type Definition struct {
	Family                  string                         `json:"family"`
	TaskRoleARN             string                         `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN        string                         `json:"executionRoleArn,omitempty"`
	NetworkMode             string                         `json:"networkMode,omitempty"`
	ContainerDefinitions    []ContainerDefinition          `json:"containerDefinitions"`
	Volumes                 []Volume                       `json:"volumes"`
	PlacementConstraints    []PlacementConstraint          `json:"placementConstraints"`
	RequiresCompatibilities []string                       `json:"requiresCompatibilities,omitempty"`
	CPU                     string                         `json:"cpu,omitempty"`    // CPU units; 1024 are one vCPU
	Memory                  string                         `json:"memory,omitempty"` // MiB
	Tags                    []Tag                          `json:"tags,omitempty"`
	PIDMode                 string                         `json:"pidMode,omitempty"`
	IPCMode                 string                         `json:"ipcMode,omitempty"`
	ProxyConfiguration      *ProxyConfiguration            `json:"proxyConfiguration,omitempty"`
	InferenceAccelerators   []InferenceAccelerator         `json:"inferenceAccelerators,omitempty"`
	EphemeralStorage        *EphemeralStorage              `json:"ephemeralStorage,omitempty"`
	RuntimePlatform         *RuntimePlatform               `json:"runtimePlatform,omitempty"`
	EnableFaultInjection    bool                           `json:"enableFaultInjection,omitempty"`
	TrustedExecution        *TrustedExecutionConfiguration `json:"trustedExecutionConfiguration,omitempty"`

	Registration
}

// Registration is what the server adds to a Definition when it is registered.
// None of it may be sent.
type Registration struct {
	ARN             string      `json:"taskDefinitionArn,omitempty"`
	Revision        int         `json:"revision,omitempty"` // counts up from 1 within the family; never used twice
	Status          string      `json:"status,omitempty"`   // ACTIVE, INACTIVE or DELETE_IN_PROGRESS
	RequiresAttrs   []Attribute `json:"requiresAttributes,omitempty"`
	Compatibilities []string    `json:"compatibilities,omitempty"`
	RegisteredAt    time.Time   `json:"registeredAt,omitzero"`
	DeregisteredAt  time.Time   `json:"deregisteredAt,omitzero"`
	DeleteRequested time.Time   `json:"deleteRequestedAt,omitzero"`
	RegisteredBy    string      `json:"registeredBy,omitempty"`
}

// Same reports whether d and other say the same, apart from what registering adds.
func (d Definition) Same(other Definition) bool {
	d.Registration, other.Registration = Registration{}, Registration{}
	x, errX := json.Marshal(d)
	y, errY := json.Marshal(other)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// The states of a registered definition.
const (
	Active   = "ACTIVE"
	Inactive = "INACTIVE" // runs no new tasks; can still be described

	DeleteInProgress = "DELETE_IN_PROGRESS" // goes when its last task has stopped
)

// ContainerDefinition is one container of a Definition.
type ContainerDefinition struct {
	Name                   string                 `json:"name"`
	Image                  string                 `json:"image"`
	RepositoryCredentials  *RepositoryCredentials `json:"repositoryCredentials,omitempty"`
	CPU                    int                    `json:"cpu"`                         // CPU units: its weight within the task
	Memory                 int                    `json:"memory,omitempty"`            // MiB, hard limit
	MemoryReservation      int                    `json:"memoryReservation,omitempty"` // MiB, soft limit
	Links                  []string               `json:"links,omitempty"`
	PortMappings           []PortMapping          `json:"portMappings"`
	Essential              *bool                  `json:"essential,omitempty"` // true unless said otherwise
	RestartPolicy          *RestartPolicy         `json:"restartPolicy,omitempty"`
	EntryPoint             []string               `json:"entryPoint,omitempty"`
	Command                []string               `json:"command,omitempty"`
	Environment            []KeyValuePair         `json:"environment"`
	EnvironmentFiles       []EnvironmentFile      `json:"environmentFiles,omitempty"`
	MountPoints            []MountPoint           `json:"mountPoints"`
	VolumesFrom            []VolumeFrom           `json:"volumesFrom"`
	LinuxParameters        *LinuxParameters       `json:"linuxParameters,omitempty"`
	Secrets                []Secret               `json:"secrets,omitempty"`
	DependsOn              []Dependency           `json:"dependsOn,omitempty"`
	StartTimeout           *int                   `json:"startTimeout,omitempty"` // seconds
	StopTimeout            *int                   `json:"stopTimeout,omitempty"`  // seconds
	VersionConsistency     string                 `json:"versionConsistency,omitempty"`
	Hostname               string                 `json:"hostname,omitempty"`
	User                   string                 `json:"user,omitempty"`
	WorkingDirectory       string                 `json:"workingDirectory,omitempty"`
	DisableNetworking      *bool                  `json:"disableNetworking,omitempty"`
	Privileged             *bool                  `json:"privileged,omitempty"`
	ReadonlyRootFilesystem *bool                  `json:"readonlyRootFilesystem,omitempty"`
	DNSServers             []string               `json:"dnsServers,omitempty"`
	DNSSearchDomains       []string               `json:"dnsSearchDomains,omitempty"`
	ExtraHosts             []HostEntry            `json:"extraHosts,omitempty"`
	DockerSecurityOptions  []string               `json:"dockerSecurityOptions,omitempty"`
	Interactive            *bool                  `json:"interactive,omitempty"`
	PseudoTerminal         *bool                  `json:"pseudoTerminal,omitempty"`
	DockerLabels           map[string]string      `json:"dockerLabels,omitempty"`
	Ulimits                []Ulimit               `json:"ulimits,omitempty"`
	LogConfiguration       *LogConfiguration      `json:"logConfiguration,omitempty"`
	HealthCheck            *HealthCheck           `json:"healthCheck,omitempty"`
	SystemControls         []SystemControl        `json:"systemControls"`
	ResourceRequirements   []ResourceRequirement  `json:"resourceRequirements,omitempty"`
	FirelensConfiguration  *FirelensConfiguration `json:"firelensConfiguration,omitempty"`
	CredentialSpecs        []string               `json:"credentialSpecs,omitempty"`
}

// IsEssential reports whether the end of the container ends the task.
func (c ContainerDefinition) IsEssential() bool { return c.Essential == nil || *c.Essential }

// The members of the ECS model, in its words. The ECS API reference says what
// each means.
type (
	RepositoryCredentials struct {
		CredentialsParameter string `json:"credentialsParameter"`
	}
	PortMapping struct {
		ContainerPort      int    `json:"containerPort,omitempty"`
		HostPort           int    `json:"hostPort,omitempty"`
		Protocol           string `json:"protocol,omitempty"`
		Name               string `json:"name,omitempty"`
		AppProtocol        string `json:"appProtocol,omitempty"`
		ContainerPortRange string `json:"containerPortRange,omitempty"`
	}
	RestartPolicy struct {
		Enabled              *bool `json:"enabled" nullable:"false"` // never nil in a definition that was registered since it is looked at
		IgnoredExitCodes     []int `json:"ignoredExitCodes,omitempty"`
		RestartAttemptPeriod *int  `json:"restartAttemptPeriod,omitempty"`
	}
	EnvironmentFile struct {
		Value string `json:"value"`
		Type  string `json:"type"`
	}
	MountPoint struct {
		SourceVolume  string `json:"sourceVolume,omitempty"`
		ContainerPath string `json:"containerPath,omitempty"`
		ReadOnly      *bool  `json:"readOnly,omitempty"`
	}
	VolumeFrom struct {
		SourceContainer string `json:"sourceContainer,omitempty"`
		ReadOnly        *bool  `json:"readOnly,omitempty"`
	}
	LinuxParameters struct {
		Capabilities       *KernelCapabilities `json:"capabilities,omitempty"`
		Devices            []Device            `json:"devices,omitempty"`
		InitProcessEnabled *bool               `json:"initProcessEnabled,omitempty"`
		SharedMemorySize   *int                `json:"sharedMemorySize,omitempty"`
		Tmpfs              []Tmpfs             `json:"tmpfs,omitempty"`
		MaxSwap            *int                `json:"maxSwap,omitempty"`
		Swappiness         *int                `json:"swappiness,omitempty"`
	}
	KernelCapabilities struct {
		Add  []string `json:"add,omitempty"`
		Drop []string `json:"drop,omitempty"`
	}
	Device struct {
		HostPath      string   `json:"hostPath"`
		ContainerPath string   `json:"containerPath,omitempty"`
		Permissions   []string `json:"permissions,omitempty"`
	}
	Tmpfs struct {
		ContainerPath string   `json:"containerPath"`
		Size          int      `json:"size"`
		MountOptions  []string `json:"mountOptions,omitempty"`
	}
	Secret struct {
		Name      string `json:"name"`
		ValueFrom string `json:"valueFrom"`
	}
	Dependency struct {
		Container string `json:"containerName"`
		Condition string `json:"condition"`
	}
	HostEntry struct {
		Hostname  string `json:"hostname"`
		IPAddress string `json:"ipAddress"`
	}
	Ulimit struct {
		Name      string `json:"name"`
		SoftLimit int64  `json:"softLimit"`
		HardLimit int64  `json:"hardLimit"`
	}
	LogConfiguration struct {
		LogDriver     string            `json:"logDriver"`
		Options       map[string]string `json:"options,omitempty"`
		SecretOptions []Secret          `json:"secretOptions,omitempty"`
	}
	HealthCheck struct {
		Command     []string `json:"command"`
		Interval    *int     `json:"interval,omitempty"`
		Timeout     *int     `json:"timeout,omitempty"`
		Retries     *int     `json:"retries,omitempty"`
		StartPeriod *int     `json:"startPeriod,omitempty"`
	}
	SystemControl struct {
		Namespace string `json:"namespace,omitempty"`
		Value     string `json:"value,omitempty"`
	}
	ResourceRequirement struct {
		Value           string           `json:"value,omitempty"`
		Type            string           `json:"type"`
		SharingStrategy *SharingStrategy `json:"sharingStrategy,omitempty"`
	}
	SharingStrategy struct {
		NvidiaMPS *NvidiaMPSAllocation `json:"nvidiaMps,omitempty"`
	}
	NvidiaMPSAllocation struct {
		Memory            int  `json:"memory"`
		MaxComputePercent *int `json:"maxComputePercent,omitempty"`
	}
	FirelensConfiguration struct {
		Type    string            `json:"type"`
		Options map[string]string `json:"options,omitempty"`
	}
	Volume struct {
		Name               string            `json:"name,omitempty"`
		Host               *HostVolume       `json:"host,omitempty"`
		Docker             *DockerVolume     `json:"dockerVolumeConfiguration,omitempty"`
		EFS                *EFSVolume        `json:"efsVolumeConfiguration,omitempty"`
		S3Files            *S3FilesVolume    `json:"s3filesVolumeConfiguration,omitempty"`
		FSxWindows         *FSxWindowsVolume `json:"fsxWindowsFileServerVolumeConfiguration,omitempty"`
		ConfiguredAtLaunch *bool             `json:"configuredAtLaunch,omitempty"`
	}
	HostVolume struct {
		SourcePath string `json:"sourcePath,omitempty"`
	}
	DockerVolume struct {
		Scope         string            `json:"scope,omitempty"`
		Autoprovision *bool             `json:"autoprovision,omitempty"`
		Driver        string            `json:"driver,omitempty"`
		DriverOpts    map[string]string `json:"driverOpts,omitempty"`
		Labels        map[string]string `json:"labels,omitempty"`
	}
	EFSVolume struct {
		FileSystemID          string            `json:"fileSystemId"`
		RootDirectory         string            `json:"rootDirectory,omitempty"`
		TransitEncryption     string            `json:"transitEncryption,omitempty"`
		TransitEncryptionPort *int              `json:"transitEncryptionPort,omitempty"`
		Authorization         *EFSAuthorization `json:"authorizationConfig,omitempty"`
	}
	EFSAuthorization struct {
		AccessPointID string `json:"accessPointId,omitempty"`
		IAM           string `json:"iam,omitempty"`
	}
	S3FilesVolume struct {
		FileSystemARN         string `json:"fileSystemArn"`
		RootDirectory         string `json:"rootDirectory,omitempty"`
		TransitEncryptionPort *int   `json:"transitEncryptionPort,omitempty"`
		AccessPointARN        string `json:"accessPointArn,omitempty"`
	}
	FSxWindowsVolume struct {
		FileSystemID  string            `json:"fileSystemId"`
		RootDirectory string            `json:"rootDirectory"`
		Authorization *FSxAuthorization `json:"authorizationConfig"`
	}
	FSxAuthorization struct {
		CredentialsParameter string `json:"credentialsParameter"`
		Domain               string `json:"domain"`
	}
	PlacementConstraint struct {
		Type       string `json:"type,omitempty"`
		Expression string `json:"expression,omitempty"`
	}
	ProxyConfiguration struct {
		Type          string         `json:"type,omitempty"`
		ContainerName string         `json:"containerName"`
		Properties    []KeyValuePair `json:"properties,omitempty"`
	}
	InferenceAccelerator struct {
		DeviceName string `json:"deviceName"`
		DeviceType string `json:"deviceType"`
	}
	RuntimePlatform struct {
		CPUArchitecture       string `json:"cpuArchitecture,omitempty"`
		OperatingSystemFamily string `json:"operatingSystemFamily,omitempty"`
	}
	TrustedExecutionConfiguration struct {
		IsolationMode     string `json:"isolationMode"`
		AttestationPolicy string `json:"attestationPolicy,omitempty"`
	}
	Attribute struct {
		Name       string `json:"name"`
		Value      string `json:"value,omitempty"`
		TargetType string `json:"targetType,omitempty"`
		TargetID   string `json:"targetId,omitempty"`
	}
)

// What a container can wait for in another (ECS API, ContainerDependency).
const (
	DependStart    = "START"
	DependComplete = "COMPLETE"
	DependSuccess  = "SUCCESS"
	DependHealthy  = "HEALTHY"
)

// Overrides is what one run changes in its Definition: the ECS API's
// TaskOverride.
type Overrides struct {
	Containers            []ContainerOverride    `json:"containerOverrides"`
	CPU                   string                 `json:"cpu,omitempty"`
	Memory                string                 `json:"memory,omitempty"`
	InferenceAccelerators []InferenceAccelerator `json:"inferenceAcceleratorOverrides"`
	ExecutionRoleARN      string                 `json:"executionRoleArn,omitempty"`
	TaskRoleARN           string                 `json:"taskRoleArn,omitempty"`
	EphemeralStorage      *EphemeralStorage      `json:"ephemeralStorage,omitempty"`
}

// ContainerOverride is what one run changes in one container.
type ContainerOverride struct {
	Name                 string                `json:"name"`
	Command              []string              `json:"command,omitempty"`
	Environment          []KeyValuePair        `json:"environment,omitempty"`
	EnvironmentFiles     []EnvironmentFile     `json:"environmentFiles,omitempty"`
	CPU                  *int                  `json:"cpu,omitempty"`
	Memory               *int                  `json:"memory,omitempty"`
	MemoryReservation    *int                  `json:"memoryReservation,omitempty"`
	ResourceRequirements []ResourceRequirement `json:"resourceRequirements,omitempty"`
}
