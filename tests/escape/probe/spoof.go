package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Marks of frames, for whoever looks on from outside.
const (
	forged = "berth-forged"
	honest = "berth-honest"
)

// spoofProbes send frames that say they come from somebody else. From inside nobody can
// tell what became of them.
var spoofProbes = []probe{
	{"spoof-honest", "send a frame as itself, to show that frames of these probes can be seen", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(gatewayMAC(f.Gateway), own.mac, unix.ETH_P_IP, udp(own.ip, ip4(f.Gateway), 9, 9, honest))
		})
	}, refused, outside},
	{"spoof-arp-gateway", "tell all that it is the gateway", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(everyone, own.mac, unix.ETH_P_ARP, arp(2, own.mac, ip4(f.Gateway), everyone, ip4(f.Victim)))
		})
	}, refused, outside},
	{"spoof-arp-victim", "tell the gateway that it is its neighbour", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(gatewayMAC(f.Gateway), own.mac, unix.ETH_P_ARP, arp(2, own.mac, ip4(f.Victim), gatewayMAC(f.Gateway), ip4(f.Gateway)))
		})
	}, refused, outside},
	{"spoof-ip", "send with its neighbour's IP address", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(gatewayMAC(f.Gateway), own.mac, unix.ETH_P_IP, udp(ip4(f.Victim), ip4(f.Gateway), 9, 9, forged))
		})
	}, refused, outside},
	{"spoof-mac", "send with another hardware address", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(gatewayMAC(f.Gateway), []byte{2, 0x66, 0x66, 0x66, 0x66, 0x66}, unix.ETH_P_IP, udp(own.ip, ip4(f.Gateway), 9, 9, forged))
		})
	}, refused, outside},
	{"spoof-raw-ip", "send with another IP address through a raw socket", rawIP, refused, outside},
	{"spoof-dhcp", "be a DHCP server", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(everyone, own.mac, unix.ETH_P_IP, udp(ip4(f.Gateway), net.IPv4bcast.To4(), 67, 68, forged))
		})
	}, refused, outside},
	{"spoof-ipv6-router", "be an IPv6 router", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			p := append([]byte{0x60, 0, 0, 0, 0, byte(len(forged)), 58, 255}, make([]byte, 32)...)
			return own.frame([]byte{0x33, 0x33, 0, 0, 0, 1}, own.mac, unix.ETH_P_IPV6, append(p, forged...))
		})
	}, refused, outside},
	{"spoof-vlan", "hide a frame in a VLAN's", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			p := append([]byte{0, 5, 8, 0}, udp(ip4(f.Victim), ip4(f.Gateway), 9, 9, forged)...)
			return own.frame(gatewayMAC(f.Gateway), own.mac, unix.ETH_P_8021Q, p)
		})
	}, refused, outside},
	{"spoof-stp", "steer the bridge by the spanning tree protocol", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			p := append([]byte{0x42, 0x42, 3}, forged...)
			return own.frame([]byte{1, 0x80, 0xc2, 0, 0, 0}, own.mac, uint16(len(p)), p)
		})
	}, refused, outside},
	{"spoof-frame-victim", "send its neighbour a frame past the gateway", func(f facts) (string, error) {
		return frames(f, func(own wire, f facts) []byte {
			return own.frame(everyone, own.mac, unix.ETH_P_IP, udp(own.ip, ip4(f.Victim), 9, f.VictimPort, "berth-past-the-gateway"))
		})
	}, refused, outside},
	{"spoof-listen", "hear what neighbours say", overhear, append([]error{errSilence}, refused...), none},
}

// wire is the task's link.
type wire struct {
	fd, index int
	mac, ip   []byte
}

var everyone = []byte{255, 255, 255, 255, 255, 255}

func openWire() (wire, error) {
	link, err := net.InterfaceByName(ownLink())
	if err != nil {
		return wire{}, err
	}
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(all))
	if err != nil {
		return wire{}, err
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	return wire{fd: fd, index: link.Index, mac: link.HardwareAddr, ip: ownAddress().To4()},
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: all})
}

func (wire) frame(to, from []byte, kind uint16, payload []byte) []byte {
	b := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func (w wire) send(frame []byte) error {
	return unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index, Halen: 6})
}

