package task

// Definition is a task definition: the ECS RegisterTaskDefinition model, whole.
type Definition struct {
	Family               string                `json:"family"`
	Revision             int                   `json:"revision,omitempty"`
	ContainerDefinitions []ContainerDefinition `json:"containerDefinitions"`
	CPU                  string                `json:"cpu,omitempty"`
	Memory               string                `json:"memory,omitempty"`
}

// ContainerDefinition is one container of a Definition.
type ContainerDefinition struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// Overrides is what one run changes in its Definition.
type Overrides struct {
	CPU    string `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
}
