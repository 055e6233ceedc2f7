package api

// A session is a WebSocket (RFC 6455). Bytes travel in binary messages, of which the first
// byte says to which stream the others belong; everything else travels in text messages,
// each one JSON value.
const (
	Stdin  byte = 0 // from the client
	Stdout byte = 1 // from the server; of a terminal everything
	Stderr byte = 2 // from the server
)

// ExecMessageMax is the most bytes that a message of a session may have.
const ExecMessageMax = 1 << 20

// ExecSays is what the client of a session says in a text message: one of its members.
type ExecSays struct {
	Resize *Window `json:"resize,omitempty" doc:"The terminal has this size now"`
	End    bool    `json:"end,omitempty" doc:"Nothing more will come on stdin; of a terminal it means nothing"`
}

// ExecHears is what the server says in a text message, as the last of a session: one of its
// members.
type ExecHears struct {
	Exit  *int   `json:"exit,omitempty" doc:"Exit code of the command, after all that it printed"`
	Error *Fault `json:"error,omitempty" doc:"Why the session ended before the command did, or why that could not be executed"`
}

// Window is the size of a terminal in characters.
type Window struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}
