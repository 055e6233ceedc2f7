package billing

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/money"
	"berth/task"
)

// SKU names what is charged, by the usage type of the AWS Price List (service
// AmazonECS) without its region prefix.
type SKU string

// The SKUs of Fargate.
const (
	VCPU      SKU = "Fargate-vCPU-Hours:perCPU"
	Memory    SKU = "Fargate-GB-Hours"
	ArmVCPU   SKU = "Fargate-ARM-vCPU-Hours:perCPU"
	ArmMemory SKU = "Fargate-ARM-GB-Hours"
	Storage   SKU = "Fargate-EphemeralStorage-GB-Hours" // what is above the free 20 GiB

	WindowsVCPU   SKU = "Fargate-Windows-vCPU-Hours:perCPU"
	WindowsMemory SKU = "Fargate-Windows-GB-Hours"
	WindowsOS     SKU = "Fargate-Windows-OS-Hours:perCPU" // the licence, for each vCPU

	SpotVCPU      SKU = "SpotUsage-Fargate-vCPU-Hours:perCPU"
	SpotMemory    SKU = "SpotUsage-Fargate-GB-Hours"
	SpotArmVCPU   SKU = "SpotUsage-Fargate-ARM-vCPU-Hours:perCPU"
	SpotArmMemory SKU = "SpotUsage-Fargate-ARM-GB-Hours"
)

// sku says how sizes of a SKU are counted and written.
type sku struct {
	per         int64  // smallest units in one unit that has a price
	unit        string // of quantities
	time        string // the unit of postings: size × nanoseconds
	noun        string // of the resource
	description string
}

