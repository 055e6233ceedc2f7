package estimate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// The parts of Terraform's JSON output that an estimate needs (Terraform, "JSON
// Output Format", plan representation). What is not known before the plan is
// applied is absent from the values.
type (
	plan struct {
		Version       string `json:"format_version"`
		PlannedValues struct {
			Root module `json:"root_module"`
		} `json:"planned_values"`
		Values struct { // of a state, as "terraform show -json" prints without a plan
			Root module `json:"root_module"`
		} `json:"values"`
		Configuration struct {
			Root moduleConfig `json:"root_module"`
		} `json:"configuration"`
	}
	module struct {
		Address   string     `json:"address"`
		Resources []resource `json:"resources"`
		Children  []module   `json:"child_modules"`
	}
	resource struct {
		Address string          `json:"address"`
		Mode    string          `json:"mode"`
		Type    string          `json:"type"`
		Name    string          `json:"name"`
		Values  json.RawMessage `json:"values"`
	}
	moduleConfig struct {
		Resources []resourceConfig        `json:"resources"`
		Calls     map[string]moduleCall   `json:"module_calls"`
		Outputs   map[string]outputConfig `json:"outputs"`
	}
	resourceConfig struct {
		Address     string                     `json:"address"`
		Expressions map[string]json.RawMessage `json:"expressions"`
	}
	moduleCall struct {
		Expressions map[string]json.RawMessage `json:"expressions"`
		Module      moduleConfig               `json:"module"`
	}
	outputConfig struct {
		Expression json.RawMessage `json:"expression"`
	}
)

// planDefinition and planService are the resources aws_ecs_task_definition and
// aws_ecs_service of the AWS provider.
type (
	planDefinition struct {
		Family     string   `json:"family"`
		CPU        string   `json:"cpu"`
		Memory     string   `json:"memory"`
		Compatible []string `json:"requires_compatibilities"`
		Storage    []struct {
			Size int `json:"size_in_gib"`
		} `json:"ephemeral_storage"`
		Platform []struct {
			Arch string `json:"cpu_architecture"`
			OS   string `json:"operating_system_family"`
		} `json:"runtime_platform"`
	}
	planService struct {
		Name       string `json:"name"`
		Desired    *int   `json:"desired_count"`
		LaunchType string `json:"launch_type"`
		Scheduling string `json:"scheduling_strategy"`
		Definition string `json:"task_definition"`
		Strategy   []struct {
			Provider string `json:"capacity_provider"`
			Weight   int    `json:"weight"`
			Base     int    `json:"base"`
		} `json:"capacity_provider_strategy"`
	}
)

// The types of resources that cost something here.
const (
	typeDefinition = "aws_ecs_task_definition"
	typeService    = "aws_ecs_service"
)

// is reports whether r is a resource of that type, and not only looked up.
func (r resource) is(kind string) bool { return r.Mode != "data" && r.Type == kind }

// maxResources is the most resources that a plan may have.
const maxResources = 10_000

// Terraform returns the services of a plan, and the task definitions that no
// service of it runs. Both may be in modules. Errors are fault.Invalid with the
// address in the plan.
func Terraform(raw []byte, base billing.Shape) ([]Subject, error) {
	var p plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "not a plan of Terraform: %v", err)
	}
	if p.Version == "" {
		return nil, fault.New(fault.Invalid, `not a plan of Terraform: it has no format_version; it is what "terraform show -json" prints`)
	}
	all := p.PlannedValues.Root.all(nil)
	if len(all) == 0 {
		all = p.Values.Root.all(nil)
	}
	if len(all) > maxResources {
		return nil, fault.New(fault.Invalid, "the plan has %d resources; the most is %d", len(all), maxResources)
	}
	defs := make(map[string]Subject) // by address
	var order []string
	for _, r := range all {
		if !r.is(typeDefinition) {
			continue
		}
		s, err := r.definition(base)
		if err != nil {
			return nil, err
		}
		defs[r.Address], order = s, append(order, r.Address)
	}
	var subjects []Subject
	used := make(map[string]bool)
	for _, r := range all {
		if !r.is(typeService) {
			continue
		}
		s, from, err := r.service(p, defs)
		if err != nil {
			return nil, err
		}
		used[from] = true
		subjects = append(subjects, s)
	}
	for _, address := range order {
		if !used[address] {
			s := defs[address]
			s.Notes = append(s.Notes, "no service of the plan runs it: its month has as many runs as you say")
			if base.Spot {
				s.Spot = s.Count
			}
			subjects = append(subjects, s)
		}
	}
	if len(subjects) == 0 {
		return nil, fault.New(fault.Invalid, "the plan has neither an aws_ecs_task_definition nor an aws_ecs_service")
	}
	return subjects, nil
}

