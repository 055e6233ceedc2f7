package api

import (
	"time"

	"berth/billing"
	"berth/billing/proof"
)

// LedgerEntry is an entry of the ledger in its place, with all that it says.
type LedgerEntry struct {
	N          int64        `json:"n" doc:"The place of the entry, from 0 and without gaps"`
	Hash       proof.Hash   `json:"hash" doc:"Of the leaf of the Merkle tree, in base64"`
	TaskARN    string       `json:"taskArn"`
	AccountID  string       `json:"accountId"`
	Seq        int64        `json:"seq" doc:"Within its task and SKU; of a REVERSAL that of what it takes back, negative"`
	UnitPrice  billing.Rate `json:"unitPrice"`
	MeasuredTo time.Time    `json:"measuredTo,omitzero" doc:"Up to when used was measured; what comes after is in the next entry"`
	billing.Entry
}

// NewLedgerEntry returns r as it travels.
func NewLedgerEntry(r billing.Record) LedgerEntry {
	e := LedgerEntry{
		N: r.N, Hash: proof.Hash(r.Hash()), TaskARN: r.ARN, AccountID: r.Account, Seq: r.Seq, UnitPrice: r.Rate, Entry: r.Entry,
	}
	if r.Used.Known {
		e.MeasuredTo = r.Measured
	}
	return e
}

// LedgerPage is one page of the ledger, in its order.
type LedgerPage struct {
	Entries   []LedgerEntry `json:"entries"`
	NextToken string        `json:"nextToken,omitempty" doc:"Give it back to get the next page; absent on the last one"`
}

// LedgerCheckpoint is a signed note that says what the ledger is at a size.
type LedgerCheckpoint struct {
	Checkpoint string `json:"checkpoint" doc:"C2SP tlog-checkpoint"`
}

// LedgerKey is the public key of the ledger.
type LedgerKey struct {
	Key string `json:"key" doc:"A verifier key of C2SP signed notes; does not change"`
}

// PeriodList is the months of the ledger.
type PeriodList struct {
	Periods []billing.Period `json:"periods"`
}

// ReverseRequest takes an entry of the ledger back.
type ReverseRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"255" doc:"On one line; shown on bills"`
}
