package estimate

import (
	"encoding/json"
	"fmt"
	"slices"

	"berth/fault"
)

// TrimPlan returns of a plan what Terraform reads, which is little: a plan can be
// large, and there are secrets in it. Errors are those of Terraform.
func TrimPlan(raw []byte) (json.RawMessage, error) {
	var p plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "not a plan of Terraform: %v", err)
	}
	for _, root := range []*module{&p.PlannedValues.Root, &p.Values.Root} {
		if err := root.trim(); err != nil {
			return nil, err
		}
	}
	p.Configuration.Root = p.Configuration.Root.trim()
	return json.Marshal(p)
}

func (m *module) trim() error {
	m.Resources = slices.DeleteFunc(m.Resources, func(r resource) bool { return !r.is(typeDefinition) && !r.is(typeService) })
	for i := range m.Resources {
		r := &m.Resources[i]
		var v any = new(planDefinition)
		if r.is(typeService) {
			v = new(planService)
		}
		if err := json.Unmarshal(r.Values, v); err != nil {
			return fault.At(r.Address, "not the values of a %s: %v", r.Type, err)
		}
		some, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode %s: %w", r.Address, err)
		}
		r.Values = some
	}
	for i := range m.Children {
		if err := m.Children[i].trim(); err != nil {
			return err
		}
	}
	return nil
}

// trim returns m with nothing but what refers to something.
func (m moduleConfig) trim() moduleConfig {
	out := moduleConfig{Calls: make(map[string]moduleCall), Outputs: make(map[string]outputConfig)}
	for _, r := range m.Resources {
		if refs := references(r.Expressions["task_definition"]); refs != nil {
			out.Resources = append(out.Resources, resourceConfig{r.Address, map[string]json.RawMessage{"task_definition": refs}})
		}
	}
	for name, c := range m.Calls {
		call := moduleCall{Expressions: make(map[string]json.RawMessage), Module: c.Module.trim()}
		for variable, e := range c.Expressions {
			if refs := references(e); refs != nil {
				call.Expressions[variable] = refs
			}
		}
		out.Calls[name] = call
	}
	for name, o := range m.Outputs {
		if refs := references(o.Expression); refs != nil {
			out.Outputs[name] = outputConfig{refs}
		}
	}
	return out
}

// references returns an expression without its constants, nil if it refers to
// nothing.
func references(expression json.RawMessage) json.RawMessage {
	var e expr
	if len(expression) == 0 || json.Unmarshal(expression, &e) != nil || len(e.References) == 0 {
		return nil
	}
	refs, err := json.Marshal(e)
	if err != nil {
		return nil // Strings can always be encoded.
	}
	return refs
}
