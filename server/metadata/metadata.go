// Package metadata answers what a task asks about itself: the ECS task metadata
// endpoint in versions 2 to 4, its stats, the credentials of its role, and the agent's
// API for task protection and fault injection.
//
// The rule: who asks is known by the address that the connection comes from, which no
// other task can have, and is told of its own task only. The ID in the path must belong
// to that task too, as on Fargate; a task that knows another one's learns nothing by it.
//
// Shapes and texts are those of the ECS agent (github.com/aws/amazon-ecs-agent,
// ecs-agent/tmds), values those of Fargate where the two differ.
package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// Tasks is what is written down of tasks.
type Tasks interface {
	Task(ctx context.Context, id task.ID) (task.Task, error)
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
}

// Host is where the tasks run.
type Host interface {
	// Holder returns the task that has that address.
	Holder(addr netip.Addr) (task.ID, bool)

	// Life returns how far a container has come; nothing, if it is not there.
	Life(id task.ID, container string) (task.ContainerLife, error)

	// Stats reads a container's counters. If it has none, because it does not run, the
	// error is fault.NotFound.
	Stats(ctx context.Context, id task.ID, container string) (task.ContainerStats, error)

	// StorageUsed returns how many bytes of its ephemeral storage a task uses; false if
	// that is not known.
	StorageUsed(id task.ID) (bytes uint64, known bool)

	// Subnet is where tasks have their addresses. Its first one is the gateway.
	Subnet() netip.Prefix

	// Resolver returns the name servers that a task asks, and the domains in which it
	// looks for short names.
	Resolver(id task.ID) (servers, search []string)

	Faults
}

// Clock is how true the host's clock is.
type Clock struct {
	Synchronized bool
	Bound        time.Duration // it is off by no more; only if it is synchronized
	At           time.Time     // when it was looked at
}

// Config is what New needs. All fields are required but those that say what their zero
// value means.
type Config struct {
	Tasks       Tasks
	Host        Host
	Snapshotter string       // what makes the containers' root file systems
	Clock       func() Clock // how true the host's clock is
	Protection  Protection   // nil: all tasks are standalone; see Standalone
	Roles       Roles        // nil: no role has credentials
	Account     string       // the one whose tasks have Roles' credentials; "" if all have
	Names       Names
	Log         *zap.Logger
	Now         func() time.Time
}

// endpoint is the handler.
type endpoint struct {
	Config
	windows windows
	pace    *pace
	faults  sync.Mutex // held while the faults of a task are looked at and changed
}

// New returns the handler for what tasks ask.
func New(c Config) http.Handler {
	if c.Protection == nil {
		c.Protection = Standalone{}
	}
	e := &endpoint{Config: c, windows: newWindows(), pace: newPace()}
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.RedirectTrailingSlash = false
	r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, what any) {
		e.Log.Error("a question of a task panicked", zap.Any("panic", what), zap.Stack("stack"))
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	r.Use(e.slow)
	e.routes(r)
	return r
}

// routes is all that tasks may ask.
func (e *endpoint) routes(r gin.IRouter) {
	for _, v := range []version{v3, v4} {
		at := "/" + string(v) + "/:id"
		for _, path := range []string{at, at + "/"} {
			r.GET(path, e.answer(v.says("container metadata"), func(ctx context.Context, a asker) (any, error) { return e.container(ctx, v, a) }))
		}
		r.GET(at+"/task", e.answer(v.says("task metadata"), func(ctx context.Context, a asker) (any, error) { return e.task(ctx, v, a, false) }))
		r.GET(at+"/taskWithTags", e.answer(v.says("task metadata"), func(ctx context.Context, a asker) (any, error) { return e.task(ctx, v, a, true) }))
		r.GET(at+"/stats", e.answer(v.says("container stats"), func(ctx context.Context, a asker) (any, error) { return e.containerStats(ctx, v, a) }))
		r.GET(at+"/task/stats", e.answer(v.says("task stats"), func(ctx context.Context, a asker) (any, error) { return e.taskStats(ctx, v, a) }))
	}
	for path, tags := range map[string]bool{"/v2/metadata": false, "/v2/metadataWithTags": true} {
		r.GET(path, e.tell(e.from, v2.says("task metadata"), func(ctx context.Context, a asker) (any, error) { return e.task(ctx, v2, a, tags) }))
		r.GET(path+"/:id", e.answer(v2.says("container metadata"), func(ctx context.Context, a asker) (any, error) { return e.container(ctx, v2, a) }))
	}
	r.GET("/v2/stats", e.tell(e.from, v2.says("task stats"), func(ctx context.Context, a asker) (any, error) { return e.taskStats(ctx, v2, a) }))
	r.GET("/v2/stats/:id", e.answer(v2.says("container stats"), func(ctx context.Context, a asker) (any, error) { return e.containerStats(ctx, v2, a) }))
	r.GET("/v2/credentials/*id", e.credentials)
	r.GET("/api/:id/task-protection/v1/state", e.protection)
	r.PUT("/api/:id/task-protection/v1/state", e.protect)
	for _, kind := range faultKinds {
		for _, verb := range faultVerbs {
			r.POST("/api/:id/fault/v1/"+string(kind)+"/"+verb, e.fault(kind, verb))
		}
	}
}

