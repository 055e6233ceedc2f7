package task

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"berth/fault"
	"berth/strictjson"
)

// maxDefinition is the most that a definition may measure as JSON, in bytes (ECS
// service quotas, "Task definition size limit").
const maxDefinition = 64 << 10

// ParseDefinition reads the JSON of a task definition, refuses what Fargate
// refuses, in AWS's words where they are known, and returns it normalised. Every
// error is a fault.Invalid with the path of the field, or fault.TooLarge.
func ParseDefinition(raw []byte) (Definition, error) {
	if len(raw) > maxDefinition {
		return Definition{}, fault.New(fault.TooLarge, "the task definition has %d bytes; the most is %d (64 KiB)", len(raw), maxDefinition)
	}
	var d Definition
	if err := strictjson.Unmarshal(raw, &d); err != nil {
		return Definition{}, answerOnly(err)
	}
	return d.accepted()
}

// Accepted is ParseDefinition for a definition that was read already.
func (d Definition) Accepted() (Definition, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return Definition{}, fmt.Errorf("encode definition: %w", err)
	}
	if len(raw) > maxDefinition {
		return Definition{}, fault.New(fault.TooLarge, "Actual length: '%d'. Max allowed length is '%d' bytes.", len(raw), maxDefinition)
	}
	return d.accepted()
}

func (d Definition) accepted() (Definition, error) {
	if r := d.Registration.first(); r != "" {
		return Definition{}, fault.At(r, "is set by the server when the definition is registered; take it out")
	}
	if err := d.validate(); err != nil {
		return Definition{}, err
	}
	return d.normalise(), nil
}

// answerFields are the fields that answers of the API have and requests have not.
var answerFields = []string{"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
	"registeredAt", "deregisteredAt", "deleteRequestedAt", "registeredBy"}

// answerOnly says of a mistake inside a field that has no place in a request
// only that.
func answerOnly(err error) error {
	field, _, _ := strings.Cut(fault.FieldOf(err), "[")
	field, _, _ = strings.Cut(field, ".")
	if slices.Contains(answerFields, field) {
		return fault.At(field, "is set by the server when the definition is registered; take it out")
	}
	return err
}

// first returns the JSON name of the first field of r that is set, or "".
func (r Registration) first() string {
	set := []bool{r.ARN != "", r.Revision != 0, r.Status != "", r.RequiresAttrs != nil, r.Compatibilities != nil,
		!r.RegisteredAt.IsZero(), !r.DeregisteredAt.IsZero(), !r.DeleteRequested.IsZero(), r.RegisteredBy != ""}
	if i := slices.Index(set, true); i >= 0 {
		return answerFields[i]
	}
	return ""
}

// normalise fills in what the ECS API fills in when it registers a definition,
// and makes cpu and memory plain integers. d is valid.
func (d Definition) normalise() Definition {
	size, err := ParseSize(d.CPU, d.Memory)
	if err == nil {
		d.CPU, d.Memory = itoa(size.CPU), itoa(size.Memory)
	}
	if d.NetworkMode == "" {
		d.NetworkMode = "awsvpc"
	}
	d.Volumes = list(d.Volumes)
	d.PlacementConstraints = list(d.PlacementConstraints)
	d.ContainerDefinitions = slices.Clone(d.ContainerDefinitions)
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if c.Essential == nil {
			yes := true
			c.Essential = &yes
		}
		c.Environment, c.MountPoints, c.VolumesFrom = list(c.Environment), list(c.MountPoints), list(c.VolumesFrom)
		c.SystemControls = list(c.SystemControls)
		c.PortMappings = list(slices.Clone(c.PortMappings))
		for j := range c.PortMappings {
			p := &c.PortMappings[j]
			if p.Protocol == "" {
				p.Protocol = "tcp"
			}
			if p.HostPort == 0 {
				p.HostPort = p.ContainerPort
			}
		}
	}
	return d
}

// list returns s, or an empty list for nil: in answers of the API a list that is
// always there is never null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
