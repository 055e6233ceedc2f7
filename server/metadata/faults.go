package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"berth/fault"
	"berth/task"
)

// Faults are the faults in the networks of tasks, which are nowhere written down but
// there.
type Faults interface {
	// Fault reports whether f, or for Latency and PacketLoss any of its kind, is there.
	Fault(ctx context.Context, id task.ID, f task.NetworkFault) (bool, error)

	// StartFault makes f. For a kind that the kernel cannot make the error is
	// fault.Unavailable.
	StartFault(ctx context.Context, id task.ID, f task.NetworkFault) error

	// StopFault takes away f, or for Latency and PacketLoss what is there of its kind.
	// If nothing is, it does nothing.
	StopFault(ctx context.Context, id task.ID, f task.NetworkFault) error
}

var (
	faultKinds = []task.FaultKind{task.BlackholePort, task.Latency, task.PacketLoss}
	faultVerbs = []string{"start", "stop", "status"}
)

// maxBody is the most bytes that a question may bring.
const maxBody = 64 << 10

// metadataAddress is spared by every fault.
var metadataAddress = netip.MustParsePrefix("169.254.170.2/32")

// The requests are called as in the agent, for their names come up in its errors.

// NetworkBlackholePortRequest says which packets are lost.
type NetworkBlackholePortRequest struct {
	Port            *uint16
	Protocol        *string
	TrafficType     *string
	SourcesToFilter []*string
}

// NetworkLatencyRequest says how late packets are.
type NetworkLatencyRequest struct {
	DelayMilliseconds  *uint64
	JitterMilliseconds *uint64
	Sources            []*string
	SourcesToFilter    []*string
}

// NetworkPacketLossRequest says how many packets are lost.
type NetworkPacketLossRequest struct {
	LossPercent     *uint64
	Sources         []*string
	SourcesToFilter []*string
}

type faultAnswer struct {
	Status string `json:"Status,omitempty"`
	Error  string `json:"Error,omitempty"`
}

// fault is POST …/fault/v1/KIND/VERB.
func (e *endpoint) fault(kind task.FaultKind, verb string) gin.HandlerFunc {
	return func(c *gin.Context) {
		f := task.NetworkFault{Kind: kind}
		if verb == "start" || kind == task.BlackholePort { // Of the others there is one at most.
			var err error
			if f, err = readFault(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody), kind); err != nil {
				write(c, http.StatusBadRequest, faultAnswer{Error: err.Error()})
				return
			}
		}
		a, err := e.asker(c)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			write(c, http.StatusNotFound, faultAnswer{Error: fault.Message(err)})
			return
		case err != nil:
			e.failed(c, err)
			write(c, http.StatusInternalServerError, faultAnswer{Error: "failed to get task metadata due to internal server error for container: " + c.Param("id")})
			return
		case !a.definition.EnableFaultInjection:
			write(c, http.StatusBadRequest, faultAnswer{Error: "enableFaultInjection is not enabled for task: " + a.task.ARN})
			return
		}
		status, err := e.inject(c.Request.Context(), a.task.ID, f, verb)
		switch {
		case err == nil:
			write(c, http.StatusOK, faultAnswer{Status: status})
		case fault.KindOf(err) == fault.Conflict:
			write(c, http.StatusConflict, faultAnswer{Error: fault.Message(err)})
		case fault.KindOf(err) == fault.Unavailable:
			write(c, http.StatusInternalServerError, faultAnswer{Error: fault.Message(err)})
		default:
			e.failed(c, err)
			write(c, http.StatusInternalServerError, faultAnswer{Error: "internal error"})
		}
	}
}

// inject does with f what verb says and returns how it is then. One task's requests come
// one after the other.
func (e *endpoint) inject(ctx context.Context, id task.ID, f task.NetworkFault, verb string) (string, error) {
	e.faults.Lock()
	defer e.faults.Unlock()
	switch verb {
	case "start":
		return "running", e.startFault(ctx, id, f)
	case "stop":
		return "stopped", e.Host.StopFault(ctx, id, f)
	}
	running, err := e.Host.Fault(ctx, id, f)
	if !running {
		return "not-running", err
	}
	return "running", err
}

