package examples_test

import (
	"io/fs"
	"testing"

	"berth/examples"
	"berth/task"
)

// Ensure every example is a definition that Fargate would accept, and one that
// Berth can run on any host.
func TestExamples(t *testing.T) {
	files, err := fs.Glob(examples.Files, "*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, name := range files {
		raw, err := examples.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := task.ParseDefinition(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := task.Unsupported(d, task.Run{Definition: d.Family}, "X86_64"); err != nil {
			t.Errorf("%s cannot be run: %v", name, err)
		}
	}
}
