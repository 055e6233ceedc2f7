// Package channel is the data channel of AWS Systems Manager's sessions: what its messages
// look like, and how they make a stream each way of a connection that may break.
//
// The rule: it is arithmetic. It has no connection, clock or goroutine of its own; whoever
// has them says what came and when, and gets what is to be sent.
//
// The format and the rules are those of the session-manager-plugin, the client that AWS
// publishes; Amazon does not document them elsewhere.
package channel

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"berth/fault"
)

// Types of messages.
const (
	Input       = "input_stream_data"  // from the client
	Output      = "output_stream_data" // to the client
	Acknowledge = "acknowledge"
	Closed      = "channel_closed"    // to the client
	Start       = "start_publication" // to the client
	Pause       = "pause_publication" // to the client
)

// PayloadType says what the payload of an Input or Output message is.
type PayloadType uint32

// Types of payloads. Those of the handshake are JSON.
const (
	Bytes             PayloadType = 1 // of the terminal
	Failure           PayloadType = 2
	Size              PayloadType = 3 // of the terminal: a Window
	Parameter         PayloadType = 4
	HandshakeRequest  PayloadType = 5
	HandshakeResponse PayloadType = 6
	HandshakeComplete PayloadType = 7
	Flag              PayloadType = 10 // four bytes: a number, as in TerminateSession
	StdErr            PayloadType = 11
	ExitCode          PayloadType = 12
)

// TerminateSession is the Flag with which a client ends its session.
const TerminateSession = 2

// Bits of Message.Flags.
const (
	SYN = 1 // the first message of its stream
	FIN = 2 // the last
)

// MaxPayload is the most bytes that a payload may have here. Clients send 1024.
const MaxPayload = 64 << 10

// Message is one message. Sequence numbers the Input messages of a channel, and the Output
// messages, from 0 on.
type Message struct {
	Type     string
	Created  uint64 // ms since 1970
	Sequence int64
	Flags    uint64
	ID       [16]byte // a UUID
	Kind     PayloadType
	Payload  []byte
}

// Where things are in a message. All numbers are big-endian.
const (
	typeAt     = 4
	schemaAt   = 36
	createdAt  = 40
	sequenceAt = 48
	flagsAt    = 56
	idAt       = 64
	digestAt   = 80
	kindAt     = 112
	lengthAt   = 116 // which is also what the header says that its length is
	payloadAt  = 120

	schema = 1
)

// Encode returns m as it travels.
func (m Message) Encode() []byte {
	b := make([]byte, payloadAt+len(m.Payload))
	binary.BigEndian.PutUint32(b, lengthAt)
	copy(b[typeAt:schemaAt], m.Type+strings.Repeat(" ", schemaAt-typeAt))
	binary.BigEndian.PutUint32(b[schemaAt:], schema)
	binary.BigEndian.PutUint64(b[createdAt:], m.Created)
	binary.BigEndian.PutUint64(b[sequenceAt:], uint64(m.Sequence))
	binary.BigEndian.PutUint64(b[flagsAt:], m.Flags)
	copy(b[idAt:], swapped(m.ID[:]))
	digest := sha256.Sum256(m.Payload)
	copy(b[digestAt:], digest[:])
	binary.BigEndian.PutUint32(b[kindAt:], uint32(m.Kind))
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(m.Payload)))
	copy(b[payloadAt:], m.Payload)
	return b
}

// swapped returns the halves of a UUID the other way round, as they travel.
func swapped(id []byte) []byte { return append(append([]byte(nil), id[8:]...), id[:8]...) }

// Decode reads a message. What is not one, or was changed on its way, is fault.Invalid. The
// payload is part of b.
func Decode(b []byte) (Message, error) {
	switch {
	case len(b) < payloadAt:
		return Message{}, fault.New(fault.Invalid, "a message has at least %d bytes, not %d", payloadAt, len(b))
	case binary.BigEndian.Uint32(b) != lengthAt:
		return Message{}, fault.New(fault.Invalid, "the header of a message has %d bytes, not %d", lengthAt, binary.BigEndian.Uint32(b))
	case binary.BigEndian.Uint32(b[schemaAt:]) != schema:
		return Message{}, fault.New(fault.Invalid, "messages of version %d are not known", binary.BigEndian.Uint32(b[schemaAt:]))
	}
	payload := b[payloadAt:]
	if n := binary.BigEndian.Uint32(b[lengthAt:]); int64(n) != int64(len(payload)) || n > MaxPayload {
		return Message{}, fault.New(fault.Invalid, "a payload of %d bytes says that it has %d; it can have %d", len(payload), n, MaxPayload)
	}
	if digest := sha256.Sum256(payload); !bytes.Equal(digest[:], b[digestAt:kindAt]) {
		return Message{}, fault.New(fault.Invalid, "the payload of a message is not what its digest says")
	}
	m := Message{
		Type:     string(bytes.Trim(b[typeAt:schemaAt], "\x00 ")),
		Created:  binary.BigEndian.Uint64(b[createdAt:]),
		Sequence: int64(binary.BigEndian.Uint64(b[sequenceAt:])),
		Flags:    binary.BigEndian.Uint64(b[flagsAt:]),
		Kind:     PayloadType(binary.BigEndian.Uint32(b[kindAt:])),
		Payload:  payload,
	}
	copy(m.ID[:], swapped(b[idAt:digestAt]))
	return m, nil
}
