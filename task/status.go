package task

// Status is where a task, or one of its containers, is in its life. A task only
// ever moves forward.
type Status string

// The states of a task, in order. A container knows only Pending, Running and
// Stopped.
const (
	Provisioning   Status = "PROVISIONING"   // waits for capacity; gets its cgroup and network
	Pending        Status = "PENDING"        // its images are pulled; the charge runs from here
	Activating     Status = "ACTIVATING"     // its containers are made and started
	Running        Status = "RUNNING"        //
	Deactivating   Status = "DEACTIVATING"   // leaves load balancers
	Stopping       Status = "STOPPING"       // its containers get STOPSIGNAL and then SIGKILL
	Deprovisioning Status = "DEPROVISIONING" // its network, cgroup and disks are removed
	Stopped        Status = "STOPPED"        // nothing is left; the charge ends here
)

// Statuses lists the states of a task in order.
var Statuses = []Status{Provisioning, Pending, Activating, Running, Deactivating, Stopping, Deprovisioning, Stopped}

var nexts = map[Status][]Status{
	Provisioning:   {Pending, Deprovisioning},
	Pending:        {Activating, Deprovisioning},
	Activating:     {Activating, Running, Stopping},
	Running:        {Running, Deactivating},
	Deactivating:   {Stopping},
	Stopping:       {Deprovisioning},
	Deprovisioning: {Stopped},
}

// Final reports whether nothing more can happen to a task in s.
func (s Status) Final() bool { return s == Stopped }

// The stop codes of the ECS API (enum TaskStopCode) that a run can end with, and one of
// Berth's own.
const (
	FailedToStart   = "TaskFailedToStart"
	EssentialExited = "EssentialContainerExited"
	UserInitiated   = "UserInitiated"
	Infrastructure  = "InfrastructureHealth"

	ServiceScheduler = "ServiceSchedulerInitiated"

	SpotInterruption = "SpotInterruption"

	SpendLimit = "SpendLimit" // Berth: a budget or the run's own limit is reached
)

// Reasons in the words that Fargate uses for them, where it has words.
const (
	ReasonEssentialExited = "Essential container in task exited"
	ReasonUserStopped     = "Task stopped by user"
	ReasonOutOfMemory     = "OutOfMemoryError: Container killed due to memory usage"
)
