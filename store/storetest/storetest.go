// Package storetest opens throw-away stores for the tests of other packages.
package storetest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/store"
	"berth/task"
)

// Realm is where things in tests belong.
var Realm = task.Realm{Region: "us-east-1", Account: "000000000000", Cluster: "default"}

// Open opens the store in dir, which may hold one already, and closes it when
// the test ends. It works inside a testing/synctest bubble.
func Open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s := OpenUnclosed(t, dir)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// OpenUnclosed is Open for tests that close the store themselves.
func OpenUnclosed(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{
		Path: filepath.Join(dir, "berth.db"), Log: zap.NewNop(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
