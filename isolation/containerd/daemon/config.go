package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ttrpcSuffix is what containerd adds to the name of its socket for a second one.
const ttrpcSuffix = ".ttrpc"

// disabled are plugins that Berth does not use, or that would leave things
// outside of the server's own directories.
var disabled = []string{
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.grpc.v1.cri",
	"io.containerd.image-verifier.v1.bindir", // looks in /opt
	"io.containerd.internal.v1.opt",          // makes /opt/containerd
	"io.containerd.internal.v1.restart",
	"io.containerd.internal.v1.tracing",
	"io.containerd.nri.v1.nri", // listens at /var/run/nri
	"io.containerd.podsandbox.controller.v1.podsandbox",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.snapshotter.v1.zfs",
	"io.containerd.tracing.processor.v1.otlp",
}

// toml is containerd's configuration file. Quoting in TOML is that of Go for
// all that a path can hold.
func (d *Daemon) toml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by Berth at every start.\n")
	fmt.Fprintf(&b, "version = 3\nroot = %q\nstate = %q\ntemp = %q\noom_score = 0\n\n", d.root(), filepath.Join(d.RunDir, "containerd"), d.temp())
	b.WriteString("disabled_plugins = [\n")
	for _, p := range disabled {
		fmt.Fprintf(&b, "  %q,\n", p)
	}
	b.WriteString("]\n\n")
	fmt.Fprintf(&b, "[grpc]\n  address = %q\n  uid = %d\n  gid = %d\n\n", d.Address(), os.Getuid(), os.Getgid())
	fmt.Fprintf(&b, "[ttrpc]\n  address = %q\n  uid = %d\n  gid = %d\n\n", d.Address()+ttrpcSuffix, os.Getuid(), os.Getgid())
	b.WriteString("[debug]\n  level = \"warn\"\n\n")
	fmt.Fprintf(&b, "[plugins.\"io.containerd.shim.v1.manager\"]\n  socket_dir = %q\n", d.socketDir())
	return b.String()
}
