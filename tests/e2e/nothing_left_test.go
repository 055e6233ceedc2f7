//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// traces lists all that a running server has on the host for its tasks: what each task
// must take with it when it goes.
func (s *server) traces() []string {
	s.t.Helper()
	sum := sha256.Sum256([]byte(s.dir))
	instance := hex.EncodeToString(sum[:4])
	run := "/run/berth/" + instance
	var found []string
	for _, pattern := range []string{
		s.dir + "/tasks/*", s.dir + "/storage/*", s.dir + "/trash/*", run + "/netns/*", run + "/s/*", run + "/runc/*/*", run + "/runsc/*/*", run + "/sandboxes/*",
		run + "/containerd/io.containerd.runtime.v2.task/*/*", "/sys/class/net/berth" + instance + "/brif/*",
		"/sys/fs/cgroup/berth/" + instance + "/*/", "/sys/fs/cgroup/*/berth/" + instance + "/*/",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			s.t.Fatal(err)
		}
		found = append(found, paths...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	for m := range strings.Lines(string(mounts)) {
		if strings.Contains(m, s.dir) || strings.Contains(m, instance) {
			found = append(found, "mount "+strings.Fields(m)[4])
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		if file, err := os.ReadFile(l); err == nil && strings.HasPrefix(string(file), s.dir) {
			found = append(found, "loop device of "+string(file))
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		line, err := os.ReadFile(p)
		text := strings.ReplaceAll(string(line), "\x00", " ")
		if program, _, _ := strings.Cut(text, " "); err == nil && strings.Contains(text, instance) &&
			(strings.Contains(program, "shim") || strings.Contains(program, "berth-log") || strings.Contains(program, "runc") || strings.Contains(program, "runsc")) {
			found = append(found, "process "+text)
		}
	}
	tell := func(what, program string, args ...string) {
		out, err := exec.Command(program, args...).Output()
		if err != nil {
			s.t.Fatalf("%s %v: %v: %s", program, args, err, out)
		}
		for line := range strings.Lines(string(out)) {
			found = append(found, what+" "+strings.Join(strings.Fields(line), " "))
		}
	}
	for _, family := range []string{"inet", "bridge"} {
		tell("nft "+family, "nft", "list", "table", family, "berth"+instance)
	}
	ctr := func(args ...string) {
		tell("containerd "+args[0], filepath.Join(filepath.Dir(berth), "libexec", "ctr"), append([]string{"--address", run + "/containerd.sock", "-n", "berth"}, args...)...)
	}
	ctr("containers", "ls", "-q")
	ctr("tasks", "ls", "-q")
	ctr("leases", "ls", "-q")
	ctr("snapshots", "ls")
	ctr("sandboxes", "ls")
	// The server's own ear for its tasks' questions has another port in each of its lives.
	gateway := regexp.MustCompile(`dnat ip to ([0-9.]+\.1):\d+`).FindStringSubmatch(strings.Join(found, "\n"))
	if gateway != nil {
		found = slices.DeleteFunc(found, func(x string) bool { return strings.Contains(x, gateway[1]+" ") || strings.Contains(x, gateway[1]+":") })
	}
	// So has the one that answers for names, which is let through for seconds at a time.
	found = slices.DeleteFunc(found, lease.MatchString)
	slices.Sort(found)
	return found
}

// lease is an element of a set of nftables that expires by itself.
var lease = regexp.MustCompile(`elements = \{ \d+ expires `)

// Ensure that whatever tasks do, however they end and whoever dies meanwhile, each takes
// everything with it. BERTH_TASKS says how many there are, BERTH_SEED which.
func TestNothingIsLeft(t *testing.T) {
	seed, tasks := uint64(time.Now().UnixNano()), 120
	if v := os.Getenv("BERTH_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	if v := os.Getenv("BERTH_TASKS"); v != "" {
		tasks, _ = strconv.Atoi(v)
	}
	t.Logf("BERTH_SEED=%d BERTH_TASKS=%d", seed, tasks)
	s := start(t, "--vcpu", "8", "--memory", "16384", "--spot-notice", "1s")
	if code := s.call("PUT", "/api/v1/security-groups/open", `{"ipPermissions":[{"ipProtocol":"-1","userIdGroupPairs":[{"groupId":"open"}]}]}`, nil); code != http.StatusOK {
		t.Fatalf("put a group: %d", code)
	}
	s.until(s.submit(definition("first", "256", "512", "", "exit", "0")).id(), "STOPPED", 30*time.Second)
	var before []string
	s.eventually(10*time.Second, "the first task has gone", func() error {
		if before = s.traces(); slices.ContainsFunc(before, func(x string) bool { return strings.Contains(x, s.dir+"/tasks/") }) {
			return fmt.Errorf("there are %v", before)
		}
		return nil
	})

	rnd := rand.New(rand.NewPCG(seed, 0))
	gates, running := make(chan struct{}, 16), sync.WaitGroup{}
	var mu sync.Mutex
	ids := make(map[string]string) // → kind
	kill := make(map[int]bool)
	for range 3 {
		kill[rnd.IntN(tasks)] = true
	}
	for n := range tasks {
		kind, body := anything(rnd)
		wait, act := time.Duration(rnd.IntN(1500))*time.Millisecond, rnd.IntN(5)
		gates <- struct{}{}
		if kill[n] {
			mu.Lock() // Nobody asks meanwhile.
			s.kill()
			s.run()
			mu.Unlock()
		}
		running.Go(func() {
			defer func() { <-gates }()
			ask := func(path, body string, out any) {
				for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
					mu.Lock()
					code, err := s.try("POST", path, body, out)
					mu.Unlock()
					if err == nil && code < 500 {
						return
					}
				}
			}
			var out struct{ Tasks []aTask }
			ask("/api/v1/tasks", body+fmt.Sprintf(`,"clientToken":"left-%d"}`, n), &out)
			if len(out.Tasks) != 1 {
				t.Errorf("%s: not accepted: %s", kind, body)
				return
			}
			id := out.Tasks[0].id()
			mu.Lock()
			ids[id] = kind
			mu.Unlock()
			time.Sleep(wait) // the random moment
			if act < 2 || kind == "stays" || kind == "spot" {
				path := "/stop"
				if kind == "spot" {
					path = "/interrupt"
				}
				ask("/api/v1/tasks/"+id+path, "{}", nil)
			}
			for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
				mu.Lock()
				var got aTask
				_, err := s.try("GET", "/api/v1/tasks/"+id, "", &got)
				mu.Unlock()
				if err == nil && got.LastStatus == "STOPPED" {
					return
				}
				if time.Now().After(deadline) {
					t.Errorf("%s %s does not end: %s", kind, id, got.LastStatus)
					return
				}
			}
		})
	}
	running.Wait()
	s.eventually(30*time.Second, "everything is as before", func() error {
		var more []string
		for _, x := range s.traces() {
			if !slices.Contains(before, x) {
				more = append(more, x)
			}
		}
		if len(more) > 0 {
			return fmt.Errorf("left: %v", more)
		}
		return nil
	})
	if code := s.call("DELETE", "/api/v1/security-groups/open", "", nil); code != http.StatusNoContent {
		t.Errorf("removing the group: %d", code)
	}
}

// anything returns the request for some task, without its closing brace, and what kind it
// is of.
func anything(rnd *rand.Rand) (kind, request string) {
	run := func(definition, more string) string { return `{"taskDefinition":` + definition + more }
	const open = `,"networkConfiguration":{"awsvpcConfiguration":{"securityGroups":["open"],"assignPublicIp":"ENABLED"}}`
	const spot = `,"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}]`
	stop := `,"stopTimeout":2`
	switch rnd.IntN(11) {
	case 0:
		return "ends", run(definition("ends", "256", "512", "", "exit", strconv.Itoa(rnd.IntN(200))), "")
	case 1:
		return "stays", run(definition("stays", "256", "512", stop, "ignore", "TERM"), "")
	case 2:
		return "published", run(definition("published", "256", "512", stop+`,"portMappings":[{"containerPort":8080},{"containerPort":53,"protocol":"udp"}]`, "sleep", "800ms"), open)
	case 3:
		return "spot", run(definition("spot", "256", "512", "", "ignore", "TERM"), spot)
	case 4:
		return "oom", run(definition("oom", "256", "512", "", "hog", "700"), "")
	case 5:
		return "no image", run(strings.Replace(definition("none", "256", "512", "", "exit", "0"), "berth/demo:latest", "127.0.0.1:1/none:latest", 1), "")
	case 6:
		return "no program", run(definition("nowhere", "256", "512", `,"entryPoint":["/nowhere"]`, "x"), open)
	case 7:
		return "checked", run(definition("checked", "256", "512", stop+`,"healthCheck":{"command":["CMD","/demo","sleep","1h"],"interval":5,"timeout":2}`, "sleep", "6s"), "")
	case 8:
		return "forks", run(definition("forks", "256", "512", stop, "fork", "20"), "")
	case 9:
		return "writes", run(`{"family":"writes","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","ephemeralStorage":{"sizeInGiB":25},
			"volumes":[{"name":"v"}],"containerDefinitions":[
			{"name":"a","essential":false,"image":"berth/demo:latest","command":["write","/v/a","20"],"mountPoints":[{"sourceVolume":"v","containerPath":"/v"}]},
			{"name":"b","image":"berth/demo:latest","command":["write","/v/b","20"],"mountPoints":[{"sourceVolume":"v","containerPath":"/v"}],"dependsOn":[{"containerName":"a","condition":"SUCCESS"}]}]}`, open)
	default:
		return "sidecars", run(`{"family":"sidecars","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","containerDefinitions":[
			{"name":"a","essential":false,"image":"berth/demo:latest","command":["sleep","1h"],"stopTimeout":2,"readonlyRootFilesystem":true,"user":"1000","linuxParameters":{"initProcessEnabled":true,"tmpfs":[{"containerPath":"/t","size":8}]}},
			{"name":"b","essential":false,"image":"berth/demo:latest","command":["lines","2000"]},
			{"name":"c","image":"berth/demo:latest","command":["sleep","500ms"],"dependsOn":[{"containerName":"a","condition":"START"}]}]}`, "")
	}
}
