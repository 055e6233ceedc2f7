// Package tests tries the whole system from outside, and holds the house to its
// own rules.
package tests

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "berth/"

// may says which package may import which others of ours. To read it is to know
// the architecture; to change it is to change the architecture
// (docs/architecture.md).
var may = map[string][]string{
	"discovery":                     {"task"},
	"fault":                         {},
	"strictjson":                    {"fault"},
	"money":                         {"fault"},
	"task":                          {"fault", "money", "strictjson"},
	"access":                        {"access/sigv4", "fault", "strictjson", "task"},
	"access/sigv4":                  {},
	"access/session":                {"access", "fault"},
	"billing":                       {"fault", "money", "task"},
	"cluster":                       {"fault", "task"},
	"billing/proof":                 {},
	"balancer":                      {"fault", "task"},
	"billing/billingtest":           {"billing", "fault", "task"},
	"billing/anomaly":               {"billing", "fault", "notice"},
	"billing/budget":                {"billing", "fault", "task"},
	"billing/estimate":              {"billing", "billing/history", "fault", "task"},
	"billing/history":               {"billing", "fault", "task"},
	"billing/rightsize":             {"billing", "billing/estimate", "billing/history", "fault", "task"},
	"billing/prices":                {"billing", "fault", "strictjson"},
	"billing/prices/pricestest":     {"billing/prices", "fault"},
	"billing/tuning":                {"billing", "billing/history", "fault", "task"},
	"billing/focus":                 {"billing", "billing/proof", "fault", "task"},
	"billing/waste":                 {"billing", "billing/history", "fault", "task"},
	"billing/whatif":                {"billing", "billing/estimate", "billing/history", "fault", "task"},
	"isolation":                     {"fault", "task"},
	"server/aws/ssm":                {"access", "fault", "isolation", "server/aws/ssm/channel", "server/aws/wire", "server/origin", "session"},
	"server/aws/ssm/channel":        {"fault"},
	"session":                       {"access", "fault", "isolation", "task"},
	"isolation/isolationtest":       {"fault", "isolation", "task"},
	"isolation/thread":              {},
	"isolation/cgroup":              {"fault", "isolation/thread", "task"},
	"isolation/cpuset":              {"task"},
	"isolation/disk":                {"fault"},
	"isolation/userns":              {"fault", "isolation/thread", "task"},
	"isolation/containerd":          {"fault", "isolation", "isolation/cgroup", "isolation/cpuset", "isolation/disk", "isolation/thread", "isolation/userns", "task"},
	"isolation/containerd/daemon":   {"fault"},
	"images":                        {"fault", "task"},
	"logs":                          {"fault", "task"},
	"store":                         {"access", "balancer", "billing", "billing/anomaly", "billing/budget", "billing/history", "billing/prices", "billing/proof", "billing/rightsize", "billing/tuning", "cluster", "eventbridge", "fault", "logs/cloudwatch", "notice", "scaling", "service", "task"},
	"logs/cloudwatch":               {"fault", "logs", "task"},
	"logs/pattern":                  {"fault"},
	"notice":                        {"fault"},
	"eventbridge":                   {"fault", "notice", "task"},
	"scaling":                       {"fault", "task"},
	"store/storetest":               {"billing", "fault", "store", "task"},
	"roles":                         {"fault"},
	"secret":                        {"fault", "task"},
	"service":                       {"fault", "task"},
	"runner":                        {"fault", "isolation", "task"},
	"server/api":                    {"access", "balancer", "billing", "billing/anomaly", "billing/budget", "billing/estimate", "billing/history", "billing/prices", "billing/proof", "billing/tuning", "eventbridge", "fault", "logs", "money", "notice", "strictjson", "task"},
	"server/aws/ecs":                {"access", "cluster", "fault", "server/aws/ssm", "server/aws/wire", "service", "session", "task"},
	"server/aws/logs":               {"fault", "logs/cloudwatch", "logs/pattern", "server/aws/wire", "task"},
	"server/aws/throttle":           {"access", "fault", "task"},
	"server/aws/wire":               {"access", "access/sigv4", "fault", "server/origin", "strictjson", "task"},
	"server/aws/autoscaling":        {"access", "fault", "scaling", "server/aws/wire", "task"},
	"server/aws/ec2":                {"fault", "server/aws/wire", "task"},
	"server/aws/sts":                {"access", "access/session", "fault", "server/aws/wire"},
	"server/edge":                   {"access", "fault", "server/api"},
	"server/metadata":               {"fault", "roles", "task"},
	"server/origin":                 {},
	"server/rest":                   {"access", "access/sigv4", "balancer", "billing", "billing/anomaly", "billing/budget", "billing/estimate", "billing/focus", "billing/history", "billing/prices", "billing/proof", "billing/rightsize", "billing/tuning", "billing/waste", "billing/whatif", "eventbridge", "fault", "isolation", "logs", "notice", "server/api", "server/origin", "session", "strictjson", "task"},
	"server/rest/resttest":          {"access", "balancer", "billing", "billing/anomaly", "billing/budget", "billing/estimate", "billing/history", "billing/prices", "billing/prices/pricestest", "billing/proof", "billing/rightsize", "billing/tuning", "billing/waste", "billing/whatif", "eventbridge", "fault", "isolation", "logs", "money", "notice", "server/api", "server/rest", "session", "task"},
	"server/aws/elbv2":              {"balancer", "fault", "server/aws/wire", "task"},
	"isolation/isolationtest/probe": {},
	"client":                        {"access", "balancer", "billing", "billing/anomaly", "billing/budget", "billing/estimate", "billing/focus", "billing/prices", "billing/proof", "billing/rightsize", "billing/tuning", "billing/waste", "billing/whatif", "eventbridge", "fault", "logs", "notice", "server/api", "task"},
}

// free lists the folders that may import everything: they tie things together or
// judge them from outside.
var free = []string{"cmd/", "tests", "examples/", "deps/"}

// Ensure every package of ours imports only what the table lets it.
func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	eachFile(t, func(path, pkg string) {
		if slices.ContainsFunc(free, func(f string) bool { return strings.HasPrefix(pkg+"/", f) || pkg == f }) {
			return
		}
		allowed, known := may[pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table of who may import whom", path, pkg)
			return
		}
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if name, ours := strings.CutPrefix(name, module); ours && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which the table does not allow", path, name)
			}
		}
	})
	for pkg := range may {
		if !seen[pkg] {
			t.Errorf("the table speaks of package %s, which does not exist", pkg)
		}
	}
}

// Ensure the program that checks proofs is made of package billing/proof alone: who
// does not trust Berth has nothing else of it to read.
func TestProofStandsAlone(t *testing.T) {
	eachFile(t, func(path, pkg string) {
		if pkg != "cmd/berth-proof" && pkg != "billing/proof" {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			standard := !strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && !strings.HasPrefix(name, module)
			if !standard && !strings.HasPrefix(name, "golang.org/x/mod/sumdb/") && name != module+"billing/proof" {
				t.Errorf("%s imports %s", path, name)
			}
		}
	})
}

// eachFile calls f for each Go file of ours that is not a test, with its path
// from the root of the repository and its package's path.
func eachFile(t *testing.T, f func(path, pkg string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || name == "testdata" || name == "bin" || len(name) > 2 && name[0] == '.') {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		path = filepath.ToSlash(strings.TrimPrefix(path, "../"))
		f(path, filepath.ToSlash(filepath.Dir(path)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
