package task

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"berth/fault"
)

// Limits of a definition (ECS service quotas; ECS API, RegisterTaskDefinition).
const (
	maxContainers = 10
	maxTags       = 50
	maxTagKey     = 128
	maxTagValue   = 256
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// validName reports whether s can name a family, a container or a volume.
func validName(s string) bool { return namePattern.MatchString(s) }

// validate returns the first thing about d that Fargate refuses, in the order of
// the fields. The texts are AWS's where they are known; in them, curly quotes are
// AWS's too.
func (d Definition) validate() error {
	return first(
		func() error { return nameAt("family", d.Family, "Family") },
		func() error { return validateRoles("", d.TaskRoleARN, d.ExecutionRoleARN) },
		d.validateModes,
		d.validateContainers,
		d.validateVolumes,
		func() error {
			if len(d.PlacementConstraints) > 0 {
				return unsupportedByFargate("placementConstraints", "constraints")
			}
			return nil
		},
		d.validateCompatibility,
		d.validateSize,
		func() error { return ValidateTags(d.Tags) },
		d.validateRest,
	)
}

// first returns the first error.
func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func nameAt(field, name, what string) error {
	switch {
	case name == "":
		return fault.At(field, "%s should not be null or empty.", what)
	case !validName(name):
		return fault.At(field, "%s contains invalid characters: up to 255 letters, numbers, underscores and hyphens are allowed.", what)
	}
	return nil
}

// validateRoles checks the roles of a definition or, if at is not empty, of overrides. A
// role may go by its name here, so more is not asked of it.
func validateRoles(at, task, execution string) error {
	const text = "must not contain control characters"
	switch {
	case hasControl(task):
		return fault.At(at+"taskRoleArn", text)
	case hasControl(execution):
		return fault.At(at+"executionRoleArn", text)
	}
	return nil
}

// oneOf refuses a value that is none of those the ECS model lists. Empty means
// absent.
func oneOf(field, v string, allowed ...string) error {
	if v == "" || slices.Contains(allowed, v) {
		return nil
	}
	return fault.At(field, "must be one of %s, not %q", strings.Join(allowed, ", "), v)
}

func unsupportedByFargate(field, what string) error {
	return fault.At(field, "Fargate compatible task definitions do not support %s", what)
}

func (d Definition) fargate() bool { return slices.Contains(d.RequiresCompatibilities, "FARGATE") }

func (d Definition) windows() bool {
	return d.RuntimePlatform != nil && strings.HasPrefix(d.RuntimePlatform.OperatingSystemFamily, "WINDOWS")
}

func (d Definition) validateModes() error {
	if d.NetworkMode != "awsvpc" && (d.NetworkMode != "" || d.fargate()) {
		if err := oneOf("networkMode", d.NetworkMode, "bridge", "host", "awsvpc", "none"); err != nil {
			return err
		}
		return fault.At("networkMode", "Fargate only supports network mode ‘awsvpc’.")
	}
	return nil
}

func (d Definition) validateCompatibility() error {
	for i, c := range d.RequiresCompatibilities {
		if err := oneOf(fmt.Sprintf("requiresCompatibilities[%d]", i), c, "EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"); err != nil {
			return err
		}
	}
	if len(d.RequiresCompatibilities) > 0 && !d.fargate() {
		return fault.At("requiresCompatibilities", "must include FARGATE: Berth runs tasks as Fargate does")
	}
	return nil
}

func (d Definition) validateSize() error {
	size, err := ParseSize(d.CPU, d.Memory)
	if err != nil {
		return err
	}
	if d.windows() && (size.CPU < 1024 || size.CPU > 4096) {
		return fault.At("memory", "No Fargate configuration exists for given values: %d CPU, %d memory. "+
			"See the Amazon ECS documentation for the valid values.", size.CPU, size.Memory)
	}
	cpu := 0
	for i, c := range d.ContainerDefinitions {
		at := fmt.Sprintf("containerDefinitions[%d].", i)
		if c.Memory > size.Memory {
			return fault.At(at+"memory", "The 'memory' setting for container '%s' is greater than for the task.", c.Name)
		}
		if c.MemoryReservation > size.Memory {
			return fault.At(at+"memoryReservation", "The 'memoryReservation' setting for container '%s' is greater than for the task.", c.Name)
		}
		if cpu += c.CPU; cpu > size.CPU {
			return fault.At(at+"cpu", "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value")
		}
	}
	return nil
}

func (d Definition) validateRest() error {
	if err := oneOf("pidMode", d.PIDMode, "host", "task"); err != nil {
		return err
	}
	if d.PIDMode == "host" {
		return fault.At("pidMode", "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.")
	}
	if d.IPCMode != "" {
		return unsupportedByFargate("ipcMode", "ipcMode")
	}
	if p := d.ProxyConfiguration; p != nil {
		if d.container(p.ContainerName) == nil {
			return fault.At("proxyConfiguration.containerName", "no container is called %q", p.ContainerName)
		}
		if err := oneOf("proxyConfiguration.type", p.Type, "APPMESH"); err != nil {
			return err
		}
	}
	if len(d.InferenceAccelerators) > 0 {
		return fault.At("inferenceAccelerators", "Unsupported field 'inferenceAccelerators'")
	}
	if err := validateEphemeral("ephemeralStorage", d.EphemeralStorage); err != nil {
		return err
	}
	if p := d.RuntimePlatform; p != nil {
		if err := oneOf("runtimePlatform.cpuArchitecture", p.CPUArchitecture, "X86_64", "ARM64"); err != nil {
			return err
		}
		if err := oneOf("runtimePlatform.operatingSystemFamily", p.OperatingSystemFamily, "LINUX",
			"WINDOWS_SERVER_2019_FULL", "WINDOWS_SERVER_2019_CORE", "WINDOWS_SERVER_2022_FULL", "WINDOWS_SERVER_2022_CORE",
			"WINDOWS_SERVER_2025_FULL", "WINDOWS_SERVER_2025_CORE"); err != nil {
			return err
		}
		if d.windows() && p.CPUArchitecture == "ARM64" {
			return fault.At("runtimePlatform.cpuArchitecture", "Windows tasks run on X86_64 only")
		}
	}
	if d.TrustedExecution != nil {
		return unsupportedByFargate("trustedExecutionConfiguration", "trustedExecutionConfiguration")
	}
	return nil
}

func validateEphemeral(field string, e *EphemeralStorage) error {
	switch {
	case e == nil:
		return nil
	case e.SizeInGiB < 21:
		return fault.At(field+".sizeInGiB", "EphemeralStorage size should be at least 21")
	case e.SizeInGiB > 200:
		return fault.At(field+".sizeInGiB", "EphemeralStorage size should be at most 200")
	}
	return nil
}

// container returns the container of that name, or nil.
func (d Definition) container(name string) *ContainerDefinition {
	for i := range d.ContainerDefinitions {
		if d.ContainerDefinitions[i].Name == name {
			return &d.ContainerDefinitions[i]
		}
	}
	return nil
}

// tagPattern is what keys and values of tags are made of (ECS API, Tag).
var tagPattern = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

const tagCharacters = "a tag has letters, numbers, spaces and _ . : / = + - @ only"

// ValidTagKey reports whether s can be the key of a tag.
func ValidTagKey(s string) bool {
	n := utf8.RuneCountInString(s)
	return n >= 1 && n <= maxTagKey && tagPattern.MatchString(s)
}

// ValidateTags reports what is wrong with a resource's tags (ECS API, Tag).
func ValidateTags(tags []Tag) error {
	if len(tags) > maxTags {
		return fault.At("tags", "a resource has at most %d tags, not %d", maxTags, len(tags))
	}
	seen := make(map[string]bool)
	for i, t := range tags {
		at := fmt.Sprintf("tags[%d].", i)
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey:
			return fault.At(at+"key", "a tag's key has 1 to %d characters", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return fault.At(at+"value", "a tag's value has at most %d characters", maxTagValue)
		case !tagPattern.MatchString(t.Key):
			return fault.At(at+"key", tagCharacters)
		case !tagPattern.MatchString(t.Value):
			return fault.At(at+"value", tagCharacters)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return fault.At(at+"key", "the prefix aws: is reserved")
		case seen[t.Key]:
			return fault.At(at+"key", "the key %q is there twice", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}
