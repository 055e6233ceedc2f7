package metadata

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"time"

	"berth/fault"
	"berth/task"
)

// container describes the container that asks.
func (e *endpoint) container(_ context.Context, v version, a asker) (any, error) {
	for _, c := range a.task.Containers {
		if c.Name != a.container {
			continue
		}
		answer, err := e.describe(a, c)
		if err != nil {
			return nil, err
		}
		if v == v4 {
			return e.inV4(a, c, answer), nil
		}
		return e.inV3(a, answer), nil
	}
	return nil, fault.New(fault.NotFound, "unable to find container %s", a.container)
}

// task describes the task that asks.
func (e *endpoint) task(_ context.Context, v version, a asker, tags bool) (any, error) {
	t := a.task
	answer := &taskAnswer{
		Cluster: t.ClusterARN, TaskARN: t.ARN, Family: a.definition.Family, Revision: strconv.Itoa(a.definition.Revision),
		DesiredStatus: string(t.DesiredStatus),
		Limits:        limits(float64(t.Size().CPU)/1024, t.Size().Memory),
		PullStartedAt: moment(t.PullStartedAt), PullStoppedAt: moment(t.PullStoppedAt), ExecutionStoppedAt: moment(t.ExecutionStoppedAt),
		AvailabilityZone: t.Realm().Region + "a", LaunchType: t.LaunchType,
	}
	if tags {
		answer.TaskTags = make(map[string]string)
		for _, tag := range t.Tags {
			answer.TaskTags[tag.Key] = tag.Value
		}
	}
	whole := taskAnswerV4{taskAnswer: answer, Faults: a.definition.EnableFaultInjection}
	var containers []string
	for _, c := range t.Containers {
		d, err := e.describe(a, c)
		if err != nil {
			return nil, err
		}
		containers = append(containers, d.KnownStatus)
		if v == v4 {
			whole.Containers = append(whole.Containers, e.inV4(a, c, d))
		} else {
			answer.ContainersV3 = append(answer.ContainersV3, e.inV3(a, d))
		}
	}
	answer.KnownStatus = knownTask(t.LastStatus, containers)
	if v != v4 {
		return answer, nil
	}
	whole.Clock, whole.Disk = clockOf(e.Clock()), e.disk(t)
	return whole, nil
}

// describe tells of one container what both versions tell.
func (e *endpoint) describe(a asker, c task.Container) (*containerAnswer, error) {
	t, d := a.task, containerOf(a.definition, c.Name)
	life, err := e.Host.Life(t.ID, c.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case !c.StartedAt.IsZero():
		life.Started = c.StartedAt
	case life.Restarts < c.RestartCount:
		life.Started = time.Time{} // That was the run before.
	}
	units, _ := strconv.Atoi(c.CPU)
	mib, _ := strconv.Atoi(c.Memory)
	answer := &containerAnswer{
		ID: task.RuntimeID(t.ID, c.Name), Name: c.Name, DockerName: c.Name, Image: c.Image, ImageID: c.ImageDigest,
		Labels:        labels(a, c, d.DockerLabels),
		DesiredStatus: string(t.DesiredStatus), KnownStatus: known(c, life),
		ExitCode:  c.ExitCode,
		Limits:    *limits(float64(max(leastShares, units)), mib),
		CreatedAt: moment(life.Made), StartedAt: moment(life.Started), FinishedAt: moment(c.ExitedAt),
		Type:         "NORMAL",
		ContainerARN: c.ARN,
	}
	for _, p := range d.PortMappings {
		host := p.HostPort
		if host == 0 {
			host = p.ContainerPort
		}
		answer.Ports = append(answer.Ports, portAnswer{ContainerPort: p.ContainerPort, Protocol: p.Protocol, HostPort: host})
	}
	if d.HealthCheck != nil && d.HealthCheck.Command[0] != "NONE" {
		answer.Health = &healthAnswer{Status: c.Health, Since: moment(c.HealthSince), ExitCode: c.HealthExitCode}
	}
	if l := d.LogConfiguration; l != nil {
		answer.LogDriver, answer.LogOptions = l.LogDriver, logOptions(l.Options, t.ID, c.Name)
	}
	return answer, nil
}

// leastShares are the CPU units of a container that has none of its own.
const leastShares = 2

