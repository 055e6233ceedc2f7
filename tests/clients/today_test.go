//go:build clients && terraform

package clients

import (
	"flag"
	"path/filepath"
	"testing"
)

var (
	terraform = flag.String("terraform", "", "a Terraform or OpenTofu from 1.0 on")
	plugins   = flag.String("plugins", "", "a filesystem mirror, or the folder with the program of provider aws 5 or later")
)

// Ensure a Terraform and a provider of today, which the tester brings, do what the old ones do.
func TestTerraformToday(t *testing.T) {
	if *terraform == "" || *plugins == "" {
		t.Fatal("name a program with -terraform and its provider's folder with -plugins")
	}
	client(t, "today", []string{"TERRAFORM=" + *terraform, "PLUGINS=" + filepath.Clean(*plugins), "PROVIDER=5"}, "terraform/life.sh")
}