// frames sends a frame several times: one that is lost shows nothing.
func frames(f facts, frame func(wire, facts) []byte) (string, error) {
	w, err := openWire()
	if err != nil {
		return "", err
	}
	defer unix.Close(w.fd)
	b := frame(w, f)
	for range 5 {
		if err := w.send(b); err != nil {
			return "", err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Sprintf("5 frames of %d bytes", len(b)), nil
}

func ip4(s string) []byte { return net.ParseIP(s).To4() }

// gatewayMAC is what the kernel knows of the gateway, once it had to ask.
func gatewayMAC(gateway string) []byte {
	for range 20 {
		if c, err := net.Dial("udp4", hostPort(gateway, 9)); err == nil {
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
		b, _ := os.ReadFile("/proc/net/arp")
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) > 3 && fields[0] == gateway {
				if mac, err := net.ParseMAC(fields[3]); err == nil && fields[3] != "00:00:00:00:00:00" {
					return mac
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return everyone
}

func arp(op uint16, fromMAC, fromIP, toMAC, toIP []byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	for _, part := range [][]byte{fromMAC, fromIP, toMAC, toIP, []byte(forged)} {
		b = append(b, part...)
	}
	return b
}

func ipHeader(protocol byte, from, to []byte, length int) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
	b = append(append(b, from...), to...)
	binary.BigEndian.PutUint16(b[2:], uint16(20+length))
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return b
}

func udp(from, to []byte, fromPort, toPort int, text string) []byte {
	u := binary.BigEndian.AppendUint16(nil, uint16(fromPort))
	u = binary.BigEndian.AppendUint16(u, uint16(toPort))
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(text)))
	u = append(append(u, 0, 0), text...)
	return append(ipHeader(17, from, to, len(u)), u...)
}

// rawIP makes the IP header itself and leaves the frame to the kernel.
func rawIP(f facts) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	to := unix.SockaddrInet4{}
	copy(to.Addr[:], ip4(f.Gateway))
	for range 5 {
		if err := unix.Sendto(fd, udp(ip4(f.Victim), ip4(f.Gateway), 9, 9, forged), 0, &to); err != nil {
			return "", err
		}
	}
	return "5 packets", nil
}

// loopbackByFrame begins a connection to the host's 127.0.0.1 where the host routes what
// comes in for loopback (CVE-2020-8558).
func loopbackByFrame(f facts) (string, error) {
	w, err := openWire()
	if err != nil {
		return "", err
	}
	defer unix.Close(w.fd)
	from, to, port := w.ip, []byte{127, 0, 0, 1}, 45454
	t := binary.BigEndian.AppendUint16(nil, uint16(port))
	t = binary.BigEndian.AppendUint16(t, uint16(f.APIPort))
	t = append(t, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
	pseudo := append(append(append([]byte{}, from...), to...), 0, 6, 0, byte(len(t)))
	binary.BigEndian.PutUint16(t[16:], checksum(append(pseudo, t...)))
	frame := w.frame(gatewayMAC(f.Gateway), w.mac, unix.ETH_P_IP, append(ipHeader(6, from, to, len(t)), t...))
	b := make([]byte, 2000)
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; {
		if err := w.send(frame); err != nil {
			return "", err
		}
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if err == nil && n >= 54 && b[23] == 6 && binary.BigEndian.Uint16(b[36:]) == uint16(port) && binary.BigEndian.Uint16(b[34:]) == uint16(f.APIPort) {
			return "an answer from 127.0.0.1", nil
		}
	}
	return "", errSilence
}

// overhear listens for frames between others.
func overhear(f facts) (string, error) {
	w, err := openWire()
	if err != nil {
		return "", err
	}
	defer unix.Close(w.fd)
	b := make([]byte, 2000)
	for begun := time.Now(); time.Since(begun) < 2*time.Second; {
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		if a, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || a.Pkttype == unix.PACKET_OUTGOING || n < 34 {
			continue
		}
		if binary.BigEndian.Uint16(b[12:]) == unix.ETH_P_IP && string(b[26:30]) != string(w.ip) && string(b[30:34]) != string(w.ip) {
			return fmt.Sprintf("%v to %v", net.IP(b[26:30]), net.IP(b[30:34])), nil
		}
	}
	return "", errSilence
}
