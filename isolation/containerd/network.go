package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"berth/fault"
	"berth/task"
)

// eth0 is the interface of a task, in its own network namespace.
const eth0 = "eth0"

// network gives tasks an address on a bridge that belongs to this server alone.
//
// A task gets no more than that. The bridge has no address of the host's, so
// nothing of the host can be reached; its ports are isolated, so the tasks
// cannot reach one another; there is no route out. Whatever more a task may
// reach will be given to it explicitly.
type network struct {
	bridge string
	subnet netip.Prefix
	dir    string // CNI's state: who has which address
	cni    *libcni.CNIConfig
	list   *libcni.NetworkConfigList
}

// networkRecord is the choice of a subnet, made once: tasks may still be there
// when the server starts again.
type networkRecord struct{ Subnet netip.Prefix }

const networkFile = "network.json"

func openNetwork(c Config) (*network, error) {
	n := &network{bridge: c.Bridge, subnet: c.Subnet, dir: filepath.Join(c.StateDir, "cni")}
	record, found, err := load[networkRecord](c.StateDir, networkFile)
	if err != nil {
		return nil, err
	}
	if !found || c.Subnet.IsValid() && c.Subnet != record.Subnet {
		if n.subnet, err = chooseSubnet(c.Bridge, c.Subnet); err != nil {
			return nil, err
		}
		if err := saveDurably(c.StateDir, networkFile, networkRecord{n.subnet}); err != nil {
			return nil, err
		}
	} else {
		n.subnet = record.Subnet
	}
	if err := ensureBridge(n.bridge, n.subnet); err != nil {
		return nil, err
	}
	// The plugins' list format is that of the CNI specification 1.0.
	list, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0",
		"name":       c.Bridge,
		"plugins": []any{map[string]any{
			"type":          "bridge",
			"bridge":        c.Bridge,
			"isGateway":     false,
			"ipMasq":        false,
			"portIsolation": true,
			"ipam": map[string]any{
				"type":    "host-local",
				"dataDir": n.dir,
				"ranges":  [][]map[string]string{{{"subnet": n.subnet.String()}}},
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	if n.list, err = libcni.ConfListFromBytes(list); err != nil {
		return nil, fmt.Errorf("configure network %s: %w", c.Bridge, err)
	}
	n.cni = libcni.NewCNIConfigWithCacheDir([]string{filepath.Join(c.Libexec, "cni")}, filepath.Join(n.dir, "cache"), nil)
	return n, nil
}

func runtimeConf(id task.ID, netns string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: string(id), NetNS: netns, IfName: eth0}
}

// attach gives the namespace its interface and address. It must not have one.
func (n *network) attach(ctx context.Context, id task.ID, netns string) (task.Network, error) {
	if err := ensureBridge(n.bridge, n.subnet); err != nil {
		return task.Network{}, err
	}
	added, err := n.cni.AddNetworkList(ctx, n.list, runtimeConf(id, netns))
	if err != nil {
		if strings.Contains(err.Error(), "no IP addresses available") {
			return task.Network{}, fault.Wrap(fault.Exhausted, err, "no address is left in %s", n.subnet)
		}
		return task.Network{}, fmt.Errorf("attach task %s to the network: %w", id, err)
	}
	result, err := types100.NewResultFromResult(added)
	if err != nil {
		return task.Network{}, fmt.Errorf("read the network of task %s: %w", id, err)
	}
	out := task.Network{Subnet: n.subnet.String()}
	for _, ip := range result.IPs {
		out.IPv4 = ip.Address.IP.String()
	}
	for _, i := range result.Interfaces {
		if i.Name == eth0 && i.Sandbox != "" {
			out.MAC = i.Mac
		}
	}
	if out.IPv4 == "" {
		return task.Network{}, fmt.Errorf("attach task %s to the network: the plugin gave no address", id)
	}
	return out, nil
}

// detach takes the address back. The namespace itself, and with it the
// interface, may be gone already.
func (n *network) detach(ctx context.Context, id task.ID) error {
	held, err := n.holds(id)
	if err != nil || !held {
		return err
	}
	// Without a namespace the plugins only release the address; the interface
	// vanishes with the namespace, which is next to go.
	if err := n.cni.DelNetworkList(ctx, n.list, runtimeConf(id, "")); err != nil {
		return fmt.Errorf("detach task %s from the network: %w", id, err)
	}
	return nil
}

// holds reports whether a task has an address or a cached result.
func (n *network) holds(id task.ID) (bool, error) {
	if _, err := os.Stat(filepath.Join(n.dir, "cache", "results", n.bridge+"-"+string(id)+"-"+eth0)); err == nil {
		return true, nil
	}
	all, err := n.holders()
	for _, name := range all {
		if name == string(id) {
			return true, err
		}
	}
	return false, err
}

// holders returns who has an address. host-local keeps a file for each, named by
// the address, whose first line is the ID of the holder.
func (n *network) holders() ([]string, error) {
	dir := filepath.Join(n.dir, n.bridge)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		id, _, _ := strings.Cut(string(text), "\n")
		ids = append(ids, strings.TrimSpace(id))
	}
	return ids, nil
}

func (n *network) remove() error { return removeBridge(n.bridge) }
