package billingtest

import (
	"math/big"
	"time"

	"berth/billing"
)

// prices are those of the AWS pricing page in dollars per hour, and how many of
// the smallest units one priced unit has: written down a second time, on purpose.
var prices = map[billing.SKU]struct {
	perHour string
	units   int64
}{
	billing.VCPU:      {"0.04048", 1024},
	billing.Memory:    {"0.004445", 1024},
	billing.ArmVCPU:   {"0.03238", 1024},
	billing.ArmMemory: {"0.00356", 1024},
	billing.Storage:   {"0.000111", 1},

	billing.SpotVCPU:      {"0.01288871", 1024},
	billing.SpotMemory:    {"0.00141527", 1024},
	billing.SpotArmVCPU:   {"0.01030969", 1024},
	billing.SpotArmMemory: {"0.00113349", 1024},
}

// Charge is what the built-in price list asks for size of a SKU over d, as a
// rational number: size × price × hours.
func Charge(k billing.SKU, size int64, d time.Duration) *big.Rat {
	p := prices[k]
	price, ok := new(big.Rat).SetString(p.perHour)
	if !ok {
		panic("billingtest: price " + p.perHour)
	}
	r := new(big.Rat).SetFrac64(size, p.units)
	r.Mul(r, price)
	return r.Mul(r, new(big.Rat).SetFrac64(int64(d), int64(time.Hour)))
}

// Billed is the time that a task is charged for that ran for d: whole seconds,
// at least a minute.
func Billed(d time.Duration) time.Duration {
	return time.Duration(max(60, (int64(d)+int64(time.Second)-1)/int64(time.Second))) * time.Second
}

// Round rounds dollars half to even to nano-dollars.
func Round(dollars *big.Rat) billing.Money {
	n := new(big.Rat).Mul(dollars, big.NewRat(1e9, 1))
	floor := new(big.Int).Div(n.Num(), n.Denom())
	rest := new(big.Rat).Sub(n, new(big.Rat).SetInt(floor))
	if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && floor.Bit(0) == 1 {
		floor.Add(floor, big.NewInt(1))
	}
	return billing.Money(floor.Int64())
}
