package api

import "time"

// MaxSecret is the most bytes that a secret may have.
const MaxSecret = 64 << 10

// SecretInfo is what may be known of a secret that the server keeps.
type SecretInfo struct {
	Name      string    `json:"name" doc:"As the valueFrom of a definition says it, without the slash before it"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	SizeBytes int       `json:"sizeBytes" doc:"Of its value"`
	Damaged   bool      `json:"damaged,omitempty" doc:"Its file is damaged, and no task gets its value until it is put again; the times are when the file was last written, and the name is that of the file if its own is lost"`
}

// SecretList is the secrets that the server keeps, by name.
type SecretList struct {
	Secrets []SecretInfo `json:"secrets"`
}
