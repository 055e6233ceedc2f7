package task

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"berth/fault"
	"berth/money"
)

// Run is the wish to run a definition: the RunTask request of the ECS API as far
// as it concerns Fargate, plus the fields that only Berth has.
type Run struct {
	Realm      Realm                 `json:",omitzero"` // where the tasks will be
	Definition string                // family, family:revision or ARN; a family alone means its latest ACTIVE revision
	Count      int                   // 1 to 10 (ECS API, RunTask); 0 means 1
	Overrides  Overrides             //
	Tags       []Tag                 // at most 50
	Group      string                // default family:NAME
	StartedBy  string                // at most 128 characters
	Service    string                `json:",omitempty"` // name of the service that it is for: its Group is the service's, and its definition may be INACTIVE
	MaxCost    money.Amount          `json:",omitempty"` // Berth: the most that the tasks may cost, which they share evenly; 0 means no limit
	Timeout    Seconds               // Berth: stop the task this long after it started running; 0 means never
	LaunchType string                // FARGATE, also if empty; not beside Providers
	Providers  []CapacityProvider    `json:",omitempty"` // which share of the tasks runs where; none: on demand
	Network    *NetworkConfiguration `json:",omitempty"`
	Runtime    RuntimeClass          `json:",omitempty"` // Berth: empty means the server's default

	// PropagateTags says that the tasks get the definition's tags too, as it has them when
	// they are made; those of Tags count more.
	PropagateTags bool `json:",omitempty"`

	// ManagedTags are tags of the server's own, which begin with aws:, besides Tags.
	ManagedTags []Tag `json:",omitempty"`

	// LoadBalancers are the target groups whose targets the tasks are, at most 5. They are
	// not looked up: a group that is made later finds them.
	LoadBalancers []LoadBalancer `json:",omitempty"`

	// EnableExecuteCommand lets people into the tasks with ECS's ExecuteCommand, which needs
	// a role of the task.
	EnableExecuteCommand bool `json:",omitempty"`

	Token string // idempotency: the same token with the same request returns the same tasks; at most 64 characters

	// Inline is the definition itself, which Definition then does not name: Berth
	// runs what it never saw before, and registers it.
	Inline *Definition `json:",omitempty"`
}

// Limits of a run (ECS API, RunTask).
const (
	MaxCount     = 10
	maxOverrides = 8192 // characters of their JSON
	maxStartedBy = 128
	maxToken     = 64
	maxGroup     = 255

	// maxTimeout is 14 days: AWS Batch does not promise Fargate for longer.
	maxTimeout Seconds = 14 * 24 * 3600
)

var startedByPattern = regexp.MustCompile(`^[A-Za-z0-9_/-]*$`)

// Validate reports the first thing wrong with r that does not depend on its
// definition.
func (r Run) Validate() error {
	if r.Inline == nil {
		if r.Definition == "" {
			return fault.At("taskDefinition", "TaskDefinition can not be blank.")
		}
		if _, _, err := ParseDefinitionRef(r.Definition); err != nil {
			return err
		}
	}
	switch {
	case r.Count < 0 || r.Count > MaxCount:
		return fault.At("count", "must be from 1 to %d, not %d", MaxCount, r.Count)
	case len(r.Group) > maxGroup:
		return fault.At("group", "has at most %d characters", maxGroup)
	case strings.HasPrefix(r.Group, "service:") && (r.Service == "" || r.Group != "service:"+r.Service):
		return fault.At("group", "Invalid namespace for group: service: is for the tasks of services")
	case len(r.StartedBy) > maxStartedBy || !startedByPattern.MatchString(r.StartedBy):
		return fault.At("startedBy", "has at most %d letters, numbers, hyphens, underscores and slashes", maxStartedBy)
	case r.Timeout < 0 || r.Timeout > maxTimeout:
		return fault.At("timeoutSeconds", "must be from 1 to %d (14 days), or 0 for none", maxTimeout)
	case r.MaxCost < 0:
		return fault.At("maxCost", "must be more than 0; leave it out for no limit")
	case len(r.Token) > maxToken || strings.ContainsFunc(r.Token, func(c rune) bool { return c < 33 || c > 126 }):
		return fault.At("clientToken", "has at most %d visible ASCII characters", maxToken)
	}
	if err := ValidateTags(r.Tags); err != nil {
		return err
	}
	if err := r.Network.validate(); err != nil {
		return err
	}
	if err := r.validateCapacity(); err != nil {
		return err
	}
	if _, err := ParseRuntimeClass("runtime", string(r.Runtime)); err != nil {
		return err
	}
	if err := r.validateLoadBalancers(); err != nil {
		return err
	}
	return r.Overrides.validate()
}

