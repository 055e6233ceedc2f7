package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fault"
)

// Ensure the secret behind tasks' paths is made once, and is nobody's to read.
func TestMetadataKey(t *testing.T) {
	dir := t.TempDir()
	first, err := metadataKey(dir)
	if err != nil || len(first) != 32 || bytes.Equal(first, make([]byte, 32)) {
		t.Fatalf("%x, %v", first, err)
	}
	if again, err := metadataKey(dir); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the next server has %x, %v; want %x", again, err, first)
	}
	st, err := os.Stat(filepath.Join(dir, metadataKeyFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	if other, err := metadataKey(t.TempDir()); err != nil || bytes.Equal(first, other) {
		t.Errorf("another server has %x, %v", other, err)
	}
}

func TestRoleFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte(`{"AccessKeyId":"AK","SecretAccessKey":"SK"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, url, says string }{
		{"", "", ""},
		{"", "http://127.0.0.1:4566", ""},
		{"", "127.0.0.1:4566", "is not a URL"},
		{"", "ftp://127.0.0.1", "is not a URL"},
		{file, "", "its mode is 0644, and has to be 0600"},
		{file + ".not", "", "cannot be read"},
	} {
		c := serverConfig{TaskCredentials: tt.file, STSEndpoint: tt.url}
		err := c.checkRoles()
		if tt.says == "" && err != nil || tt.says != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), tt.says)) {
			t.Errorf("%+v: %v, want %s", tt, err, tt.says)
		}
	}
	if r := (&serverConfig{}).roles(); r != nil {
		t.Errorf("without flags: %v", r)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	c := serverConfig{TaskCredentials: filepath.Base(file)} // "berth up" starts the server elsewhere.
	if err := c.checkRoles(); err != nil {
		t.Fatal(err)
	}
	if c.TaskCredentials != file {
		t.Errorf("the file is %s, want %s", c.TaskCredentials, file)
	}
	if got, err := c.roles().Credentials(t.Context(), "role", "session"); err != nil || got.AccessKeyID != "AK" {
		t.Errorf("%+v, %v", got, err)
	}
}
