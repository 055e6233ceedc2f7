package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// networkProbes look for the host, the neighbour and the cloud in the network.
var networkProbes = []probe{
	{"net-api-gateway", "call Berth's API at the gateway", dials(func(f facts) string { return hostPort(f.Gateway, f.APIPort) }), silent, none},
	{"net-api-host", "call Berth's API at another address of the host", dials(func(f facts) string { return hostPort(f.Host, f.APIPort) }), silent, none},
	{"net-api-loopback", "call Berth's API at 127.0.0.1", dials(func(f facts) string { return hostPort("127.0.0.1", f.APIPort) }), silent, onHost},
	{"net-host-gateway", "reach an open port of the host at the gateway", dials(func(f facts) string { return hostPort(f.Gateway, f.OpenPort) }), silent, onHost},
	{"net-host-address", "reach an open port of the host at another address", dials(func(f facts) string { return hostPort(f.Host, f.OpenPort) }), silent, onHost},
	{"net-host-ping", "ping the host", func(f facts) (string, error) { return ping(f.Gateway) }, silent, onHost},
	{"net-victim-tcp", "connect to a neighbour", dials(func(f facts) string { return hostPort(f.Victim, f.VictimPort) }), silent, onHost},
	{"net-victim-udp", "send a neighbour a datagram", func(f facts) (string, error) {
		c, err := net.Dial("udp4", hostPort(f.Victim, f.VictimPort))
		if err != nil {
			return "", err
		}
		defer c.Close()
		for range 3 {
			if _, err = c.Write([]byte("berth-stranger")); err != nil {
				return "", err
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err = c.Read(make([]byte, 64))
		return "", err
	}, silent, onHost},
	{"net-victim-ping", "ping a neighbour", func(f facts) (string, error) { return ping(f.Victim) }, silent, onHost},
	{"net-victim-ipv6", "find a neighbour or the host by IPv6", pingAllNodes, append([]error{unix.EADDRNOTAVAIL, unix.EINVAL}, silent...), none},
	{"net-broadcast", "send every neighbour a datagram", func(f facts) (string, error) {
		own := ownAddress().To4()
		if own == nil {
			return "no address", unix.ENETUNREACH
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
		err = unix.Sendto(fd, []byte("berth-broadcast"), 0, &unix.SockaddrInet4{Port: f.VictimPort, Addr: [4]byte{own[0], own[1], own[2] | 0x0f, 255}})
		return "the neighbour says whether it heard it", err
	}, silent, outside},
	{"net-metadata-cloud", "ask the cloud for the machine's credentials", dials(func(facts) string { return "169.254.169.254:80" }), silent, none},
	{"net-metadata-other", "ask the task metadata endpoint for another task", func(f facts) (string, error) {
		c := http.Client{Timeout: 2 * time.Second}
		// Its own has to answer, where there is any, or this shows nothing.
		if own := os.Getenv("ECS_CONTAINER_METADATA_URI_V4"); own != "" {
			resp, err := c.Get(own + "/task")
			if err != nil || resp.StatusCode != http.StatusOK {
				return "its own does not answer either", fmt.Errorf("%v", err)
			}
			resp.Body.Close()
		}
		last, where := error(nil), ""
		for _, path := range []string{"/v4/" + f.VictimID, "/v4/" + f.VictimID + "/task", "/v3/" + f.VictimID + "/task", "/v4/" + f.VictimID + "/stats", "/v2/credentials/" + f.VictimID} {
			resp, err := c.Get("http://169.254.170.2" + path)
			if where = path; err != nil {
				last = errSilence
				continue
			}
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK || bytes.Contains(b, []byte(f.Victim)) {
				return path + ": " + string(b), nil
			}
			last = fmt.Errorf("%w: %s", errSilence, resp.Status)
		}
		return where, last
	}, silent, none},
	{"net-route-localnet", "reach the host's loopback with frames to 127.0.0.1", loopbackByFrame, silent, none},

	{"net-address", "give its link another address", func(facts) (string, error) {
		return "", netlinkRequest(unix.RTM_NEWADDR, ifaddrmsg())
	}, refused, inNet},
	{"net-route", "change its routes", func(facts) (string, error) {
		return "", netlinkRequest(unix.RTM_NEWROUTE, rtmsg())
	}, refused, inNet},
	{"net-link-mac", "give its link another hardware address", func(facts) (string, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(ownLink())
		if err != nil {
			return "", err
		}
		req.SetUint16(unix.IFF_UP | unix.IFF_PROMISC)
		return "SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
	}, refused, inNet},
	{"net-filter", "change a packet filter", func(facts) (string, error) {
		// The kernel asks for permission before it looks at what is in a message (nfnetlink_rcv).
		return "", netlink(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, []byte{unix.AF_INET, 0, 0, 0})
	}, append([]error{unix.EPROTONOSUPPORT}, refused...), inNet},
	{"net-forward", "turn on forwarding", writes("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/forwarding"), hidden, inNet},

	{"socket-vsock", "reach the machine's hypervisor", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0), strange, onHost},
	{"socket-alg", "use the kernel's cryptography", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), strange, onHost},
	{"socket-packet-fanout", "open a packet socket with a ring in the kernel's memory", packetRing, refused, none},
	{"socket-bluetooth", "use Bluetooth", socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 1), strange, none},
	{"socket-can", "use a CAN bus", socket(unix.AF_CAN, unix.SOCK_RAW, 1), strange, none},
	{"socket-tipc", "use TIPC", socket(unix.AF_TIPC, unix.SOCK_RDM, 0), strange, none},
	{"socket-rds", "use RDS", socket(unix.AF_RDS, unix.SOCK_SEQPACKET, 0), strange, none},
	{"socket-nfc", "use NFC", socket(unix.AF_NFC, unix.SOCK_SEQPACKET, 0), strange, none},
	{"socket-xdp", "read packets before the kernel does", socket(unix.AF_XDP, unix.SOCK_RAW, 0), strange, inNet},
	{"socket-key", "read IPsec's keys", socket(unix.AF_KEY, unix.SOCK_RAW, 2), strange, none},
	{"socket-x25", "use AX.25, X.25 or NET/ROM", socket(unix.AF_X25, unix.SOCK_SEQPACKET, 0), strange, none},
	{"socket-smc", "use SMC", socket(unix.AF_SMC, unix.SOCK_STREAM, 0), strange, none},
	{"socket-audit", "read and steer the audit log", func(facts) (string, error) {
		return "", netlink(unix.NETLINK_AUDIT, unix.AUDIT_GET, 0, nil)
	}, append([]error{unix.EPROTONOSUPPORT, unix.ECONNREFUSED}, refused...), none},
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

func dials(address func(facts) string) func(facts) (string, error) {
	return func(f facts) (string, error) {
		c, err := net.DialTimeout("tcp", address(f), 1500*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return address(f), err
	}
}

func socket(family, kind, protocol int) func(facts) (string, error) {
	return func(facts) (string, error) {
		fd, err := unix.Socket(family, kind, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return "", err
	}
}

// ping sends an ICMP echo request and waits for the answer.
func ping(address string) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		return "raw socket", err
	}
	defer unix.Close(fd)
	to := unix.SockaddrInet4{}
	copy(to.Addr[:], net.ParseIP(address).To4())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000})
	if err := unix.Sendto(fd, echoRequest(8), 0, &to); err != nil {
		return "send", err
	}
	b := make([]byte, 1500)
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if a, ok := from.(*unix.SockaddrInet4); err == nil && ok && a.Addr == to.Addr && n > 20 && b[20] == 0 {
			return "echo reply", nil
		}
	}
	return "", errSilence
}

