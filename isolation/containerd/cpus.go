package containerd

import (
	"errors"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"berth/isolation"
	"berth/isolation/cpuset"
	"berth/task"
)

// openCPUs finds out which CPUs there are, and which of them tasks have to themselves.
func (r *Runtime) openCPUs() error {
	host, err := cpuset.Host()
	if err != nil {
		return err
	}
	r.cpus, r.confined = cpuset.NewPool(host, r.Instance), make(map[task.ID]string)
	if !r.ShareCPUs && !r.cgroups.Confines() {
		r.Log.Warn("tasks share all CPUs: the kernel offers no cgroup controller cpuset")
		r.ShareCPUs = true
	}
	err = r.eachWorld(func(id task.ID, record sandboxRecord) {
		if record.BootID == r.bootID {
			r.cpus.Hold(id, record.Sandbox.Size.CPU, record.CPUs)
			r.confined[id] = "" // What it was when the last server died is not known.
		}
	})
	return errors.Join(err, r.confine(""))
}

// reserveCPUs gives a task the CPUs that it is to have to itself.
func (r *Runtime) reserveCPUs(s isolation.Sandbox) cpuset.Set {
	if r.ShareCPUs {
		return nil
	}
	return r.cpus.Reserve(s.ID, s.Size.CPU)
}

// confine keeps every task to the CPUs that it may use now. It is called whenever that may
// have changed, by the task id that changed it. The error is that task's: another's is
// logged, and made good with the next change.
func (r *Runtime) confine(by task.ID) error {
	r.confining.Lock()
	defer r.confining.Unlock()
	all, sets := r.cpus.All().String(), r.cpus.Sets()
	for id := range r.confined {
		if _, there := sets[id]; !there {
			delete(r.confined, id)
		}
	}
	var failed error
	for id, set := range sets {
		now, known := r.confined[id]
		if want := set.String(); now != want && (known || want != all) {
			err := r.cgroups.Confine(string(id), want, all)
			switch {
			case err == nil && r.cgroups.Exists(string(id)):
				r.confined[id] = want
			case err != nil && id == by:
				failed = err
			case err != nil:
				r.Log.Warn("a task runs on CPUs that are not its own", zap.String("task", string(id)), zap.Error(err))
			}
		}
	}
	return failed
}

// releaseCPUs takes back the CPUs that a task had to itself, for others to share.
func (r *Runtime) releaseCPUs(id task.ID) error {
	r.cpus.Release(id)
	return r.confine(id)
}

// cpusOf returns the numbers of the CPUs that a task may use now, as in 0,2,3; empty if that
// is all.
func (r *Runtime) cpusOf(id task.ID) string {
	set := r.cpus.Sets()[id]
	if len(set) == len(r.cpus.All()) {
		return ""
	}
	var numbers []string
	for _, cpu := range set {
		numbers = append(numbers, strconv.Itoa(cpu))
	}
	return strings.Join(numbers, ",")
}