// expr is an expression of the configuration, as far as it refers to something.
type expr struct {
	References []string `json:"references"`
}

// all returns the resources of m and of the modules in it.
func (m module) all(some []resource) []resource {
	some = append(some, m.Resources...)
	for _, c := range m.Children {
		some = c.all(some)
	}
	return some
}

func (r resource) definition(base billing.Shape) (Subject, error) {
	var v planDefinition
	if err := json.Unmarshal(r.Values, &v); err != nil {
		return Subject{}, fault.At(r.Address, "not the values of a task definition: %v", err)
	}
	d := task.Definition{Family: v.Family, CPU: v.CPU, Memory: v.Memory}
	if len(v.Storage) > 0 {
		d.EphemeralStorage = &task.EphemeralStorage{SizeInGiB: v.Storage[0].Size}
	}
	if len(v.Platform) > 0 {
		d.RuntimePlatform = &task.RuntimePlatform{CPUArchitecture: v.Platform[0].Arch, OperatingSystemFamily: v.Platform[0].OS}
	}
	if len(v.Compatible) > 0 && !slices.Contains(v.Compatible, "FARGATE") {
		return Subject{}, fault.At(r.Address+".requires_compatibilities", "it is not for Fargate")
	}
	s, err := subjectOf(d)
	if err != nil {
		return Subject{}, fault.At(strings.TrimSuffix(r.Address+"."+fault.FieldOf(err), "."), "%s", fault.Message(err))
	}
	if s.Name == "" {
		s.Name = r.Name
	}
	if base.Arch != "" && len(v.Platform) == 0 {
		s.Shape.Arch = base.Arch
	}
	s.Shape.Spot = base.Spot
	s.Address = r.Address
	return s, nil
}

// service returns r as a Subject and the address of its definition.
func (r resource) service(p plan, defs map[string]Subject) (Subject, string, error) {
	var v planService
	if err := json.Unmarshal(r.Values, &v); err != nil {
		return Subject{}, "", fault.At(r.Address, "not the values of a service: %v", err)
	}
	switch {
	case v.LaunchType != "" && v.LaunchType != "FARGATE":
		return Subject{}, "", fault.At(r.Address+".launch_type", "%s is not Fargate, and has no price here", v.LaunchType)
	case v.Scheduling == "DAEMON":
		return Subject{}, "", fault.At(r.Address+".scheduling_strategy", "Fargate does not support DAEMON")
	}
	from := r.definitionOf(p, v, defs)
	if from == "" {
		return Subject{}, "", fault.At(r.Address+".task_definition", "the plan does not say which of its task definitions the service runs")
	}
	s := defs[from]
	s.Address, s.Service = r.Address, true
	s.Notes = append(slices.Clip(s.Notes), "runs "+from)
	if v.Name != "" {
		s.Name = v.Name
	}
	if v.Desired != nil {
		if s.Count = *v.Desired; s.Count < 0 || s.Count > maxReplicas {
			return Subject{}, "", fault.At(r.Address+".desired_count", "must be from 0 to %d, not %d", maxReplicas, s.Count)
		}
	} else { // The provider's default, and ECS's.
		s.Count = 0
		s.Notes = append(s.Notes, "desired_count is not in the plan, which means 0")
	}
	var strategy []task.CapacityProvider
	for i, item := range v.Strategy {
		if item.Provider != task.OnDemand && item.Provider != task.Spot {
			return Subject{}, "", fault.At(fmt.Sprintf("%s.capacity_provider_strategy[%d]", r.Address, i), "%s is not Fargate, and has no price here", item.Provider)
		}
		if item.Weight < 0 || item.Base < 0 || item.Weight > 1000 || item.Base > 100_000 {
			return Subject{}, "", fault.At(fmt.Sprintf("%s.capacity_provider_strategy[%d]", r.Address, i), "weight is from 0 to 1000 and base from 0 to 100000")
		}
		strategy = append(strategy, task.CapacityProvider{Name: item.Provider, Weight: item.Weight, Base: item.Base})
	}
	switch {
	case len(strategy) > 0:
		s.Spot = 0
		for _, provider := range task.Share(strategy, s.Count) {
			if provider == task.Spot {
				s.Spot++
			}
		}
		s.Shape.Spot = s.Spot > 0 && s.Spot == s.Count
	case s.Shape.Spot: // asked for
		s.Spot = s.Count
	case v.LaunchType == "":
		s.Notes = append(s.Notes, "neither launch_type nor a strategy: priced on demand, whatever the cluster's default is")
	}
	return s, from, nil
}

