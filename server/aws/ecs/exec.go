package ecs

import (
	"context"

	"berth/access"
	"berth/fault"
	"berth/server/aws/ssm"
	"berth/server/aws/wire"
	"berth/session"
	"berth/task"
)

// Exec lets people into containers.
type Exec interface {
	// Open makes a session ready to be talked to over a data channel. A container that does
	// not run is fault.Conflict.
	Open(ctx context.Context, c wire.Call, w session.Wish) (ssm.Opened, error)
}

func (s *server) execOperations() []wire.Operation {
	return []wire.Operation{wire.Op("ExecuteCommand", s.executeCommand, wire.On(s.onExecute))}
}

type executeCommandIn struct {
	Cluster     string `json:"cluster,omitempty"`
	Container   string `json:"container,omitempty"`
	Command     string `json:"command" required:"true"`
	Interactive *bool  `json:"interactive" required:"true"`
	Task        string `json:"task" required:"true"`
}

type executeCommandOut struct {
	ClusterARN    string         `json:"clusterArn"`
	ContainerARN  string         `json:"containerArn"`
	ContainerName string         `json:"containerName"`
	Interactive   bool           `json:"interactive"`
	Session       executeSession `json:"session"`
	TaskARN       string         `json:"taskArn"`
}

type executeSession struct {
	ID    string `json:"sessionId"`
	URL   string `json:"streamUrl"`
	Token string `json:"tokenValue"`
}

const targetNotConnected = "TargetNotConnectedException"

// executeCommand opens a session in a container (ECS API, ExecuteCommand). The command
// begins when the session is connected to.
func (s *server) executeCommand(ctx context.Context, c wire.Call, in *executeCommandIn) (*executeCommandOut, error) {
	if s.Exec == nil {
		return nil, wire.Errorf(targetNotConnected, "The execute command failed due to an internal error. Try again later.")
	}
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	if !*in.Interactive {
		return nil, wire.Errorf(invalid, "Interactive is the only mode supported currently.")
	}
	command, err := shellWords(in.Command)
	if err != nil {
		return nil, as(invalid, err)
	}
	found, _, err := s.find(ctx, r, []string{in.Task})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, wire.Errorf(invalid, "The specified task does not exist. Specify a valid task and try again.")
	}
	t := found[0]
	if !t.EnableExecuteCommand || t.LastStatus == task.Stopped {
		return nil, wire.Errorf(invalid, "The execute command failed because execute command was not enabled when the task was run "+
			"or the execute command agent isn’t running. Wait and try again or run a new task with execute command enabled and try again.")
	}
	container, err := in.container(t)
	if err != nil {
		return nil, err
	}
	opened, err := s.Exec.Open(ctx, c, session.Wish{Task: t.ID, Container: container.Name, Command: command, Terminal: true, Via: "ecs-exec"})
	if fault.KindOf(err) == fault.Conflict {
		return nil, &wire.Error{Code: targetNotConnected, Message: "The execute command failed due to an internal error. Try again later.", Err: err}
	}
	if err != nil {
		return nil, as(invalid, err)
	}
	return &executeCommandOut{
		ClusterARN: t.ClusterARN, ContainerARN: container.ARN, ContainerName: container.Name, Interactive: true, TaskARN: t.ARN,
		Session: executeSession{ID: opened.SessionID, URL: opened.StreamURL, Token: opened.Token},
	}, nil
}

// container returns the container of t that is meant: it must be named if t has several.
func (in *executeCommandIn) container(t task.Task) (*task.Container, error) {
	if in.Container == "" && len(t.Containers) == 1 {
		return &t.Containers[0], nil
	}
	if in.Container == "" {
		return nil, wire.Errorf(invalid, "The container name must be specified, since the task has multiple containers.")
	}
	c := t.Container(in.Container)
	if c == nil {
		return nil, wire.Errorf(invalid, "The container '%s' is not in the task. Specify a valid container and try again.", in.Container)
	}
	return c, nil
}

func (s *server) onExecute(ctx context.Context, c wire.Call, in *executeCommandIn) ([]access.Action, error) {
	all := s.onTasks(ctx, c, in.Cluster, in.Task)
	for i := range all {
		if all[i].Context == nil {
			all[i].Context = make(map[string][]string)
		}
		all[i].Context["ecs:container-name"] = []string{in.Container}
	}
	return all, nil
}

// managedAgent is ManagedAgent of the ECS API.
type managedAgent struct {
	LastStartedAt wire.Time   `json:"lastStartedAt,omitzero"`
	LastStatus    task.Status `json:"lastStatus"`
	Name          string      `json:"name"`
	Reason        string      `json:"reason,omitempty"`
}

func agents(t task.Task, c task.Container) (all []managedAgent) {
	for _, a := range t.Agents(c) {
		all = append(all, managedAgent{wire.At(a.LastStartedAt), a.LastStatus, a.Name, a.Reason})
	}
	return all
}