// version is one of the endpoint's. The second one says the same as the third, under
// paths that are the same for all.
type version string

const (
	v2 version = "v2"
	v3 version = "v3"
	v4 version = "v4"
)

// says is how the agent calls who answers.
func (v version) says(what string) string { return "V" + string(v[1:]) + " " + what + " handler: " }

// asker is who asks, and for which of its task's containers.
type asker struct {
	task       task.Task
	definition task.Definition
	container  string
}

// answer is a handler of a path with a container's ID.
func (e *endpoint) answer(who string, f func(context.Context, asker) (any, error)) gin.HandlerFunc {
	return e.tell(e.asker, who, f)
}

// tell is a handler that looks who asks, asks f and writes down what it says.
func (e *endpoint) tell(asks func(*gin.Context) (asker, error), who string, f func(context.Context, asker) (any, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		a, err := asks(c)
		if err == nil {
			var out any
			if out, err = f(c.Request.Context(), a); err == nil {
				write(c, http.StatusOK, out)
				return
			}
		}
		if fault.KindOf(err) == fault.NotFound {
			write(c, http.StatusNotFound, who+fault.Message(err))
			return
		}
		e.failed(c, err)
		write(c, http.StatusInternalServerError, who+"the server could not find out")
	}
}

// asker returns who asks. If nobody of that address may ask under that ID, the error is
// fault.NotFound.
func (e *endpoint) asker(c *gin.Context) (asker, error) {
	a, err := e.from(c)
	if err != nil {
		return a, err
	}
	for _, container := range a.task.Containers {
		if task.RuntimeID(a.task.ID, container.Name) == c.Param("id") {
			a.container = container.Name
			return a, nil
		}
	}
	return a, unknown(c)
}

// from returns the task that asks, by the address that the connection comes from.
func (e *endpoint) from(c *gin.Context) (asker, error) {
	at, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil {
		return asker{}, unknown(c)
	}
	id, ok := e.Host.Holder(at.Addr())
	if !ok {
		return asker{}, unknown(c)
	}
	var a asker
	if a.task, err = e.Tasks.Task(c.Request.Context(), id); err != nil {
		return a, err
	}
	a.definition, err = e.Tasks.Definition(c.Request.Context(), a.task.Realm(), a.task.DefinitionARN)
	return a, err
}

func unknown(c *gin.Context) error {
	return fault.New(fault.NotFound, "unable to get container ID from request: unable to get docker ID using v3 endpoint ID: %s", c.Param("id"))
}

// failed logs what the server, and not the task, is to blame for.
func (e *endpoint) failed(c *gin.Context, err error) {
	if errors.Is(err, context.Canceled) {
		return // It did not wait for the answer.
	}
	e.Log.Error("a task's question was not answered", zap.String("route", c.FullPath()), zap.String("from", c.Request.RemoteAddr), zap.Error(err))
}

// write writes an answer as the agent does: JSON, also when it is a text alone.
func write(c *gin.Context, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{}`)
	}
	c.Data(status, "application/json", text)
}
