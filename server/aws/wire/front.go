package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/origin"
)

// maxBody is the most that any request may bring: PutLogEvents takes 1 MiB of events,
// which JSON may write six times as long.
const maxBody = 8 << 20

// Config is what New needs. Throttle and Done may be nil.
type Config struct {
	Services []Service

	// Authenticate says who sent r for a service of that signing name, or fault.Unauthenticated;
	// body is r's, whole.
	Authenticate func(r *http.Request, body []byte, service string) (access.Identity, error)
	Access       access.Authorizer

	// Throttle returns fault.Throttled for a call that comes too soon after others.
	Throttle func(who access.Identity, service, operation string) error

	// Done is told of every call when it has ended.
	Done func(ctx context.Context, d Done)

	Hosts        []string // further names, in lower case, that clients may call the server by
	Log          *zap.Logger
	Now          func() time.Time
	NewRequestID func() string
}

// Done is a call that has ended.
type Done struct {
	Call
	Service   string
	Operation Operation
	Actions   []access.Action
	Input     any // the operation's In; nil if it could not be read
	Output    any // nil after an error
	Err       error
	Agent     string    // User-Agent
	At        time.Time // it began
}

// Front answers for AWS.
type Front struct {
	Config
	origin  origin.Check
	targets map[string]*Service // X-Amz-Target before the dot
	apis    map[string]*Service // dates of Query APIs
	ops     map[*Service]map[string]*Operation
}

// New returns a Front. Two services of the same target or date, or two operations of the
// same name in one, are a mistake in the program: it panics.
func New(c Config) *Front {
	f := &Front{Config: c, origin: origin.New(c.Hosts), targets: map[string]*Service{}, apis: map[string]*Service{}, ops: map[*Service]map[string]*Operation{}}
	for i := range c.Services {
		s := &c.Services[i]
		index, key := f.targets, s.Target
		if s.Protocol != JSON {
			index, key = f.apis, s.Version
		}
		if index[key] != nil || key == "" {
			panic(fmt.Sprintf("wire: two services for %q", key))
		}
		index[key], f.ops[s] = s, map[string]*Operation{}
		for j := range s.Operations {
			o := &s.Operations[j]
			if f.ops[s][o.Name] != nil {
				panic("wire: " + s.Name + " has " + o.Name + " twice")
			}
			f.ops[s][o.Name] = o
		}
	}
	return f
}

// Handles reports whether r is a request to AWS rather than to Berth's own API: AWS's
// are all POST /, or for Query services also GET / with an Action.
func (f *Front) Handles(r *http.Request) bool {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return false
	}
	return r.Method == http.MethodPost || r.URL.Query().Has("Action")
}

// exchange is one request and what is known of it so far.
type exchange struct {
	*Front
	w       http.ResponseWriter
	r       *http.Request
	call    Call
	body    []byte
	service *Service
	op      *Operation
	done    Done
}

