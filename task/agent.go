package task

import "time"

// ManagedAgent is what AWS runs in a container beside its program (ECS API, ManagedAgent).
type ManagedAgent struct {
	Name          string    `json:"name"`
	LastStatus    Status    `json:"lastStatus"` // PENDING, RUNNING or STOPPED
	LastStartedAt time.Time `json:"lastStartedAt,omitzero"`
	Reason        string    `json:"reason,omitempty"`
}

// ExecuteCommandAgent is the name of the agent through which ECS's ExecuteCommand comes
// into a container.
const ExecuteCommandAgent = "ExecuteCommandAgent"

// Agents returns the agents of a container of t. Berth runs none, and lets people in without:
// what ECS says of the agent is what is true of the container.
func (t Task) Agents(c Container) []ManagedAgent {
	if !t.EnableExecuteCommand {
		return nil
	}
	return []ManagedAgent{{Name: ExecuteCommandAgent, LastStatus: c.LastStatus, LastStartedAt: c.StartedAt}}
}