// startFault makes f, unless there is one of its kind. Of Latency and PacketLoss there
// can be one.
func (e *endpoint) startFault(ctx context.Context, id task.ID, f task.NetworkFault) error {
	if f.Kind == task.BlackholePort {
		if running, err := e.Host.Fault(ctx, id, f); running || err != nil {
			return err
		}
		return e.Host.StartFault(ctx, id, f)
	}
	for kind, what := range map[task.FaultKind]string{task.Latency: "network latency", task.PacketLoss: "network packet loss"} {
		running, err := e.Host.Fault(ctx, id, task.NetworkFault{Kind: kind})
		if err != nil {
			return err
		}
		if running {
			return fault.New(fault.Conflict, "There is already one %s fault running", what)
		}
	}
	return e.Host.StartFault(ctx, id, f)
}

// readFault reads a request. Its errors are the agent's.
func readFault(r io.Reader, kind task.FaultKind) (task.NetworkFault, error) {
	f := task.NetworkFault{Kind: kind}
	var err error
	switch kind {
	case task.BlackholePort:
		var in NetworkBlackholePortRequest
		if err = decode(r, &in); err == nil {
			err = in.into(&f)
		}
	case task.Latency:
		var in NetworkLatencyRequest
		if err = decode(r, &in); err == nil {
			err = in.into(&f)
		}
	case task.PacketLoss:
		var in NetworkPacketLossRequest
		if err = decode(r, &in); err == nil {
			err = in.into(&f)
		}
	}
	if !slices.Contains(f.Except, metadataAddress) {
		f.Except = append(f.Except, metadataAddress)
	}
	return f, err
}

func decode(r io.Reader, in any) error {
	err := json.NewDecoder(r).Decode(in)
	if errors.Is(err, io.EOF) {
		return errors.New("required request body is missing")
	}
	return err
}

func missing(field string) error { return fmt.Errorf("required parameter %s is missing", field) }

func wrong(value, field string) error {
	return fmt.Errorf("invalid value %s for parameter %s", value, field)
}

func (in NetworkBlackholePortRequest) into(f *task.NetworkFault) (err error) {
	switch {
	case in.Port == nil:
		return missing("Port")
	case in.Protocol == nil || *in.Protocol == "":
		return missing("Protocol")
	case in.TrafficType == nil || *in.TrafficType == "":
		return missing("TrafficType")
	case *in.Protocol != "tcp" && *in.Protocol != "udp":
		return wrong(*in.Protocol, "Protocol")
	case *in.TrafficType != "ingress" && *in.TrafficType != "egress":
		return wrong(*in.TrafficType, "TrafficType")
	}
	f.Port, f.Protocol, f.Ingress = *in.Port, *in.Protocol, *in.TrafficType == "ingress"
	f.Except, err = prefixes(in.SourcesToFilter, "SourcesToFilter")
	return err
}

// maxDelay is the longest that netem can delay a packet.
const maxDelay = 60 * 60 * 1000 // ms

func (in NetworkLatencyRequest) into(f *task.NetworkFault) error {
	switch {
	case in.DelayMilliseconds == nil:
		return missing("DelayMilliseconds")
	case in.JitterMilliseconds == nil:
		return missing("JitterMilliseconds")
	case *in.DelayMilliseconds > maxDelay:
		return wrong(strconv.FormatUint(*in.DelayMilliseconds, 10), "DelayMilliseconds")
	case *in.JitterMilliseconds > maxDelay:
		return wrong(strconv.FormatUint(*in.JitterMilliseconds, 10), "JitterMilliseconds")
	}
	f.Delay = time.Duration(*in.DelayMilliseconds) * time.Millisecond
	f.Jitter = time.Duration(*in.JitterMilliseconds) * time.Millisecond
	return sources(f, in.Sources, in.SourcesToFilter)
}

func (in NetworkPacketLossRequest) into(f *task.NetworkFault) error {
	switch {
	case in.LossPercent == nil:
		return missing("LossPercent")
	case *in.LossPercent < 1 || *in.LossPercent > 100:
		return wrong(strconv.FormatUint(*in.LossPercent, 10), "LossPercent")
	}
	f.LossPercent = int(*in.LossPercent)
	return sources(f, in.Sources, in.SourcesToFilter)
}

func sources(f *task.NetworkFault, hurt, spared []*string) (err error) {
	if len(hurt) == 0 {
		return missing("Sources")
	}
	if f.Sources, err = prefixes(hurt, "Sources"); err != nil {
		return err
	}
	f.Except, err = prefixes(spared, "SourcesToFilter")
	return err
}

// prefixes reads addresses and CIDR blocks.
func prefixes(texts []*string, field string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, t := range texts {
		text := ""
		if t != nil {
			text = *t
		}
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, wrong(text, field)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
