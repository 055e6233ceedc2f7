package ecs

import (
	"regexp"
	"slices"
	"strings"

	"berth/server/aws/wire"
	"berth/task"
)

// definitionShape is TaskDefinition of the ECS API: what was registered and what AWS adds
// to it. The fields here count instead of those of the same name within.
type definitionShape struct {
	task.Definition
	Volumes          []volumeShape    `json:"volumes"`
	Tags             *task.Tag        `json:"tags,omitempty"` // Tags are beside a definition, not in it.
	FaultInjection   bool             `json:"enableFaultInjection"`
	Attributes       []task.Attribute `json:"requiresAttributes"`
	RegisteredAt     wire.Time        `json:"registeredAt,omitzero"`
	DeregisteredAt   wire.Time        `json:"deregisteredAt,omitzero"`
	DeleteRequested  wire.Time        `json:"deleteRequestedAt,omitzero"`
	Containers       []containerLook  `json:"containerDefinitions"`
	DefinitionStatus string           `json:"status"`
}

// volumeShape is Volume with the empty host that AWS gives to a volume of nothing else.
type volumeShape struct {
	task.Volume
	Host *task.HostVolume `json:"host,omitempty"`
}

// containerLook is ContainerDefinition with what AWS fills in.
type containerLook struct {
	task.ContainerDefinition
	HealthCheck *task.HealthCheck `json:"healthCheck,omitempty"`
}

// describeDefinition returns a registered definition as the ECS API describes it.
func describeDefinition(d task.Definition) definitionShape {
	shape := definitionShape{
		Definition: d, Volumes: []volumeShape{}, Containers: []containerLook{}, FaultInjection: d.EnableFaultInjection,
		Attributes: requiredAttributes(d), DefinitionStatus: d.Status,
		RegisteredAt: wire.At(d.RegisteredAt), DeregisteredAt: wire.At(d.DeregisteredAt), DeleteRequested: wire.At(d.DeleteRequested),
	}
	for _, v := range d.Volumes {
		look := volumeShape{Volume: v, Host: v.Host}
		bare := v.Host == nil && v.Docker == nil && v.EFS == nil && v.S3Files == nil && v.FSxWindows == nil && v.ConfiguredAtLaunch == nil
		if bare {
			look.Host = new(task.HostVolume)
		}
		shape.Volumes = append(shape.Volumes, look)
	}
	for _, c := range d.ContainerDefinitions {
		shape.Containers = append(shape.Containers, containerLook{c, healthCheck(c.HealthCheck)})
	}
	return shape
}

// healthCheck returns a health check with the times that hold where it says none (ECS API,
// HealthCheck).
func healthCheck(h *task.HealthCheck) *task.HealthCheck {
	if h == nil {
		return nil
	}
	full := *h
	for _, m := range []struct {
		v     **int
		usual int
	}{{&full.Interval, 30}, {&full.Timeout, 5}, {&full.Retries, 3}} {
		if *m.v == nil {
			*m.v = &m.usual
		}
	}
	return &full
}

var ecrImage = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr\.`)

// requiredAttributes returns what an instance's agent would have to be able to do for d.
// Nothing on Fargate needs it, but AWS says it of every definition; the names are those of
// the ECS agent's capabilities.
func requiredAttributes(d task.Definition) []task.Attribute {
	const (
		agent  = "com.amazonaws.ecs.capability."
		ecs    = "ecs.capability."
		docker = agent + "docker-remote-api."
	)
	var names []string
	when := func(yes bool, need ...string) {
		if yes {
			names = append(names, need...)
		}
	}
	when(true, docker+"1.18", ecs+"task-eni")
	when(d.TaskRoleARN != "", agent+"task-iam-role")
	when(d.PIDMode != "" || d.IPCMode != "", ecs+"pid-ipc-namespace-sharing")
	for _, v := range d.Volumes {
		when(v.EFS != nil, ecs+"efs", ecs+"efsAuth", docker+"1.25")
	}
	for _, c := range d.ContainerDefinitions {
		when(ecrImage.MatchString(c.Image), agent+"ecr-auth", ecs+"execution-role-ecr-pull")
		when(len(c.DependsOn) > 0, ecs+"container-ordering")
		when(c.HealthCheck != nil, ecs+"container-health-check", docker+"1.24")
		when(c.RestartPolicy != nil, ecs+"container-restart-policy")
		when(len(c.EnvironmentFiles) > 0, ecs+"env-files.s3")
		when(c.RepositoryCredentials != nil, ecs+"private-registry-authentication.secretsmanager")
		when(c.FirelensConfiguration != nil, ecs+"firelens.fluentbit")
		for _, secret := range c.Secrets {
			manager := strings.Contains(secret.ValueFrom, ":secretsmanager:")
			when(manager, ecs+"secrets.asm.environment-variables")
			when(!manager, ecs+"secrets.ssm.environment-variables")
		}
		if l := c.LogConfiguration; l != nil {
			when(true, agent+"logging-driver."+l.LogDriver)
			when(l.LogDriver == "awslogs", ecs+"execution-role-awslogs", docker+"1.19")
		}
	}
	slices.Sort(names)
	attributes := []task.Attribute{}
	for _, name := range slices.Compact(names) {
		attributes = append(attributes, task.Attribute{Name: name})
	}
	return attributes
}
