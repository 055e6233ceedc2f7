package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/secret"
)

// Ensure only what can be asked is a source of secrets, in the order given.
func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	good := serverConfig{Secrets: []string{"local", "env:X_", "dir:" + dir, "vault:https://vault.example:8200/team?kv=1"}, VaultTokenFile: "/run/token"}
	if err := good.checkSecrets(); err != nil {
		t.Fatal(err)
	}
	resolver, kept, err := good.secrets(dir)
	if err != nil || kept.Local == nil || len(resolver.Sources) != 4 || resolver.Sources[0] != secret.Source(kept.Local) || resolver.Sources[2] != secret.Source(secret.Directory(dir)) {
		t.Errorf("%+v, %+v, %v", resolver, kept, err)
	}
	for _, bad := range []string{"", "cloud", "local:", "env:", "env", "dir:", "dir:relative", "dir:" + dir + "/none", "vault:", "vault:nowhere", "vault:http://x?kv=7"} {
		if err := (&serverConfig{Secrets: []string{bad}, VaultTokenFile: "/run/token"}).checkSecrets(); err == nil {
			t.Errorf("--secrets %q is taken", bad)
		}
	}
	for _, token := range []string{"", "relative"} {
		if err := (&serverConfig{Secrets: []string{"vault:http://x"}, VaultTokenFile: token}).checkSecrets(); err == nil {
			t.Errorf("--vault-token-file %q is taken", token)
		}
	}
}

// Ensure the operator is told which file is damaged, and users that one is.
func TestDamagedSecretReported(t *testing.T) {
	dir := t.TempDir()
	c := serverConfig{Secrets: []string{"local"}}
	_, kept, err := c.secrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := kept.PutSecret(t.Context(), name, []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(dir + "/secrets/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	kept.report(t.Context(), zap.New(core))
	if all := logs.All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()["error"]), files[0]) {
		t.Errorf("the log has %+v, not %s", all, files[0])
	}
	all, err := kept.Secrets(t.Context())
	if err != nil || len(all) != 2 || all[0].Damaged == all[1].Damaged {
		t.Errorf("%+v, %v", all, err)
	}
	keptSecrets{}.report(t.Context(), zap.New(core))
}

// Ensure only directories of this host, each under one name, can stand for buckets.
func TestBuckets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := serverConfig{S3: []string{"my-bucket=" + dir, "other.bucket=/"}}
	if got, err := good.buckets(); err != nil || len(got) != 2 || got["my-bucket"] != dir {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{{"my-bucket"}, {"My=" + dir}, {"my-bucket=."}, {"my-bucket=" + file}, {"my-bucket=" + dir + "/none"}, {"=" + dir}, {"my-bucket=" + dir, "my-bucket=/"}} {
		if got, err := (&serverConfig{S3: bad}).buckets(); err == nil {
			t.Errorf("--s3 %q is %v", bad, got)
		}
	}
}
