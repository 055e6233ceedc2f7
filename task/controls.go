package task

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/fault"
)

// ipcControls are the kernel parameters of an IPC namespace. With fs.mqueue.* and
// net.* they are all that a container has for itself and may set (API reference,
// SystemControl).
var ipcControls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced"}

// controlPattern is the name of a parameter below /proc/sys, without a step upwards.
var controlPattern = regexp.MustCompile(`^(net|fs\.mqueue)([./][A-Za-z0-9_:@-]+)+$`)

func validateSystemControls(at string, c ContainerDefinition) error {
	for i, s := range c.SystemControls {
		at := fmt.Sprintf("%ssystemControls[%d].", at, i)
		switch {
		case !slices.Contains(ipcControls, s.Namespace) && !controlPattern.MatchString(s.Namespace):
			return fault.At(at+"namespace", "must be one of %s, or begin with fs.mqueue. or net., not %q", strings.Join(ipcControls, ", "), s.Namespace)
		case hostsControl(s.Namespace):
			return fault.At(at+"namespace", "%s can only be set for the host as a whole: a container does not have it for itself", s.Namespace)
		case s.Value == "" || strings.ContainsAny(s.Value, "\x00\n"):
			return fault.At(at+"value", "must be one line and not empty")
		}
	}
	return nil
}

// hostsControls are the names, by what is before them, that the host has in /proc/sys/net,
// and that a new network namespace lacks or only shows (Linux 6.18, the two compared;
// TestHostsControls does it with the kernel at hand). Other kernels may lack more: there the
// reason for which a container could not start says so.
var hostsControls = map[string]string{
	"net.core.": `bpf_jit_enable bpf_jit_harden bpf_jit_kallsyms bpf_jit_limit busy_poll busy_read default_qdisc dev_weight
		dev_weight_rx_bias dev_weight_tx_bias devconf_inherit_init_net fb_tunnels_only_for_init_net
		flow_limit_cpu_bitmap flow_limit_table_len gro_normal_batch high_order_alloc_disable max_skb_frags
		mem_pcpu_rsv message_burst message_cost netdev_budget netdev_budget_usecs netdev_max_backlog
		netdev_rss_key netdev_tstamp_prequeue netdev_unregister_timeout_secs rmem_default rmem_max
		rps_sock_flow_entries skb_defer_max warnings wmem_default wmem_max`,
	"net.ipv4.": `cipso_cache_bucket_size cipso_cache_enable cipso_rbm_optfmt cipso_rbm_strictvalid fib_sync_mem
		inet_peer_maxttl inet_peer_minttl inet_peer_threshold ipfrag_secret_interval
		tcp_allowed_congestion_control tcp_available_congestion_control tcp_available_ulp tcp_ehash_entries
		tcp_low_latency tcp_max_orphans tcp_mem udp_hash_entries udp_mem`,
	"net.ipv4.route.": `error_burst error_cost gc_elasticity gc_interval gc_min_interval gc_min_interval_ms gc_thresh gc_timeout
		max_size redirect_load redirect_number redirect_silence`,
	"net.ipv6.":      `calipso_cache_bucket_size calipso_cache_enable ip6frag_secret_interval mld_max_msf mld_qrv`,
	"net.mptcp.":     `available_path_managers available_schedulers`,
	"net.netfilter.": `nf_conntrack_buckets nf_conntrack_count nf_conntrack_expect_max nf_conntrack_max nf_log_all_netns`,
	"net.":           `nf_conntrack_max`,
}

// hostsControl reports whether a parameter is known to be the host's alone. The parts of
// its name may have dots or slashes between them.
func hostsControl(name string) bool {
	name = strings.ReplaceAll(name, "/", ".")
	i := strings.LastIndexByte(name, '.') + 1
	return slices.Contains(strings.Fields(hostsControls[name[:i]]), name[i:]) ||
		strings.HasPrefix(name, "net.ipv4.neigh.default.") || strings.HasPrefix(name, "net.ipv6.neigh.default.")
}
