package estimate

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// composeFile is what an estimate needs of a compose file (Compose Specification,
// "Services top-level elements", "Compose Deploy Specification"). Everything else
// costs nothing and is not looked at.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Include  any                       `yaml:"include"`
	Services map[string]composeService `yaml:"services"`
}

type composeService struct {
	Image      string   `yaml:"image"`
	Platform   string   `yaml:"platform"`
	CPUs       scalar   `yaml:"cpus"`
	MemLimit   scalar   `yaml:"mem_limit"`
	MemReserve scalar   `yaml:"mem_reservation"`
	Scale      scalar   `yaml:"scale"`
	Profiles   []string `yaml:"profiles"`
	Extends    any      `yaml:"extends"`
	Provider   any      `yaml:"provider"`
	StorageOpt struct {
		Size scalar `yaml:"size"`
	} `yaml:"storage_opt"`
	Deploy struct {
		Mode      string `yaml:"mode"`
		Replicas  scalar `yaml:"replicas"`
		Resources struct {
			Limits       composeAmount `yaml:"limits"`
			Reservations composeAmount `yaml:"reservations"`
		} `yaml:"resources"`
	} `yaml:"deploy"`
}

type composeAmount struct {
	CPUs   scalar `yaml:"cpus"`
	Memory scalar `yaml:"memory"`
}

// scalar is a number or a string as it was written, so that no amount passes
// through a float.
type scalar string

// UnmarshalYAML keeps the text of a scalar.
func (s *scalar) UnmarshalYAML(text []byte) error {
	v := strings.TrimSpace(string(text))
	if unquoted, ok := strings.CutPrefix(v, `"`); ok {
		v = strings.TrimSuffix(unquoted, `"`)
	} else if unquoted, ok := strings.CutPrefix(v, `'`); ok {
		v = strings.TrimSuffix(unquoted, `'`)
	}
	if v == "null" || v == "~" {
		v = ""
	}
	if strings.ContainsAny(v, "\n{}[]") {
		return fmt.Errorf("%q is neither a number nor a string", v)
	}
	*s = scalar(v)
	return nil
}

// maxServices is the most services that a file may have.
const maxServices = 1000

// maxReplicas is the most tasks of one service (ECS service quotas, "Tasks per
// service").
const maxReplicas = 5000