func containerOf(d task.Definition, name string) task.ContainerDefinition {
	for _, c := range d.ContainerDefinitions {
		if c.Name == name {
			return c
		}
	}
	return task.ContainerDefinition{}
}

// knownTask is where a task is in its life, in the agent's words: where the last of its
// containers is.
func knownTask(s task.Status, containers []string) string {
	switch s {
	case task.Deprovisioning, task.Stopped:
		return "STOPPED"
	case task.Running, task.Deactivating, task.Stopping:
		return "RUNNING"
	}
	status := "RUNNING"
	for _, c := range containers {
		switch c {
		case "CREATED":
			status = "CREATED"
		case "PULLED":
			return "NONE"
		}
	}
	return status
}

// known is where a container is in its life, in the agent's words. What is written down
// lags behind until all containers of a task run.
func known(c task.Container, life task.ContainerLife) string {
	switch {
	case c.LastStatus == task.Stopped:
		return "STOPPED"
	case !life.Started.IsZero():
		return "RUNNING"
	case !life.Made.IsZero():
		return "CREATED"
	}
	return "PULLED"
}

// labels are the definition's and those that ECS adds.
func labels(a asker, c task.Container, own map[string]string) map[string]string {
	all := maps.Clone(own)
	if all == nil {
		all = make(map[string]string)
	}
	const prefix = "com.amazonaws.ecs."
	all[prefix+"cluster"] = a.task.ClusterARN
	all[prefix+"container-name"] = c.Name
	all[prefix+"task-arn"] = a.task.ARN
	all[prefix+"task-definition-family"] = a.definition.Family
	all[prefix+"task-definition-version"] = strconv.Itoa(a.definition.Revision)
	return all
}

// logOptions are those of the log driver itself: of awslogs with the stream that ECS
// makes of the prefix.
func logOptions(options map[string]string, id task.ID, container string) map[string]string {
	all := maps.Clone(options)
	if prefix, ok := all["awslogs-stream-prefix"]; ok {
		delete(all, "awslogs-stream-prefix")
		all["awslogs-stream"] = fmt.Sprintf("%s/%s/%s", prefix, container, id)
	}
	return all
}

func (e *endpoint) inV3(a asker, c *containerAnswer) *containerAnswer {
	if ip := a.task.IPv4(); ip != "" {
		c.NetworksV3 = []networkAnswer{{Mode: "awsvpc", IPv4: []string{ip}}}
	}
	return c
}

func (e *endpoint) inV4(a asker, c task.Container, both *containerAnswer) *containerAnswerV4 {
	answer := &containerAnswerV4{containerAnswer: both, Snapshotter: e.Snapshotter}
	if containerOf(a.definition, c.Name).RestartPolicy.On() {
		answer.Restarts = &c.RestartCount
	}
	ip := a.task.IPv4()
	if ip == "" {
		return answer
	}
	index, subnet := 0, e.Host.Subnet()
	servers, search := e.Host.Resolver(a.task.ID)
	answer.Networks = []networkAnswerV4{{
		networkAnswer:   networkAnswer{Mode: "awsvpc", IPv4: []string{ip}},
		AttachmentIndex: &index,
		MAC:             a.task.MAC(),
		Subnet:          subnet.Masked().String(),
		NameServers:     servers,
		Search:          search,
		DNSName:         a.task.Realm().DNSName(ip),
		Gateway:         netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits()).String(),
	}}
	return answer
}

func limits(cpu float64, mib int) *limitsAnswer {
	l := &limitsAnswer{CPU: &cpu}
	if mib > 0 {
		l.Memory = &mib
	}
	return l
}

// moment is a time that is left out if it has not come.
func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

func clockOf(c Clock) *clockAnswer {
	at := c.At.UTC().Truncate(time.Second)
	answer := &clockAnswer{At: &at, Status: "NOT_SYNCHRONIZED"}
	if c.Synchronized {
		answer.Status, answer.ErrorBound = "SYNCHRONIZED", float64(c.Bound)/float64(time.Millisecond)
	}
	return answer
}

func (e *endpoint) disk(t task.Task) *diskAnswer {
	used, known := e.Host.StorageUsed(t.ID)
	if !known || t.Ephemeral == nil {
		return nil
	}
	return &diskAnswer{Utilized: int64(used >> 20), Reserved: int64(t.Ephemeral.SizeInGiB) << 10}
}
