package cgroup

import "bytes"

// The parsers below read what the kernel writes, many times a second, without
// allocating. They take text that they do not understand for zero: a counter
// that a kernel does not have is not an error.

// number returns the leading decimal number of b, after blanks.
func number(b []byte) uint64 {
	n, _ := leading(b)
	return n
}

// leading returns the leading decimal number of b, after blanks, and the rest.
func leading(b []byte) (uint64, []byte) {
	b = bytes.TrimLeft(b, " \t")
	var n uint64
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, b[i:]
}

// field returns the number behind name in text of the form
//
//	name 123
//	other 45
func field(text []byte, name string) uint64 {
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		if len(line) > len(name) && line[len(name)] == ' ' && string(line[:len(name)]) == name {
			return number(line[len(name):])
		}
	}
	return 0
}

// blkio sums, over all devices, the lines of version 1's blkio files:
//
//	8:0 Read 4096
//	8:0 Write 0
//	Total 4096
func blkio(text []byte) (read, written uint64) {
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		_, rest, ok := cut(line, ' ')
		if !ok {
			continue
		}
		switch what, n, _ := cut(rest, ' '); string(what) {
		case "Read":
			read += number(n)
		case "Write":
			written += number(n)
		}
	}
	return read, written
}

// traffic is what version 2's io.stat tells of all devices together.
type traffic struct{ rbytes, wbytes, rios, wios uint64 }

// ioStat sums the lines of io.stat:
//
//	8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0
func ioStat(text []byte) traffic {
	var sum traffic
	for len(text) > 0 {
		var line, word []byte
		line, text = cutLine(text)
		for len(line) > 0 {
			word, line, _ = cut(line, ' ')
			key, value, ok := cut(word, '=')
			if !ok {
				continue
			}
			switch string(key) {
			case "rbytes":
				sum.rbytes += number(value)
			case "wbytes":
				sum.wbytes += number(value)
			case "rios":
				sum.rios += number(value)
			case "wios":
				sum.wios += number(value)
			}
		}
	}
	return sum
}

// netDev sums the bytes of all interfaces but loopback in /proc/net/dev, whose
// lines are
//
//	eth0: bytes packets errs drop fifo frame compressed multicast bytes packets …
func netDev(text []byte) (received, sent uint64) {
	const sentColumn = 8
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		name, numbers, ok := cut(bytes.TrimLeft(line, " "), ':')
		if !ok || string(name) == "lo" {
			continue
		}
		for column := 0; column <= sentColumn; column++ {
			var n uint64
			n, numbers = leading(numbers)
			switch column {
			case 0:
				received += n
			case sentColumn:
				sent += n
			}
		}
	}
	return received, sent
}

func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = cut(text, '\n')
	return line, rest
}

func cut(b []byte, at byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, at); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}