// validate checks what can be checked without the definition.
func (o Overrides) validate() error {
	if b, err := json.Marshal(o); err != nil || len(b) > maxOverrides {
		return fault.At("overrides", "has at most %d characters as JSON", maxOverrides)
	}
	if len(o.InferenceAccelerators) > 0 {
		return fault.At("overrides.inferenceAcceleratorOverrides", "Unsupported field 'inferenceAcceleratorOverrides'")
	}
	if err := validateEphemeral("overrides.ephemeralStorage", o.EphemeralStorage); err != nil {
		return err
	}
	if err := validateRoles("overrides.", o.TaskRoleARN, o.ExecutionRoleARN); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for i, c := range o.Containers {
		at := fmt.Sprintf("overrides.containerOverrides[%d].", i)
		switch {
		case c.Name == "":
			return fault.At(at+"name", "Container name cannot be empty.")
		case seen[c.Name]:
			return fault.At(at+"name", "container %q is overridden twice", c.Name)
		case c.CPU != nil && *c.CPU < 0:
			return fault.At(at+"cpu", "must not be negative")
		case c.Memory != nil && *c.Memory < 6:
			return fault.At(at+"memory", "must be at least 6 MiB")
		case c.MemoryReservation != nil && *c.MemoryReservation < 6:
			return fault.At(at+"memoryReservation", "must be at least 6 MiB")
		case len(c.ResourceRequirements) > 0:
			return fault.At(at+"resourceRequirements", "Tasks using the Fargate launch type do not support %s resource requirements", c.ResourceRequirements[0].Type)
		}
		seen[c.Name] = true
		if err := validateEnvironment(at, ContainerDefinition{Environment: c.Environment, EnvironmentFiles: c.EnvironmentFiles, Command: c.Command}); err != nil {
			return err
		}
	}
	return nil
}

// container returns the override of that container, empty if there is none.
func (o Overrides) container(name string) ContainerOverride {
	for _, c := range o.Containers {
		if c.Name == name {
			return c
		}
	}
	return ContainerOverride{}
}

// Tasks returns the tasks, in PROVISIONING, that a run of d makes, with an ID from newID
// for each. The errors are those of New.
func Tasks(d Definition, r Run, newID func() ID, now Instant) ([]Task, error) {
	var ts []Task
	for _, provider := range Share(r.Providers, max(r.Count, 1)) {
		t, err := New(d, r, newID(), now)
		if err != nil {
			return nil, err
		}
		t.CapacityProvider = provider
		t.MaxCost = r.MaxCost / money.Amount(max(r.Count, 1))
		ts = append(ts, t)
	}
	return ts, nil
}

// New returns the task, in PROVISIONING, that a run of d makes on demand. The errors are
// fault.Invalid: overrides that do not go with d.
func New(d Definition, r Run, id ID, now Instant) (Task, error) {
	realm, o := r.Realm, r.Overrides
	for i, c := range o.Containers {
		if d.container(c.Name) == nil {
			return Task{}, fault.At(fmt.Sprintf("overrides.containerOverrides[%d].name", i),
				"Override for container named %s is not a container in the TaskDefinition.", c.Name)
		}
	}
	if err := d.CheckLoadBalancers(r.LoadBalancers); err != nil {
		return Task{}, err
	}
	if r.EnableExecuteCommand && d.TaskRoleARN == "" && o.TaskRoleARN == "" {
		return Task{}, fault.At("enableExecuteCommand", "The task couldn't be run because a valid taskRoleArn is not being used. "+
			"Specify a valid task role in your task definition and try again.")
	}
	d, err := d.resize(o)
	if err != nil {
		return Task{}, err
	}
	t := Task{
		ARN: realm.TaskARN(id), ID: id, ClusterARN: realm.ClusterARN(), DefinitionARN: d.ARN,
		LastStatus: Provisioning, DesiredStatus: Running, Version: 1,
		CPU: d.CPU, Memory: d.Memory,
		Group: r.Group, StartedBy: r.StartedBy, Tags: r.tags(d),
		LaunchType: "FARGATE", Platform: "1.4.0", Family: "Linux", Health: "UNKNOWN",
		Timeout: r.Timeout, Overrides: o, Attachments: []Attachment{}, EnableExecuteCommand: r.EnableExecuteCommand,
		Ephemeral: &EphemeralStorage{SizeInGiB: DefaultEphemeralGiB},
		Arch:      d.arch(),

		NetworkConfiguration: r.Network,
		Runtime:              r.Runtime,
		LoadBalancers:        r.LoadBalancers,
		CreatedAt:            now.Wall, Clock: now,
	}
	if t.Group == "" {
		t.Group = "family:" + d.Family
	}
	if d.EphemeralStorage != nil {
		t.Ephemeral = d.EphemeralStorage
	}
	t.Overrides.Containers = list(o.Containers)
	t.Overrides.InferenceAccelerators = list(o.InferenceAccelerators)
	for _, c := range d.ContainerDefinitions {
		p := plan(c, o.container(c.Name))
		t.Containers = append(t.Containers, Container{
			ARN: realm.containerARN(id, c.Name), TaskARN: t.ARN, Name: c.Name, Image: c.Image,
			LastStatus: Pending, Health: "UNKNOWN", Essential: p.Essential,
			CPU: itoa(p.CPU), Memory: omitZero(p.Memory), MemoryReservation: omitZero(p.MemoryReservation),
			NetworkInterfaces: []NetworkInterface{}, NetworkBindings: c.bindings(r.Network),
		})
	}
	if len(t.Publish()) > maxPublished {
		return Task{}, fault.At("networkConfiguration.awsvpcConfiguration.assignPublicIp", "a task can publish %d ports at most", maxPublished)
	}
	return t, nil
}