func echoRequest(kind byte) []byte {
	m := []byte{kind, 0, 0, 0, 0x42, 0x42, 0, 1, 'b', 'e', 'r', 't', 'h', 0, 0, 0}
	binary.BigEndian.PutUint16(m[2:], checksum(m))
	return m
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func pingAllNodes(facts) (string, error) {
	link, err := net.InterfaceByName(ownLink())
	if err != nil {
		return "", unix.ENETUNREACH
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	if err != nil {
		return "raw socket", err
	}
	defer unix.Close(fd)
	to := unix.SockaddrInet6{ZoneId: uint32(link.Index), Addr: [16]byte{0: 0xff, 1: 0x02, 15: 1}}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000})
	if err := unix.Sendto(fd, echoRequest(128), 0, &to); err != nil {
		return "send", err
	}
	own, b := map[string]bool{}, make([]byte, 1500)
	if addresses, err := link.Addrs(); err == nil {
		for _, a := range addresses {
			own[strings.Split(a.String(), "/")[0]] = true
		}
	}
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if a, ok := from.(*unix.SockaddrInet6); err == nil && ok && n > 0 && b[0] == 129 && !own[net.IP(a.Addr[:]).String()] {
			return net.IP(a.Addr[:]).String() + " answered", nil
		}
	}
	return "", errSilence
}

// packetRing needs memory that is not the task's.
func packetRing(facts) (string, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	ring := unix.TpacketReq{Block_size: 4 << 20, Block_nr: 1 << 10, Frame_size: 2048, Frame_nr: 2048 << 10}
	err = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &ring)
	if err == unix.ENOMEM {
		err = unix.EPERM // it is the task's memory after all
	}
	return "4 GiB", err
}

func ownLink() string {
	if links, err := net.Interfaces(); err == nil {
		for _, l := range links {
			if l.Flags&net.FlagLoopback == 0 {
				return l.Name
			}
		}
	}
	return "lo"
}

func ownAddress() net.IP {
	link, err := net.InterfaceByName(ownLink())
	if err != nil {
		return nil
	}
	addresses, _ := link.Addrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP
		}
	}
	return nil
}

func linkIndex() uint32 {
	link, err := net.InterfaceByName(ownLink())
	if err != nil {
		return 1
	}
	return uint32(link.Index)
}

func ifaddrmsg() []byte {
	m := []byte{unix.AF_INET, 32, 0, 0}
	m = binary.NativeEndian.AppendUint32(m, linkIndex())
	return append(m, attribute(unix.IFA_LOCAL, []byte{192, 0, 2, 1})...)
}

func rtmsg() []byte {
	m := make([]byte, unix.SizeofRtMsg)
	m[0], m[1], m[4], m[5], m[6], m[7] = unix.AF_INET, 32, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_LINK, unix.RTN_BLACKHOLE
	return append(m, attribute(unix.RTA_DST, []byte{192, 0, 2, 9})...)
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

func netlinkRequest(kind uint16, body []byte) error {
	return netlink(unix.NETLINK_ROUTE, kind, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

// netlink makes one request of the kernel and returns what it says to it.
func netlink(family int, kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, family)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	m = binary.NativeEndian.AppendUint32(m, 1)
	m = binary.NativeEndian.AppendUint32(m, 0)
	if err := unix.Sendto(fd, append(m, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	b := make([]byte, os.Getpagesize())
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return err
	}
	if n >= unix.SizeofNlMsghdr+4 && binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		return errno(unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))))
	}
	return nil
}