// ServeHTTP is part of http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Front: f, w: w, r: r, call: Call{RequestID: f.NewRequestID(), Host: r.Host, Secure: r.TLS != nil, Source: r.RemoteAddr}}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		x.call.Source = host
	}
	h := w.Header()
	h.Set("x-amzn-RequestId", x.call.RequestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	x.done.At = f.Now()
	defer func() {
		if v := recover(); v != nil {
			f.Log.Error("operation panicked", zap.String("request", x.call.RequestID), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			x.finish(nil, errors.New("panic"))
		}
	}()
	x.finish(x.serve())
}

// serve does what the request asks for.
func (x *exchange) serve() (any, error) {
	if !x.origin.Ours(x.r.Host) {
		return nil, &Error{Code: "MisdirectedRequest", Status: http.StatusMisdirectedRequest,
			Message: "This server does not answer to the host " + x.r.Host + "; use an address or localhost, or add the name with --host"}
	}
	if !x.origin.SameOrigin(x.r) {
		return nil, &Error{Code: "AccessDeniedException", Status: http.StatusForbidden, Message: "Requests from other web pages are refused"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return nil, fault.New(fault.TooLarge, "A request has at most %d bytes", maxBody)
		}
		return nil, fault.Wrap(fault.Invalid, err, "The request's body broke off")
	}
	x.body = body
	name, form, err := x.find()
	if err != nil {
		return nil, err
	}
	if x.call.Identity, err = x.Authenticate(x.r, body, x.service.signing()); err != nil {
		return nil, err
	}
	if who := &x.call.Identity; who.Source == "" {
		who.Source, who.Secure = x.call.Source, x.call.Secure
	}
	x.call.Source, x.call.Secure = x.call.Identity.Source, x.call.Identity.Secure // a proxy may know better
	if x.op = x.ops[x.service][name]; x.op == nil {
		return nil, x.unknown(name)
	}
	if x.Throttle != nil {
		if err := x.Throttle(x.call.Identity, x.service.Name, name); err != nil {
			return nil, err
		}
	}
	in := reflect.New(x.op.in)
	if err := x.read(form, in); err != nil {
		return nil, err
	}
	x.done.Input = in.Interface()
	ctx := access.With(x.r.Context(), x.call.Identity)
	if err := x.authorize(ctx, in.Interface()); err != nil {
		return nil, err
	}
	return x.op.handle(ctx, x.call, in.Interface())
}

// authorize asks whether the caller may do all that the call does.
func (x *exchange) authorize(ctx context.Context, in any) error {
	if x.op.free {
		return nil
	}
	actions := []access.Action{{Resource: "*"}}
	if x.op.act != nil {
		var err error
		if actions, err = x.op.act(ctx, x.call, in); err != nil {
			return err
		}
		if len(actions) == 0 {
			actions = []access.Action{{Resource: "*"}}
		}
	}
	for i := range actions {
		if actions[i].Name == "" {
			actions[i].Name = x.service.Name + ":" + x.op.Name
		}
		if err := x.Access.Authorize(ctx, x.call.Identity, actions[i]); err != nil {
			return err
		}
	}
	x.done.Actions = actions
	return nil
}

func (s *Service) signing() string {
	if s.Signing != "" {
		return s.Signing
	}
	return s.Name
}

// finish writes what came of the request and tells of it.
func (x *exchange) finish(out any, err error) {
	status := http.StatusOK
	if s, ok := out.(Stream); ok && err == nil {
		if err = s.Stream(x.r.Context(), x.w); err != nil {
			x.Log.Warn("stream ended", zap.String("request", x.call.RequestID), zap.Error(err))
		}
	} else if err == nil {
		err = x.write(out)
	}
	if err != nil {
		e := x.service.translate(err)
		status = e.Status
		if status >= http.StatusInternalServerError {
			x.Log.Error("operation failed", zap.String("request", x.call.RequestID), zap.String("operation", x.name()), zap.Error(err))
		}
		if _, begun := out.(Stream); !begun {
			x.writeError(e)
		}
	}
	log := x.Log.Info
	if x.op == nil || x.op.Reads {
		log = x.Log.Debug
	}
	log("operation served", zap.String("request", x.call.RequestID), zap.String("operation", x.name()), zap.Int("status", status),
		zap.Duration("took", x.Now().Sub(x.done.At)))
	if x.Done != nil && x.op != nil {
		d := x.done
		d.Call, d.Service, d.Operation, d.Err, d.Agent = x.call, x.service.Name, *x.op, err, x.r.UserAgent()
		if err == nil {
			d.Output = out
		}
		x.Done(context.WithoutCancel(x.r.Context()), d)
	}
}

func (x *exchange) name() string {
	if x.op == nil {
		return "unknown"
	}
	return x.service.Name + ":" + x.op.Name
}

// unknown answers for an operation that the service does not have.
func (x *exchange) unknown(name string) error {
	if x.service.Protocol == JSON {
		return &Error{Code: "UnknownOperationException", Status: http.StatusBadRequest}
	}
	return Errorf("InvalidAction", "The action %s is not valid for this web service.", strings.TrimSpace(name))
}
