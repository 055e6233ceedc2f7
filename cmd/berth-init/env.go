package main

import (
	"fmt"
	"os"
	"strings"
)

// setEnv takes variables from a file in which each is KEY=VALUE and a NUL, in place of
// those that there are.
func setEnv(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the container's secrets cannot be read: %w", err)
	}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		if kv == "" {
			continue // there are none
		}
		key, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("the variable %q cannot be set: %w", key, err)
		}
	}
	return nil
}