// Compose returns the services of a compose file. Variables in it take their
// values from vars. The price list decides which size is the cheapest that holds
// what a service asks for. Errors are fault.Invalid with the path in the file.
func Compose(text string, vars map[string]string, base billing.Shape, list billing.PriceList) ([]Subject, error) {
	text, err := interpolate(text, vars)
	if err != nil {
		return nil, err
	}
	if err := checkAliases(text); err != nil {
		return nil, err
	}
	var f composeFile
	if err := yaml.UnmarshalWithOptions([]byte(text), &f, yaml.AllowDuplicateMapKey()); err != nil {
		return nil, notCompose(err)
	}
	switch {
	case f.Include != nil:
		return nil, fault.At("include", `other files are not read here; write them into one with "docker compose config"`)
	case len(f.Services) == 0:
		return nil, fault.At("services", "the compose file has none")
	case len(f.Services) > maxServices:
		return nil, fault.At("services", "a compose file has at most %d services here", maxServices)
	}
	var names []string
	for name := range f.Services {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []Subject
	for _, name := range names {
		s, err := f.Services[name].subject(name, base, list)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// notCompose says what the YAML library found, without its picture of the file.
func notCompose(err error) error {
	message := err.Error()
	var y yaml.Error
	if errors.As(err, &y) {
		message = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			message += fmt.Sprintf(" (line %d, column %d)", t.Position.Line, t.Position.Column)
		}
	}
	return fault.Wrap(fault.Invalid, err, "not a compose file: %s", message)
}

func (c composeService) subject(name string, base billing.Shape, list billing.PriceList) (Subject, error) {
	at := "services." + name + "."
	s := Subject{Name: name, Address: "services." + name, Family: name, Shape: base, Service: true, Count: 1}
	switch {
	case c.Extends != nil:
		return s, fault.At(at+"extends", `it is not followed here; write the services out with "docker compose config"`)
	case c.Provider != nil:
		return s, fault.At(at+"provider", "what a provider runs has no price here")
	case strings.HasPrefix(c.Platform, "windows"):
		return s, fault.At(at+"platform", "there are no prices for Windows here yet")
	case strings.HasPrefix(c.Platform, "linux/arm64"):
		s.Shape.Arch = "ARM64"
	}
	limits, reserved := c.Deploy.Resources.Limits, c.Deploy.Resources.Reservations
	cpus := first(said{at + "deploy.resources.limits.cpus", limits.CPUs}, said{at + "cpus", c.CPUs},
		said{at + "deploy.resources.reservations.cpus", reserved.CPUs})
	cpu, err := cpus.decimalUp(string(cpus.value), big.NewRat(1024, 1), "a number of CPUs, as in 0.5")
	if err != nil {
		return s, err
	}
	memory := first(said{at + "deploy.resources.limits.memory", limits.Memory}, said{at + "mem_limit", c.MemLimit},
		said{at + "deploy.resources.reservations.memory", reserved.Memory}, said{at + "mem_reservation", c.MemReserve})
	mib, err := memory.mebibytes()
	if err != nil {
		return s, err
	}
	if cpus.value == "" {
		s.Notes = append(s.Notes, "the file does not say how much CPU")
	}
	if memory.value == "" {
		s.Notes = append(s.Notes, "the file does not say how much memory")
	}
	var note string
	if s.Shape, note, err = fit(s.Shape, cpu, mib, list); err != nil {
		return s, fault.At(at+"deploy.resources.limits", "%s", fault.Message(err))
	}
	switch {
	case cpus.value == "" || memory.value == "":
		s.Notes = append(s.Notes, fmt.Sprintf("taken is %s, the cheapest that holds the rest", s.Shape.Size()))
	case note != "":
		s.Notes = append(s.Notes, note)
	}
	if err := c.disk(at, &s); err != nil {
		return s, err
	}
	if replicas := first(said{at + "deploy.replicas", c.Deploy.Replicas}, said{at + "scale", c.Scale}); replicas.value != "" {
		n, err := strconv.Atoi(string(replicas.value))
		if err != nil || n < 0 || n > maxReplicas {
			return s, fault.At(replicas.field, "%q is not a number of tasks from 0 to %d", replicas.value, maxReplicas)
		}
		s.Count = n
	}
	if c.Deploy.Mode == "global" {
		s.Notes = append(s.Notes, "mode global means a task a machine, and Fargate has none: one task is counted")
	}
	if len(c.Profiles) > 0 {
		s.Count = 0
		s.Notes = append(s.Notes, "it starts only with a profile ("+strings.Join(c.Profiles, ", ")+"), so none is counted")
	}
	if base.Spot {
		s.Spot = s.Count
	}
	return s, nil
}

// disk reads how large the service's disk is.
func (c composeService) disk(at string, s *Subject) error {
	if c.StorageOpt.Size == "" {
		return nil
	}
	mib, err := said{at + "storage_opt.size", c.StorageOpt.Size}.mebibytes()
	if err != nil {
		return err
	}
	gib := (mib + 1023) / 1024
	if gib > 200 {
		return fault.At(at+"storage_opt.size", "a task has at most 200 GiB of storage, not %d", gib)
	}
	s.Shape.Storage = max(task.DefaultEphemeralGiB, gib)
	return nil
}

// said is what a field of the file says; nothing if it is not there.
type said struct {
	field string
	value scalar
}

// first returns the first of all that says something.
func first(all ...said) said {
	for _, s := range all {
		if s.value != "" {
			return s
		}
	}
	return said{}
}

// memoryUnits are those of the Compose Specification ("Specifying byte values"),
// all of 1024.
var memoryUnits = map[string]int64{"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}

// mebibytes reads an amount of bytes and rounds it up to MiB; 0 for nothing.
func (s said) mebibytes() (int, error) {
	const what = "an amount of memory, as in 512m"
	text := strings.ToLower(string(s.value))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	unit, ok := memoryUnits[strings.TrimSpace(text[len(digits):])]
	if !ok {
		return 0, fault.At(s.field, "%q is not %s", s.value, what)
	}
	return s.decimalUp(digits, big.NewRat(unit, 1<<20), what)
}

var plainDecimal = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,9})?$|^\.[0-9]{1,9}$`)

// decimalUp returns digits, which s says, times factor, rounded up; 0 for nothing.
func (s said) decimalUp(digits string, factor *big.Rat, what string) (int, error) {
	if digits == "" && s.value == "" {
		return 0, nil
	}
	r, ok := new(big.Rat).SetString(digits)
	if !ok || !plainDecimal.MatchString(digits) {
		return 0, fault.At(s.field, "%q is not %s", s.value, what)
	}
	r.Mul(r, factor)
	n := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	if n.Div(n, r.Denom()); !n.IsInt64() || n.Int64() > 1<<31 {
		return 0, fault.At(s.field, "%q is larger than anything here", s.value)
	}
	return int(n.Int64()), nil
}

// reference finds variables in a compose file (Compose Specification,
// "Interpolation"): $$, ${NAME}, ${NAME:-default} and its like, and $NAME.
var reference = regexp.MustCompile(`\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))`)

// Variables returns the names of the variables in a compose file, each once.
func Variables(text string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if name := m[2] + m[5]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// interpolate puts values in the place of variables. As in Compose, one without a
// value and without a default is empty.
func interpolate(text string, vars map[string]string) (string, error) {
	var failed error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		if m[1] != "" {
			return "$"
		}
		name, how, other := m[2]+m[5], m[3], m[4]
		value, given := vars[name]
		if strings.HasPrefix(how, ":") {
			given = value != ""
		}
		switch strings.TrimPrefix(how, ":") {
		case "-":
			if !given {
				return other
			}
		case "+":
			if given {
				return other
			}
			return ""
		case "?":
			if !given && failed == nil {
				failed = fault.New(fault.Invalid, "the variable %s of the compose file is not set: %s", name, other)
			}
		}
		return value
	})
	return out, failed
}
