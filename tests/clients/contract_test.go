//go:build clients

package clients

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the contract test's table into docs/compatibility.md")

const (
	docs  = "../../docs/clients.md"
	begin = "<!-- contract: begin -->\n"
	end   = "<!-- contract: end -->"
)

// Ensure that every request that AWS's service models allow, and every one that breaks one of
// their rules, is answered as the models say.
func TestContract(t *testing.T) {
	table := filepath.Join(t.TempDir(), "table.md")
	t.Run("requests", func(t *testing.T) {
		client(t, "contract", nil, installed(t, "python", "bin", "python"), "contract/contract.py", "--endpoint", endpoint, "--table", table)
	})
	t.Cleanup(func() {
		if !t.Failed() {
			publish(t, table)
		}
	})
}

// publish compares the table with the one in the documentation, or puts it there.
func publish(t *testing.T, table string) {
	t.Helper()
	fresh, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", docs)
	}
	switch {
	case old == string(fresh):
	case *update:
		if err := os.WriteFile(docs, []byte(before+begin+string(fresh)+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is another one: run the test with -update", docs)
	}
}
