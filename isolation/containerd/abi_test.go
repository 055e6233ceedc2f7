//go:build e2e

package containerd_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation"
)

// Two programs of a few machine instructions each, in the tests' image: one for
// the i386, as old games and their servers are, and one that makes a system call
// of x32.
var (
	i386Program = elf32(
		0xb8, 1, 0, 0, 0, // mov $SYS_exit, %eax
		0xbb, 7, 0, 0, 0, // mov $7, %ebx
		0xcd, 0x80, // int $0x80
	)
	x32Program = elf64(
		0xb8, 39, 0, 0, 0x40, // mov $(x32 | SYS_getpid), %eax
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov $SYS_exit, %eax
		0xbf, 9, 0, 0, 0, // mov $9, %edi
		0x0f, 0x05, // syscall
	)
)

const origin = 0x400000

func ident(class elf.Class) (id [elf.EI_NIDENT]byte) {
	copy(id[:], elf.ELFMAG)
	id[elf.EI_CLASS], id[elf.EI_DATA], id[elf.EI_VERSION] = byte(class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	return id
}

func elf32(code ...byte) []byte {
	const headers = 52 + 32
	size := uint32(headers + len(code))
	return program(elf.Header32{
		Ident: ident(elf.ELFCLASS32), Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: 1,
		Entry: origin + headers, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1,
	}, elf.Prog32{
		Type: uint32(elf.PT_LOAD), Vaddr: origin, Filesz: size, Memsz: size, Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x1000,
	}, code)
}

func elf64(code ...byte) []byte {
	const headers = 64 + 56
	size := uint64(headers + len(code))
	return program(elf.Header64{
		Ident: ident(elf.ELFCLASS64), Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Entry: origin + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Vaddr: origin, Filesz: size, Memsz: size, Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x1000,
	}, code)
}

func program(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.LittleEndian, p); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// Ensure that programs for the i386 run, as on Fargate, and that one that makes
// system calls of x32 is killed: no kernel of Fargate's has them.
func TestSystemCallsOfOtherABIs(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		return // There are no others.
	}
	b, _ := newBox(t, small)
	for _, c := range []struct {
		program string
		want    int
	}{{"/i386", 7}, {"/x32", 128 + int(unix.SIGSYS)}} {
		b.run(isolation.Container{Name: c.program[1:], EntryPoint: []string{c.program}})
		if e := b.wait(c.program[1:]); e.Code != c.want {
			t.Errorf("%s exited with %d, want %d", c.program, e.Code, c.want)
		}
	}
}
