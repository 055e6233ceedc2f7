package channel

import (
	"bytes"
	"container/heap"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"berth/fault"
)

// Ensure a message is, byte for byte, what the plugin's documentation of the header says.
func TestEncode(t *testing.T) {
	m := Message{
		Type: Input, Created: 0x0102030405060708, Sequence: 9, Flags: SYN, Kind: Size, Payload: []byte("payload"),
		ID: uuid.MustParse("dd01e56b-ff48-483e-a508-b5f073f31b16"),
	}
	want := "00000074" + // length of the header, 116
		hex.EncodeToString([]byte("input_stream_data               ")) +
		"00000001" + "0102030405060708" + "0000000000000009" + "0000000000000001" +
		"a508b5f073f31b16" + "dd01e56bff48483e" + // the halves of the UUID, the low one first
		"239f59ed55e737c77147cf55ad0c1b030b6d7ee748a7426952f9b852d5a935e5" + // SHA-256 of "payload"
		"00000003" + "00000007" + hex.EncodeToString([]byte("payload"))
	if got := hex.EncodeToString(m.Encode()); got != want {
		t.Errorf("Encode =\n%s, want\n%s", got, want)
	}
	got, err := Decode(m.Encode())
	if err != nil || got.Type != m.Type || got.ID != m.ID || got.Sequence != 9 || got.Created != m.Created || !bytes.Equal(got.Payload, m.Payload) || got.Kind != Size {
		t.Errorf("Decode = %+v, %v", got, err)
	}
}

// Ensure no bit of a message can be lost unnoticed where it matters, and that what is no
// message is refused.
func TestDecodeRefuses(t *testing.T) {
	good := Message{Type: Output, Payload: []byte("hello"), Kind: Bytes}.Encode()
	for _, bad := range [][]byte{nil, good[:10], good[:len(good)-1], append(bytes.Clone(good), 0), make([]byte, 200)} {
		if _, err := Decode(bad); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("Decode of %d bytes: %v", len(bad), err)
		}
	}
	for _, at := range []int{0, schemaAt, digestAt, lengthAt, payloadAt} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := Decode(bad); err == nil {
			t.Errorf("a message that was changed at %d is taken", at)
		}
	}
	long := Message{Type: Output, Payload: make([]byte, MaxPayload+1)}.Encode()
	if _, err := Decode(long); err == nil {
		t.Error("a payload of more than MaxPayload is taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Message{Type: Input, Payload: []byte("x"), Kind: Bytes, Sequence: 3}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(m.Encode())
		if err != nil || again.Sequence != m.Sequence || again.ID != m.ID || again.Kind != m.Kind || !bytes.Equal(again.Payload, m.Payload) {
			t.Errorf("%+v comes back as %+v, %v", m, again, err)
		}
		l := NewServer(uuid4)
		_, _ = l.Take(time.Unix(0, 0), b)
	})
}

func uuid4() [16]byte { return uuid.New() }

// flight is a frame on its way.
type flight struct {
	at    time.Time
	to    *Link
	frame []byte
}

type flights []flight

func (f flights) Len() int           { return len(f) }
func (f flights) Less(i, j int) bool { return f[i].at.Before(f[j].at) }
func (f flights) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)        { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

// Ensure both streams arrive whole and in order over a connection that loses, repeats and
// overtakes, and is replaced now and then.
func TestLossyLink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		loss := rapid.Float64Range(0, 0.4).Draw(t, "loss")
		twice := rapid.Float64Range(0, 0.4).Draw(t, "twice")
		jitter := time.Duration(rapid.IntRange(0, 2000).Draw(t, "jitter")) * time.Millisecond
		breaks := rapid.Float64Range(0, 0.01).Draw(t, "breaks")
		messages := rapid.IntRange(0, 700).Draw(t, "messages")
		luck := rand.New(rand.NewPCG(seed, 1))

		now := time.Unix(0, 0)
		server, client := NewServer(uuid4), NewClient(uuid4)
		other := map[*Link]*Link{server: client, client: server}
		var air flights
		fly := func(from *Link, frame []byte) {
			if frame == nil {
				return
			}
			for range 2 {
				if luck.Float64() >= loss {
					late := time.Duration(luck.Int64N(int64(jitter) + 1))
					heap.Push(&air, flight{now.Add(time.Millisecond + late), other[from], frame})
				}
				if luck.Float64() >= twice {
					break
				}
			}
		}
		said, heard := map[*Link]*bytes.Buffer{}, map[*Link]*bytes.Buffer{}
		left := map[*Link]int{server: messages, client: messages}
		ends := []*Link{server, client}
		for _, l := range ends {
			said[l], heard[l] = new(bytes.Buffer), new(bytes.Buffer)
		}
		for round := 0; ; round++ {
			if round > 200_000 {
				t.Fatalf("%d and %d messages are never acknowledged", server.Unacked(), client.Unacked())
			}
			now = now.Add(20 * time.Millisecond)
			for _, l := range ends {
				for range 8 {
					if left[l] > 0 && l.Room() {
						payload := make([]byte, luck.IntN(20))
						for i := range payload {
							payload[i] = byte(luck.Uint32())
						}
						said[l].Write(payload)
						fly(l, l.Send(now, Bytes, payload))
						left[l]--
					}
				}
				for _, frame := range l.Due(now) {
					fly(l, frame)
				}
			}
			if luck.Float64() < breaks {
				air = nil
				for _, l := range ends {
					for _, frame := range l.Resume(now) {
						fly(l, frame)
					}
				}
			}
			for len(air) > 0 && !air[0].at.After(now) {
				f := heap.Pop(&air).(flight)
				taken, err := f.to.Take(now, f.frame)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range taken.Messages {
					heard[f.to].Write(m.Payload)
				}
				fly(f.to, taken.Answer)
			}
			if left[server]+left[client]+server.Unacked()+client.Unacked() == 0 {
				break
			}
		}
		for _, l := range ends {
			if !bytes.Equal(said[l].Bytes(), heard[other[l]].Bytes()) {
				t.Fatalf("%d bytes were said, %d heard", said[l].Len(), heard[other[l]].Len())
			}
		}
	})
}

// Ensure a peer cannot make this end keep more than a window.
func TestFarAhead(t *testing.T) {
	now := time.Unix(0, 0)
	l := NewServer(uuid4)
	for n := int64(1); n < 10*Window; n++ {
		taken, err := l.Take(now, Message{Type: Input, Sequence: n, Kind: Bytes}.Encode())
		if err != nil || len(taken.Messages) > 0 || (taken.Answer != nil) != (n < Window) {
			t.Fatalf("message %d: %+v, %v", n, taken, err)
		}
	}
	if len(l.early) >= Window {
		t.Errorf("%d messages are kept", len(l.early))
	}
	if _, err := l.Take(now, Message{Type: Input, Sequence: -1}.Encode()); err == nil {
		t.Error("a negative number is taken")
	}
}
