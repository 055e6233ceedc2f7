package channel

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"berth/fault"
)

// How long a message may be unacknowledged before it is sent again: as long as others took,
// and from RTO up to MaxRTO.
const (
	RTO    = 200 * time.Millisecond
	MaxRTO = time.Second
)

// Window is how many messages may be unacknowledged, and how many are kept that came before
// their turn.
const Window = 512

// burst is how many messages are sent again at a time.
const burst = 16

// Link is one end of a data channel. It sends messages of one type and takes those of
// another, each once and in order, whatever the connection loses, repeats or overtakes; the
// connection may be replaced at any time. It is not safe for concurrent use.
type Link struct {
	sends, takes string
	newID        func() [16]byte

	next    int64 // number of the next message
	unacked []sent

	expected int64 // number of the next message to be delivered
	early    map[int64]Message

	trip, variation time.Duration // how long acknowledgements take
}

// sent is a message that was not acknowledged.
type sent struct {
	sequence int64
	frame    []byte
	at       time.Time // last
	again    bool      // more than once: what its acknowledgement took says nothing
}

// NewServer returns the end that a client talks to; newID makes UUIDs.
func NewServer(newID func() [16]byte) *Link { return newLink(Output, Input, newID) }

// NewClient returns the other end.
func NewClient(newID func() [16]byte) *Link { return newLink(Input, Output, newID) }

func newLink(sends, takes string, newID func() [16]byte) *Link {
	return &Link{sends: sends, takes: takes, newID: newID, early: make(map[int64]Message), trip: RTO / 2}
}

// Room reports whether one more message may be sent. Otherwise acknowledgements have to
// come first.
func (l *Link) Room() bool { return len(l.unacked) < Window }

// Unacked returns how many messages have not been acknowledged.
func (l *Link) Unacked() int { return len(l.unacked) }

// Send returns the next message, which is kept until it is acknowledged.
func (l *Link) Send(now time.Time, kind PayloadType, payload []byte) (frame []byte) {
	m := Message{Type: l.sends, Created: uint64(now.UnixMilli()), Sequence: l.next, ID: l.newID(), Kind: kind, Payload: payload}
	if l.next == 0 {
		m.Flags = SYN
	}
	l.next++
	frame = m.Encode()
	l.unacked = append(l.unacked, sent{sequence: m.Sequence, frame: frame, at: now})
	return frame
}

// Say returns a message that is not part of the stream and not acknowledged.
func (l *Link) Say(now time.Time, kind string, payload []byte) (frame []byte) {
	return Message{Type: kind, Created: uint64(now.UnixMilli()), Flags: SYN | FIN, ID: l.newID(), Payload: payload}.Encode()
}

// Due returns the messages that have to be sent again by now, the oldest first.
func (l *Link) Due(now time.Time) (frames [][]byte) {
	for i := range l.unacked {
		if len(frames) == burst {
			break
		}
		if s := &l.unacked[i]; now.Sub(s.at) >= l.timeout() {
			s.at, s.again = now, true
			frames = append(frames, s.frame)
		}
	}
	return frames
}

// Resume returns all that has to be sent again over a new connection.
func (l *Link) Resume(now time.Time) (frames [][]byte) {
	for i := range l.unacked {
		s := &l.unacked[i]
		s.at, s.again = now, true
		frames = append(frames, s.frame)
	}
	return frames
}

// timeout is how long an acknowledgement may take (RFC 6298, with the plugin's bounds).
func (l *Link) timeout() time.Duration {
	return min(max(l.trip+max(10*time.Millisecond, 4*l.variation), RTO), MaxRTO)
}

// Taken is what a frame led to.
type Taken struct {
	Messages []Message // of the stream, in order; empty if their turn has not come
	Other    *Message  // one that is not part of the stream
	Answer   []byte    // to be sent; nil: nothing
}

// Take takes what came. A frame that is no message is fault.Invalid and changes nothing.
// The payloads are part of frame and of earlier ones.
func (l *Link) Take(now time.Time, frame []byte) (Taken, error) {
	m, err := Decode(frame)
	if err != nil {
		return Taken{}, err
	}
	switch m.Type {
	case l.takes:
		return l.take(now, m)
	case Acknowledge:
		return Taken{}, l.acknowledged(now, m)
	}
	return Taken{Other: &m}, nil
}

func (l *Link) take(now time.Time, m Message) (Taken, error) {
	switch {
	case m.Sequence < 0:
		return Taken{}, fault.New(fault.Invalid, "a message has the number %d", m.Sequence)
	case m.Sequence >= l.expected+Window:
		return Taken{}, nil // It will come again.
	case m.Sequence >= l.expected:
		l.early[m.Sequence] = m
	}
	t := Taken{Answer: l.acknowledge(now, m)} // also of what came twice: the first acknowledgement may be lost
	for {
		next, ok := l.early[l.expected]
		if !ok {
			return t, nil
		}
		delete(l.early, l.expected)
		l.expected++
		t.Messages = append(t.Messages, next)
	}
}

// acknowledgement is what an Acknowledge message says.
type acknowledgement struct {
	Type       string `json:"AcknowledgedMessageType"`
	ID         string `json:"AcknowledgedMessageId"`
	Sequence   int64  `json:"AcknowledgedMessageSequenceNumber"`
	Sequential bool   `json:"IsSequentialMessage"`
}

func (l *Link) acknowledge(now time.Time, m Message) []byte {
	text, err := json.Marshal(acknowledgement{m.Type, uuid.UUID(m.ID).String(), m.Sequence, true})
	if err != nil {
		panic(err) // strings and numbers
	}
	return l.Say(now, Acknowledge, text)
}

func (l *Link) acknowledged(now time.Time, m Message) error {
	var a acknowledgement
	if err := json.Unmarshal(m.Payload, &a); err != nil {
		return fault.Wrap(fault.Invalid, err, "an acknowledgement is not JSON")
	}
	for i, s := range l.unacked {
		if s.sequence != a.Sequence {
			continue
		}
		if took := now.Sub(s.at); !s.again {
			l.variation += (max(took-l.trip, l.trip-took) - l.variation) / 4
			l.trip += (took - l.trip) / 8
		}
		l.unacked = append(l.unacked[:i], l.unacked[i+1:]...)
		break
	}
	return nil
}

// Number reads the payload of a Flag.
func Number(payload []byte) (uint32, bool) {
	if len(payload) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(payload), true
}
