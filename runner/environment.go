package runner

import "berth/task"

// equip adds to the plans of t's containers what the platform tells them: their host's
// name, which is that of the task's address, and variables.
func (r *Runner) equip(d task.Definition, t task.Task, plans []task.ContainerPlan) []task.ContainerPlan {
	for i := range plans {
		p := &plans[i]
		if ip := t.IPv4(); p.Hostname == "" && ip != "" {
			p.Hostname = t.Realm().DNSName(ip)
		}
		if r.Environment != nil {
			p.Env = r.Environment(d, t, p.Name, p.Env)
		}
	}
	return plans
}
