package billing

import (
	"time"

	"berth/task"
)

// Audit is what came of verifying the ledger.
type Audit struct {
	OK         bool        `json:"ok"`
	Bad        *BadRow     `json:"bad,omitempty" doc:"The first thing that is wrong"`
	Entries    int64       `json:"entries" doc:"How many there are"`
	Root       string      `json:"root" doc:"Of the Merkle tree over them, in base64; worked out, not read"`
	Rows       []TableRows `json:"rows" doc:"That were checked"`
	Checkpoint string      `json:"checkpoint,omitempty" doc:"The newest, as it was signed"`
}

// BadRow is a row of the ledger that is not what it must be.
type BadRow struct {
	Table string `json:"table" doc:"Of the database; or file, if the pages of the database are broken; or ledger.checkpoints, the file beside it; or schema"`
	Row   string `json:"row" doc:"Its key"`
	Why   string `json:"why"`
}

func (b *BadRow) Error() string { return b.Table + " " + b.Row + ": " + b.Why }

// TableRows is how many rows of a table were checked.
type TableRows struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// RateBook knows what price lists say. known is false if it has no list of that
// ID; then its rates are taken as they are.
type RateBook func(list string, k SKU) (r Rate, known bool)

// Period is a month of the ledger.
type Period struct {
	Name     string    `json:"name" example:"2026-10"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to" doc:"The first moment of the next"`
	Status   string    `json:"status" enum:"OPEN,CLOSED"`
	ClosedAt time.Time `json:"closedAt,omitzero"`
	Size     int64     `json:"size,omitempty" doc:"How many entries the ledger had when the period was closed"`
	Entries  int64     `json:"entries" doc:"That are booked in it"`
	Amount   Money     `json:"amount" doc:"Of these, in US dollars"`
	Note     string    `json:"note,omitempty" doc:"All of this, signed with the ledger's key"`
}

// The states of a Period.
const (
	PeriodOpen   = "OPEN"
	PeriodClosed = "CLOSED"
)

// Record is an entry in its place.
type Record struct {
	N int64 // from 0
	Entry
}

// EntryFilter selects entries of the whole ledger. Zero values select all.
type EntryFilter struct {
	Task     task.ID
	SKU      SKU
	Kind     Kind
	From, To time.Time // when they are booked: not before From, before To
	Limit    int       // at most this many
	Token    string    // where the page before ended
}
