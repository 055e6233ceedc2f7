package task

import "time"

// Image is a container image that is on this host.
type Image struct {
	Name      string    `json:"name"`   // as a definition would say it, normalised: docker.io/library/busybox:latest
	Digest    string    `json:"digest"` // of the manifest or index, sha256:…
	SizeBytes int64     `json:"sizeBytes"`
	Platform  string    `json:"platform"` // os/architecture that is unpacked here
	Imported  bool      `json:"imported"` // came from a file, so no registry is asked about it
	InUse     bool      `json:"inUse"`    // an unfinished task needs it
	CreatedAt time.Time `json:"createdAt"`
	UsedAt    time.Time `json:"usedAt"` // last pulled for a task, or imported
}

// PullProgress is how far the pull of one image has come.
type PullProgress struct {
	Image      string          `json:"image"`
	Digest     string          `json:"digest,omitempty"` // once resolved
	Status     string          `json:"status"`           // RESOLVING, DOWNLOADING, UNPACKING, DONE or FAILED
	Reason     string          `json:"reason,omitempty"` // why it failed
	DoneBytes  int64           `json:"doneBytes"`
	TotalBytes int64           `json:"totalBytes"` // of what is known so far
	Layers     []LayerProgress `json:"layers"`
	StartedAt  time.Time       `json:"startedAt"`
}

// LayerProgress is how far one blob of a pull has come.
type LayerProgress struct {
	Digest     string `json:"digest"`
	DoneBytes  int64  `json:"doneBytes"`
	TotalBytes int64  `json:"totalBytes"`
}
