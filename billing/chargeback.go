package billing

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"berth/fault"
)

// Chargeback is what each account, team or the like has to pay for a month. While
// the period is OPEN it can grow. Once it is CLOSED the ledger takes nothing more
// into it, and what entries are told apart by is kept, so that the same question
// has the same answer, and the same Digest, for ever.
type Chargeback struct {
	Period     string      `json:"period" example:"2026-10"`
	From       time.Time   `json:"from"`
	To         time.Time   `json:"to" doc:"Not included"`
	Status     string      `json:"status" enum:"OPEN,CLOSED"`
	ClosedAt   time.Time   `json:"closedAt,omitzero"`
	LedgerSize int64       `json:"ledgerSize,omitempty" doc:"How many entries the ledger had when the period was closed"`
	By         string      `json:"by"`
	Currency   string      `json:"currency"`
	Total      Cost        `json:"total"`
	Statements []Statement `json:"statements"`
	Digest     string      `json:"digest" doc:"SHA-256 of everything else"`
}

// Statement is what one of them has to pay.
type Statement struct {
	Key   string          `json:"key" doc:"Empty: what has no such tag"`
	Lines []StatementLine `json:"lines"`
	Cost
}

// StatementLine is what it has to pay for one SKU.
type StatementLine struct {
	SKU         SKU    `json:"sku"`
	Description string `json:"description"`
	Quantity    string `json:"quantity" doc:"In unit-hours, with ten decimals"`
	Unit        string `json:"unit"`
	Amount      Money  `json:"amount"`
}

// ParsePeriod reads a month, as 2026-10, and returns its beginning.
func ParsePeriod(text string) (time.Time, error) {
	t, err := time.Parse("2006-01", text)
	if err != nil {
		return t, fault.At("period", "%q is not a month like 2026-10", text)
	}
	return t, nil
}

// Seal sets c's Digest.
func (c *Chargeback) Seal() error {
	c.Digest = ""
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	c.Digest = hex.EncodeToString(sum[:])
	return nil
}

// Line returns the sum as a line of a statement.
func (s *CostSum) Line(k SKU) StatementLine {
	l := StatementLine{SKU: k, Description: k.Description(), Unit: k.Unit(), Amount: s.Amount}
	cost := s.Cost()
	switch k.class() {
	case 0:
		l.Quantity = cost.VCPUHours
	case 1:
		l.Quantity = cost.MemoryGBHours
	case 2:
		l.Quantity = cost.StorageGBHours
	}
	return l
}