// indices finds the keys of count and for_each in an address.
var indices = regexp.MustCompile(`\[("(?:[^"\\]|\\.)*"|[0-9]+)\]`)

// definitionOf returns the address of the definition that the service r runs, ""
// if the plan does not tell: by what its configuration refers to, and else by
// its name.
func (r resource) definitionOf(p plan, v planService, defs map[string]Subject) string {
	path, name := splitAddress(r.Address)
	plain := indices.ReplaceAllString(name, "")
	config := p.Configuration.Root.at(path)
	for _, c := range config.Resources {
		if c.Address != plain {
			continue
		}
		if target := follow(p.Configuration.Root, path, c.Expressions["task_definition"], 0); target != "" {
			return pick(r.Address, target, defs)
		}
	}
	if v.Definition != "" {
		if family, _, err := task.ParseDefinitionRef(v.Definition); err == nil {
			for _, address := range sortedKeys(defs) {
				if defs[address].Family == family {
					return address
				}
			}
		}
	}
	return ""
}

func sortedKeys(defs map[string]Subject) []string {
	var all []string
	for address := range defs {
		all = append(all, address)
	}
	slices.Sort(all)
	return all
}

// splitAddress parts the address of a resource into the names of its modules and
// the rest.
func splitAddress(address string) (path []string, name string) {
	plain := indices.ReplaceAllString(address, "")
	parts := strings.Split(plain, ".")
	for len(parts) > 2 && parts[0] == "module" {
		path, parts = append(path, parts[1]), parts[2:]
	}
	return path, strings.Join(parts, ".")
}

// at returns the configuration of the module at path.
func (m moduleConfig) at(path []string) moduleConfig {
	for _, name := range path {
		m = m.Calls[name].Module
	}
	return m
}

// maxHops is how many modules a reference is followed through.
const maxHops = 16

// follow returns the address, without keys, of the task definition that an
// expression in the module at path refers to, "" if it refers to none.
func follow(root moduleConfig, path []string, expression json.RawMessage, hops int) string {
	if hops > maxHops || len(expression) == 0 {
		return ""
	}
	var e expr
	if json.Unmarshal(expression, &e) != nil {
		return ""
	}
	for _, ref := range e.References {
		parts := strings.Split(indices.ReplaceAllString(ref, ""), ".")
		switch {
		case len(parts) >= 2 && parts[0] == "aws_ecs_task_definition":
			prefix := ""
			for _, name := range path {
				prefix += "module." + name + "."
			}
			return prefix + parts[0] + "." + parts[1]
		case len(parts) >= 2 && parts[0] == "var" && len(path) > 0:
			above := path[:len(path)-1]
			call := root.at(above).Calls[path[len(path)-1]]
			if target := follow(root, above, call.Expressions[parts[1]], hops+1); target != "" {
				return target
			}
		case len(parts) >= 3 && parts[0] == "module":
			below := append(slices.Clip(path), parts[1])
			if target := follow(root, below, root.at(below).Outputs[parts[2]].Expression, hops+1); target != "" {
				return target
			}
		}
	}
	return ""
}

// pick returns the definition at target, an address without keys, whose keys are
// most like those of the service: with for_each, each service runs its own.
func pick(service, target string, defs map[string]Subject) string {
	best, most := "", -1
	keys := indices.FindAllString(service, -1)
	for _, address := range sortedKeys(defs) {
		if indices.ReplaceAllString(address, "") != target {
			continue
		}
		alike := 0
		for i, key := range indices.FindAllString(address, -1) {
			if i < len(keys) && keys[i] == key {
				alike++
			}
		}
		if alike > most {
			best, most = address, alike
		}
	}
	return best
}
