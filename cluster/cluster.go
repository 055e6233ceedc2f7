// Package cluster is what the ECS API calls a cluster: a name under which tasks and
// services are kept together, with defaults for them. Pure.
package cluster

import (
	"regexp"
	"slices"
	"time"

	"berth/fault"
	"berth/task"
)

// The states of a cluster.
const (
	Active   = "ACTIVE"
	Inactive = "INACTIVE" // deleted; can still be described
)

// Cluster is a cluster of an account and region. Its JSON is how it is kept; members have
// the names of the ECS API's Cluster.
type Cluster struct {
	Name              string                  `json:"clusterName"`
	Status            string                  `json:"status"`
	Settings          []Setting               `json:"settings"`
	Configuration     *Configuration          `json:"configuration,omitempty"`
	CapacityProviders []string                `json:"capacityProviders"` // FARGATE and FARGATE_SPOT, as far as they were associated
	DefaultStrategy   []task.CapacityProvider `json:"defaultCapacityProviderStrategy"`
	Namespace         string                  `json:"serviceConnectNamespace,omitempty"` // default of services with Service Connect
	Tags              []task.Tag              `json:"tags"`
	CreatedAt         time.Time               `json:"createdAt,omitzero"`
	DeletedAt         time.Time               `json:"deletedAt,omitzero"`
}

// Setting is a setting of a cluster (ECS API, ClusterSetting).
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Configuration is the ClusterConfiguration of the ECS API.
type Configuration struct {
	ExecuteCommand *ExecuteCommand `json:"executeCommandConfiguration,omitempty"`
	ManagedStorage *ManagedStorage `json:"managedStorageConfiguration,omitempty"`
}

// ExecuteCommand says what is recorded of sessions in containers (ECS API,
// ExecuteCommandConfiguration).
type ExecuteCommand struct {
	KMSKeyID string      `json:"kmsKeyId,omitempty"`
	Logging  string      `json:"logging,omitempty"` // NONE, DEFAULT or OVERRIDE
	Logs     *ExecuteLog `json:"logConfiguration,omitempty"`
}

// ExecuteLog is where sessions are recorded (ECS API, ExecuteCommandLogConfiguration).
type ExecuteLog struct {
	CloudWatchLogGroup string `json:"cloudWatchLogGroupName,omitempty"`
	CloudWatchEncrypt  bool   `json:"cloudWatchEncryptionEnabled,omitempty"`
	S3Bucket           string `json:"s3BucketName,omitempty"`
	S3Encrypt          bool   `json:"s3EncryptionEnabled,omitempty"`
	S3Prefix           string `json:"s3KeyPrefix,omitempty"`
}

// ManagedStorage names keys of storage (ECS API, ManagedStorageConfiguration).
type ManagedStorage struct {
	KMSKeyID          string `json:"kmsKeyId,omitempty"`
	EphemeralKMSKeyID string `json:"fargateEphemeralStorageKmsKeyId,omitempty"`
}

// ContainerInsights is the one setting that clusters have.
const ContainerInsights = "containerInsights"

var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// New returns the cluster of that name, ACTIVE, as CreateCluster makes it without more. A
// name that no cluster can have is fault.Invalid.
func New(called string, now time.Time) (Cluster, error) {
	if !name.MatchString(called) {
		return Cluster{}, fault.At("clusterName", "Cluster name must have at most 255 letters, numbers, hyphens and underscores.")
	}
	return Cluster{
		Name: called, Status: Active, Settings: []Setting{{ContainerInsights, "disabled"}},
		CapacityProviders: []string{}, DefaultStrategy: []task.CapacityProvider{}, Tags: []task.Tag{}, CreatedAt: now,
	}, nil
}

// Default is the cluster that is there without being made. It takes both of Fargate's
// capacity providers.
func Default() Cluster {
	c, _ := New(task.DefaultCluster, time.Time{}) // The name is ours.
	c.CapacityProviders = Providers()
	return c
}

// Providers are the capacity providers that every account has.
func Providers() []string { return []string{"FARGATE", "FARGATE_SPOT"} }

// Validate reports the first thing wrong with what can be set about c.
func (c Cluster) Validate() error {
	for i, s := range c.Settings {
		if s.Name != ContainerInsights {
			return fault.At("settings", "Invalid cluster setting name: %s", s.Name)
		}
		if !slices.Contains([]string{"enabled", "disabled", "enhanced"}, s.Value) {
			return fault.At("settings", "Invalid cluster setting value %q of %s; it can be enabled, disabled or enhanced", s.Value, c.Settings[i].Name)
		}
	}
	if e := c.Configuration; e != nil && e.ExecuteCommand != nil {
		if err := e.ExecuteCommand.validate(); err != nil {
			return err
		}
	}
	for _, p := range c.CapacityProviders {
		if !slices.Contains(Providers(), p) {
			return fault.At("capacityProviders", "The specified capacity provider '%s' was not found. Specify a valid capacity provider and try again.", p)
		}
	}
	for _, p := range c.DefaultStrategy {
		if !slices.Contains(c.CapacityProviders, p.Name) {
			return fault.At("defaultCapacityProviderStrategy", "The specified capacity provider '%s' is not associated with the cluster.", p.Name)
		}
	}
	return task.ValidateTags(c.Tags)
}

func (e ExecuteCommand) validate() error {
	const at = "configuration.executeCommandConfiguration."
	if !slices.Contains([]string{"", "NONE", "DEFAULT", "OVERRIDE"}, e.Logging) {
		return fault.At(at+"logging", "must be NONE, DEFAULT or OVERRIDE, not %q", e.Logging)
	}
	if (e.Logging == "OVERRIDE") != (e.Logs != nil) {
		return fault.At(at+"logConfiguration", "logConfiguration must be given with logging OVERRIDE, and only then")
	}
	return nil
}
