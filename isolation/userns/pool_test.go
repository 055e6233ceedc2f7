package userns

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"berth/fault"
	"berth/task"
)

func TestRange(t *testing.T) {
	m := Range(first + 3*Size)
	for in, want := range map[uint32]int{0: int(m), 65534: int(m) + 65534, 65535: int(m) + 65535, 65536: 65536, 1 << 30: 1 << 30} {
		if got := m.Outside(in); got != want {
			t.Errorf("%d is %d outside, want %d", in, got, want)
		}
		if got := m.Inside(uint32(want)); got != in {
			t.Errorf("%d is %d inside, want %d", want, got, in)
		}
		if got := Range(0).Outside(in); got != int(in) {
			t.Errorf("without IDs of its own, a task's %d is %d outside", in, got)
		}
	}
	if m := Range(0).Mappings(); m != nil {
		t.Errorf("without IDs of its own a task has mappings: %v", m)
	}
}

// Ensure no two tasks have the same ID, that IDs come back, and that a server that starts
// again knows who has which.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, held := NewPool("one"), make(map[task.ID]Range)
		for i := range rapid.IntRange(1, 200).Draw(t, "acts") {
			id := task.ID(fmt.Sprint("task", i))
			switch rapid.IntRange(0, 3).Draw(t, "act") {
			case 0:
				for id := range held {
					p.Release(id)
					delete(held, id)
					break
				}
			case 1:
				p = NewPool("one")
				for id, m := range held {
					p.Hold(m, id)
				}
			default:
				m, err := p.Reserve(id)
				if err != nil {
					t.Fatal(err)
				}
				for other, has := range held {
					if has == m {
						t.Fatalf("%s and %s have the IDs from %d on", id, other, m)
					}
				}
				if m < first || uint64(m)+Size > 0x7ffe0000 || (m-first)%Size != 0 {
					t.Fatalf("%s got the IDs from %#x on", id, m)
				}
				held[id] = m
			}
		}
	})
}

func TestPoolIsUsedUp(t *testing.T) {
	p := NewPool("one")
	for i := range Ranges {
		if _, err := p.Reserve(task.ID(fmt.Sprint(i))); err != nil {
			t.Fatalf("range %d: %v", i, err)
		}
	}
	if _, err := p.Reserve("more"); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("one task too many: %v, want Exhausted", err)
	}
	p.Release("7")
	if _, err := p.Reserve("more"); err != nil {
		t.Errorf("after one was released: %v", err)
	}
}
