package containerd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Ensure a task is told of the host's name servers that it can reach, and of no
// others.
func TestResolvConf(t *testing.T) {
	const none = "# This host has no name server that a task could reach.\n"
	for _, tt := range []struct{ name, first, second, want string }{
		{"plain", "search a.example b.example\nnameserver 192.0.2.53\nnameserver\t192.0.2.54 \noptions ndots:2\n", "",
			"search a.example b.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:2\n"},
		{"some on loopback or IPv6", "nameserver 127.0.0.1\nnameserver ::1\nnameserver 2001:db8::1\nnameserver 192.0.2.53\n", "", "nameserver 192.0.2.53\n"},
		{"systemd-resolved", "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\nsearch lan\n", "nameserver 192.0.2.1\nsearch lan\n"},
		{"comments and nonsense", "# nameserver 1.1.1.1\n;nameserver 1.1.1.1\nnameserver\nnameserver x\nsortlist 1.2.3.4\nnameserver 192.0.2.53\n", "", "nameserver 192.0.2.53\n"},
		{"nothing but loopback", "nameserver 127.0.0.1\n", "", none},
		{"no file", "", "", none},
	} {
		var files []string
		for i, text := range []string{tt.first, tt.second} {
			file := filepath.Join(t.TempDir(), string(rune('a'+i)))
			files = append(files, file)
			if text == "" {
				continue
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := resolvConf(files); got != tt.want {
			t.Errorf("%s: got\n%swant\n%s", tt.name, got, strings.TrimSpace(tt.want))
		}
	}
}

// Ensure a task asks the bridge's address and nobody else, and looks for short names in its
// own domains first and in the host's after them.
func TestNamedConf(t *testing.T) {
	server := netip.MustParseAddr("10.0.0.1")
	own := []string{"shop.berth.internal"}
	for _, tt := range []struct{ host, want string }{
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\n", "nameserver 10.0.0.1\nsearch shop.berth.internal\n"},
		{"nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2\n", "nameserver 10.0.0.1\nsearch shop.berth.internal a.example b.example\noptions ndots:2\n"},
		{"# This host has no name server that a task could reach.\n", "nameserver 10.0.0.1\nsearch shop.berth.internal\n"},
	} {
		if got := namedConf(tt.host, server, own); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.host, got, tt.want)
		}
	}
	if len(own) != 1 {
		t.Error("the domains that were given have changed")
	}
}