// skus tells of each SKU. A GB on the price list is 1024 MiB.
var skus = map[SKU]sku{
	VCPU:      {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate - vCPU"},
	Memory:    {1024, "GB-Hours", MemoryTime, "GB", "AWS Fargate - Memory"},
	ArmVCPU:   {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate - ARM - vCPU"},
	ArmMemory: {1024, "GB-Hours", MemoryTime, "GB", "AWS Fargate - ARM - Memory"},
	Storage:   {1, "GB-Hours", StorageTime, "GB", "AWS Fargate - Ephemeral Storage above 20 GB"},

	WindowsVCPU:   {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate - Windows - vCPU"},
	WindowsMemory: {1024, "GB-Hours", MemoryTime, "GB", "AWS Fargate - Windows - Memory"},
	WindowsOS:     {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate - Windows - OS licence"},

	SpotVCPU:      {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate Spot - vCPU"},
	SpotMemory:    {1024, "GB-Hours", MemoryTime, "GB", "AWS Fargate Spot - Memory"},
	SpotArmVCPU:   {1024, "vCPU-Hours", CPUTime, "vCPU", "AWS Fargate Spot - ARM - vCPU"},
	SpotArmMemory: {1024, "GB-Hours", MemoryTime, "GB", "AWS Fargate Spot - ARM - Memory"},
}

// rank is k's place in a bill.
func (k SKU) rank() int {
	return slices.Index([]SKU{
		VCPU, ArmVCPU, SpotVCPU, SpotArmVCPU, WindowsVCPU, WindowsOS,
		Memory, ArmMemory, SpotMemory, SpotArmMemory, WindowsMemory, Storage,
	}, k)
}

// Unit returns the unit of k's quantities, as in vCPU-Hours.
func (k SKU) Unit() string { return skus[k].unit }

// Description returns k in the words of an AWS bill.
func (k SKU) Description() string { return skus[k].description }

// Resource returns a size as people say it: 0.25 vCPU, 0.5 GB.
func (k SKU) Resource(size int64) string {
	s := skus[k]
	n, _ := muldiv(size, 1e10, s.per) // a divisor of 1024 needs ten decimals
	return strings.TrimSuffix(strings.TrimRight(money.Decimal(n, 10), "0"), ".") + " " + s.noun
}

// Reservation is how much of one SKU a task reserves.
type Reservation struct {
	SKU  SKU
	Size int64 // CPU units, MiB, or for Storage GiB
}

// Reserved returns what t is charged for, always in the same order.
func Reserved(t task.Task) []Reservation {
	size, vcpu, memory := t.Size(), VCPU, Memory
	switch arm, spot := t.Arch == "ARM64", t.Interruptible(); {
	case arm && spot:
		vcpu, memory = SpotArmVCPU, SpotArmMemory
	case arm:
		vcpu, memory = ArmVCPU, ArmMemory
	case spot:
		vcpu, memory = SpotVCPU, SpotMemory
	}
	rs := []Reservation{{vcpu, int64(size.CPU)}, {memory, int64(size.Memory)}}
	if t.Ephemeral != nil && t.Ephemeral.SizeInGiB > task.DefaultEphemeralGiB {
		rs = append(rs, Reservation{Storage, int64(t.Ephemeral.SizeInGiB - task.DefaultEphemeralGiB)})
	}
	return rs
}

// Prices says what things cost, and when.
type Prices interface {
	// At returns what a SKU costs at a time, by which price list, and when the
	// next list begins that is known of; zero if there is none. A SKU that the
	// list does not have costs nothing. The answer for a time that has passed
	// stays as it is, and a list never changes.
	At(k SKU, when time.Time) (rate Rate, list string, until time.Time)
}

// PriceList is what things cost in a region from some day on. A list does not
// change once a task was charged by it; another price is another list.
type PriceList struct {
	ID            string       `json:"id"`
	Region        string       `json:"region"`
	EffectiveFrom time.Time    `json:"effectiveFrom"`
	Source        string       `json:"source"`
	Rates         map[SKU]Rate `json:"-"`
}

// At is Prices: p holds at any time.
func (p PriceList) At(k SKU, _ time.Time) (rate Rate, list string, until time.Time) {
	return p.Rates[k], p.ID, time.Time{}
}

// List returns p if that is its ID.
func (p PriceList) List(id string) (PriceList, bool) { return p, id == p.ID }

// BuiltIn returns the price list that comes with Berth: Linux in us-east-1.
func BuiltIn() PriceList {
	return PriceList{
		ID: "aws-us-east-1-2026-09-28", Region: "us-east-1",
		EffectiveFrom: time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC),
		Source:        "AWS Price List, AmazonECS, us-east-1, Linux, published 2026-09-11; Spot as on the Fargate pricing page on 2026-09-28",
		Rates: map[SKU]Rate{
			VCPU:      404_800_000, // 0.04048
			Memory:    44_450_000,  // 0.004445
			ArmVCPU:   323_800_000, // 0.03238
			ArmMemory: 35_600_000,  // 0.00356
			Storage:   1_110_000,   // 0.000111

			SpotVCPU:      128_887_100, // 0.01288871
			SpotMemory:    14_152_700,  // 0.00141527
			SpotArmVCPU:   103_096_900, // 0.01030969
			SpotArmMemory: 11_334_900,  // 0.00113349
		},
	}
}

// charge returns what size of k costs at r over a time: the running total that
// charges are differences of.
func charge(k SKU, size int64, r Rate, d time.Duration) Money {
	// A tenth of a nano-dollar is the unit of rates, hence the ten.
	n, ok := muldiv(int64(d), size*int64(r), skus[k].per*10*int64(time.Hour))
	if !ok {
		panic("billing: charge beyond 9.2 billion USD") // 292 years of the largest size is 4 million
	}
	return Money(n)
}

// quantity returns size × d in unit-hours with ten decimals, as AWS bills do.
func quantity(k SKU, size int64, d time.Duration) string {
	n, _ := muldiv(int64(d.Abs()), size*1e10, skus[k].per*int64(time.Hour))
	if d < 0 {
		n = -n
	}
	return money.Decimal(n, 10)
}

// seconds writes d exactly: 60, 61.000000001.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10)
	}
	return strings.TrimRight(money.Decimal(int64(d), 9), "0")
}