// resize returns d with the sizes that o asks for, if they fit each other.
func (d Definition) resize(o Overrides) (Definition, error) {
	if o.CPU != "" {
		d.CPU = o.CPU
	}
	if o.Memory != "" {
		d.Memory = o.Memory
	}
	if o.EphemeralStorage != nil {
		d.EphemeralStorage = o.EphemeralStorage
	}
	defined := d.ContainerDefinitions
	d.ContainerDefinitions = make([]ContainerDefinition, len(defined))
	for i, c := range defined {
		p := plan(c, o.container(c.Name))
		c.CPU, c.Memory, c.MemoryReservation = p.CPU, p.Memory, p.MemoryReservation
		d.ContainerDefinitions[i] = c
	}
	if err := d.validateSize(); err != nil {
		return d, fault.At("overrides", "%s", fault.Message(err))
	}
	size, err := ParseSize(d.CPU, d.Memory)
	if err != nil {
		return d, err
	}
	d.CPU, d.Memory = itoa(size.CPU), itoa(size.Memory)
	return d, nil
}

// arch returns the CPU architecture that d runs on, in ECS's words.
func (d Definition) arch() string {
	if d.RuntimePlatform != nil && d.RuntimePlatform.CPUArchitecture != "" {
		return d.RuntimePlatform.CPUArchitecture
	}
	return "X86_64"
}

func omitZero(n int) string {
	if n == 0 {
		return ""
	}
	return itoa(n)
}

// Unsupported reports the first thing that a run of d asks for and this version
// of Berth does not do yet. It would be worse to run without it. arch is the
// host's CPU architecture in ECS's words.
func Unsupported(d Definition, r Run, arch string) error {
	not := func(field, what string) error {
		return fault.At(field, "%s is not supported by this version of Berth yet", what)
	}
	if d.windows() {
		return not("taskDefinition.runtimePlatform.operatingSystemFamily", "Windows")
	}
	if d.arch() != arch {
		return fault.At("taskDefinition.runtimePlatform.cpuArchitecture", "the task needs %s and this host is %s", d.arch(), arch)
	}
	if d.PIDMode != "" {
		return not("taskDefinition.pidMode", "pidMode task")
	}
	if d.ProxyConfiguration != nil {
		return not("taskDefinition.proxyConfiguration", "proxyConfiguration")
	}
	for i, v := range d.Volumes {
		at := fmt.Sprintf("taskDefinition.volumes[%d].", i)
		switch {
		case v.EFS != nil && v.EFS.Authorization != nil && v.EFS.Authorization.AccessPointID != "":
			return not(at+"efsVolumeConfiguration.authorizationConfig.accessPointId", "an access point")
		case v.S3Files != nil:
			return not(at+"s3filesVolumeConfiguration", "a volume in S3 Files")
		case v.FSxWindows != nil:
			return not(at+"fsxWindowsFileServerVolumeConfiguration", "a volume in FSx")
		case v.ConfiguredAtLaunch != nil && *v.ConfiguredAtLaunch:
			return not(at+"configuredAtLaunch", "a volume configured at launch")
		}
	}
	for i, c := range d.ContainerDefinitions {
		at := fmt.Sprintf("taskDefinition.containerDefinitions[%d].", i)
		switch {
		case unsupportedSecret(c.Secrets) >= 0:
			return not(fmt.Sprintf("%ssecrets[%d].valueFrom", at, unsupportedSecret(c.Secrets)), "a version of a secret other than "+currentStage)
		case c.LogConfiguration != nil && len(c.LogConfiguration.SecretOptions) > 0:
			return not(at+"logConfiguration.secretOptions", "secretOptions")
		case c.RepositoryCredentials != nil:
			return not(at+"repositoryCredentials", "repositoryCredentials")
		case c.FirelensConfiguration != nil:
			return not(at+"firelensConfiguration", "firelensConfiguration")
		case c.LogConfiguration != nil && c.LogConfiguration.LogDriver != "awslogs":
			return not(at+"logConfiguration.logDriver", "log driver "+c.LogConfiguration.LogDriver)
		case len(c.CredentialSpecs) > 0:
			return not(at+"credentialSpecs", "credentialSpecs")
		}
		for j, u := range c.Ulimits {
			if u.Name == "rtprio" && (u.SoftLimit != 0 || u.HardLimit != 0) {
				return fault.At(fmt.Sprintf("%sulimits[%d]", at, j), "a real-time process is not held by the limit of its task's CPU, so rtprio can only be 0")
			}
		}
	}
	return nil
}
