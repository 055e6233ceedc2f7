package task

import (
	"fmt"
	"slices"
	"time"

	"berth/fault"
)

// ContainerPlan is what to run as one container of a task: its definition with
// the run's overrides applied and Fargate's defaults filled in.
type ContainerPlan struct {
	Name              string
	Account           string // the task's
	Essential         bool
	EntryPoint        []string // nil: as the image says
	Command           []string // nil: as the image says
	WorkingDirectory  string
	User              string
	Env               []string // KEY=VALUE, each key once
	EnvironmentFiles  []EnvironmentFile
	Secrets           []Secret
	CPU               int // CPU units, its weight within the task
	Memory            int // MiB, hard limit; 0: the task's
	MemoryReservation int // MiB
	Hostname          string

	ReadonlyRootFilesystem bool
	Init                   bool
	AddCapabilities        []string
	DropCapabilities       []string
	Ulimits                []Ulimit
	Sysctls                map[string]string
	Terminal               bool
	StdinOpen              bool
	Mounts                 []Mount     // outer paths before inner ones
	VolumesFrom            []Inherited // beside Mounts; of two volumes at one path the first counts

	Health  *HealthPlan  // nil: its health is not checked
	Restart *RestartPlan // nil: when it has ended, that is that

	DependsOn    []Dependency
	StartTimeout time.Duration // how long others wait for this container; 0: for ever
	StopTimeout  time.Duration // between the stop signal and SIGKILL
}

// Needs reports whether p depends on the container of that name.
func (p ContainerPlan) Needs(container string) bool {
	return slices.ContainsFunc(p.DependsOn, func(d Dependency) bool { return d.Container == container })
}

// openFiles is Fargate's default for nofile, soft and hard (ECS API,
// ContainerDefinition.ulimits).
const openFiles = 65535

// Plan returns what to run as the containers of t, a task of d, each after those
// it depends on or takes volumes from.
func Plan(d Definition, t Task) []ContainerPlan {
	order, _ := d.order()
	plans := make([]ContainerPlan, 0, len(order))
	for _, i := range order {
		c := d.ContainerDefinitions[i]
		p := plan(c, t.Overrides.container(c.Name))
		p.Account = t.Realm().Account
		p.Mounts, p.VolumesFrom = d.mountsOf(c)
		plans = append(plans, p)
	}
	return plans
}

func plan(c ContainerDefinition, o ContainerOverride) ContainerPlan {
	p := ContainerPlan{
		Name: c.Name, Essential: c.IsEssential(),
		EntryPoint: c.EntryPoint, Command: c.Command,
		WorkingDirectory: c.WorkingDirectory, User: c.User,
		Env:                    merge(c.Environment, o.Environment),
		EnvironmentFiles:       c.EnvironmentFiles,
		Secrets:                c.Secrets,
		CPU:                    or(o.CPU, c.CPU),
		Memory:                 or(o.Memory, c.Memory),
		MemoryReservation:      or(o.MemoryReservation, c.MemoryReservation),
		ReadonlyRootFilesystem: set(c.ReadonlyRootFilesystem),
		Terminal:               set(c.PseudoTerminal),
		StdinOpen:              set(c.Interactive),
		DependsOn:              c.DependsOn,
		StartTimeout:           seconds(c.StartTimeout, 0),
		StopTimeout:            seconds(c.StopTimeout, DefaultStopTimeout),
		Ulimits:                c.Ulimits,
		Health:                 healthPlan(c.HealthCheck),
		Restart:                restartPlan(c.RestartPolicy),
	}
	if o.Command != nil {
		p.Command = o.Command
	}
	if len(o.EnvironmentFiles) > 0 {
		p.EnvironmentFiles = o.EnvironmentFiles
	}
	if l := c.LinuxParameters; l != nil {
		p.Init = set(l.InitProcessEnabled)
		if l.Capabilities != nil {
			p.AddCapabilities, p.DropCapabilities = l.Capabilities.Add, l.Capabilities.Drop
		}
	}
	if !slices.ContainsFunc(c.Ulimits, func(u Ulimit) bool { return u.Name == "nofile" }) {
		p.Ulimits = append(slices.Clip(p.Ulimits), Ulimit{Name: "nofile", SoftLimit: openFiles, HardLimit: openFiles})
	}
	for _, s := range c.SystemControls {
		if p.Sysctls == nil {
			p.Sysctls = make(map[string]string)
		}
		p.Sysctls[s.Namespace] = s.Value
	}
	return p
}

func or(v *int, otherwise int) int {
	if v != nil {
		return *v
	}
	return otherwise
}

func seconds(v *int, otherwise time.Duration) time.Duration {
	if v != nil {
		return time.Duration(*v) * time.Second
	}
	return otherwise
}

// merge returns the variables of lists as KEY=VALUE, in the order in which their
// keys first come up, with the value that comes last.
func merge(lists ...[]KeyValuePair) []string {
	at := make(map[string]int)
	var env []string
	for _, vars := range lists {
		for _, v := range vars {
			if i, ok := at[v.Name]; ok {
				env[i] = v.Name + "=" + v.Value
				continue
			}
			at[v.Name] = len(env)
			env = append(env, v.Name+"="+v.Value)
		}
	}
	return env
}

// order returns the indices of d's containers, each after those it depends on and
// those whose volumes it takes, and otherwise as they were written. The error is about
// the first cycle; a registered definition has none.
func (d Definition) order() (order []int, cycle error) {
	const visiting, done = 1, 2
	state := make([]int, len(d.ContainerDefinitions))
	var visit func(i int, field string)
	follow := func(i int, field, name string) {
		j := slices.IndexFunc(d.ContainerDefinitions, func(c ContainerDefinition) bool { return c.Name == name })
		if j >= 0 {
			visit(j, fmt.Sprintf("containerDefinitions[%d].%s", i, field))
		}
	}
	visit = func(i int, field string) {
		if state[i] == visiting && cycle == nil {
			cycle = fault.At(field, "There is a cycle in the container dependencies.")
		}
		if state[i] != 0 {
			return
		}
		state[i] = visiting
		for _, dep := range d.ContainerDefinitions[i].DependsOn {
			follow(i, "dependsOn", dep.Container)
		}
		for _, from := range d.ContainerDefinitions[i].VolumesFrom {
			if from.SourceContainer != d.ContainerDefinitions[i].Name { // validateVolumes says it better.
				follow(i, "volumesFrom", from.SourceContainer)
			}
		}
		state[i] = done
		order = append(order, i)
	}
	for i := range d.ContainerDefinitions {
		visit(i, "")
	}
	return order, cycle
}

// validateOrder checks what containers wait for in one another.
func (d Definition) validateOrder() error {
	for i, c := range d.ContainerDefinitions {
		for j, dep := range c.DependsOn {
			at := fmt.Sprintf("containerDefinitions[%d].dependsOn[%d].", i, j)
			on := d.container(dep.Container)
			if on == nil {
				return fault.At(at+"containerName", "no container is called %q", dep.Container)
			}
			if dep.Condition == "" {
				return fault.At(at+"condition", "should not be null or empty.")
			}
			if err := oneOf(at+"condition", dep.Condition, DependStart, DependComplete, DependSuccess, DependHealthy); err != nil {
				return err
			}
			switch {
			case (dep.Condition == DependSuccess || dep.Condition == DependComplete) && on.IsEssential():
				return fault.At(at+"condition", "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
			case dep.Condition == DependHealthy && on.HealthCheck == nil:
				return fault.At(at+"condition", "A dependency container with HEALTHY condition must have health check configured")
			}
		}
	}
	_, err := d.order()
	return err
}
