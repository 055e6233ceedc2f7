package task

import (
	"net/netip"
	"time"
)

// FaultKind is what is done to the network of a task that asked for it.
type FaultKind string

// The kinds of AWS Fault Injection Service, in the words of the ECS agent.
const (
	BlackholePort FaultKind = "network-blackhole-port" // packets for one port are lost
	Latency       FaultKind = "network-latency"        // what is sent to Sources is late
	PacketLoss    FaultKind = "network-packet-loss"    // some of what is sent to Sources is lost
)

// NetworkFault is one fault in the network of a task.
type NetworkFault struct {
	Kind FaultKind

	// Of BlackholePort: which packets. There can be one for each.
	Port     uint16
	Protocol string // tcp or udp
	Ingress  bool   // packets that come in, not those that go out

	// Of Latency and PacketLoss, of which there is one at most, together.
	Delay, Jitter time.Duration
	LossPercent   int            // 1 to 100
	Sources       []netip.Prefix // what is sent there is hurt

	Except []netip.Prefix // what is sent there, or comes from there, is spared
}
