package billingtest

import (
	"math/big"
	"time"

	"berth/billing"
	"berth/task"
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
func Charge(k billing.SKU, size int64, d time.Duration) *big.Rat { return charge(k, size, d, 100) }

// charge is Charge at so many per cent of the price.
func charge(k billing.SKU, size int64, d time.Duration, percent int64) *big.Rat {
	p := prices[k]
	price, ok := new(big.Rat).SetString(p.perHour)
	if !ok {
		panic("billingtest: price " + p.perHour)
	}
	r := new(big.Rat).SetFrac64(size, p.units)
	r.Mul(r, price)
	r.Mul(r, big.NewRat(percent, 100))
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

// Posted is a time that was charged at once, and which lists there were then.
type Posted struct {
	From, To time.Time
	Lists    []List
}

// Worth is what a task is charged for size of a SKU that ran from start to end,
// when its time was posted so. opening is the list that held when the charge
// began. Each time at one list is rounded by itself, the last with what is
// rounded up.
func Worth(k billing.SKU, size int64, start, end time.Time, opening List, posted []Posted) (total billing.Money) {
	type piece struct {
		list List
		time time.Duration
	}
	pieces := []piece{{list: opening}}
	first := true
	for _, p := range posted {
		for at := p.From; at.Before(p.To); {
			holds, next := List{}, p.To
			for _, l := range p.Lists {
				switch {
				case !l.From.After(at) && !l.From.Before(holds.From):
					holds = l
				case l.From.After(at) && l.From.Before(next):
					next = l.From
				}
			}
			if first { // Whatever held at the opening, nothing was charged by it.
				pieces[0].list, first = holds, false
			}
			if !at.Before(end) {
				break // It was taken back.
			}
			if end.Before(next) {
				next = end
			}
			if last := &pieces[len(pieces)-1]; last.list != holds {
				pieces = append(pieces, piece{list: holds})
			}
			pieces[len(pieces)-1].time += next.Sub(at)
			at = next
		}
	}
	ran := end.Sub(start)
	pieces[len(pieces)-1].time += Billed(ran) - ran
	for _, p := range pieces {
		total += Round(charge(k, size, p.time, p.list.Percent))
	}
	return total
}

// Work is what samples say was used of a SKU from start to end, exactly, in units
// of an Entry, and between how many readings.
func Work(k billing.SKU, start, end time.Time, samples []task.Sample) (units *big.Rat, pairs int64) {
	units = new(big.Rat)
	value := func(s task.Sample) int64 { // bytes, of what is held
		if k == billing.Storage {
			return max(0, int64(s.EphemeralStorageBytes)-20<<30)
		}
		return int64(s.WorkingSetBytes)
	}
	before := task.Sample{At: start}
	for _, s := range samples {
		if !before.At.Before(end) {
			break
		}
		pairs++
		span := big.NewRat(int64(s.At.Sub(before.At)), 1)
		d := new(big.Rat).Set(span)
		if s.At.After(end) {
			d.SetInt64(int64(end.Sub(before.At)))
		}
		share := new(big.Rat).Quo(d, span)
		switch k {
		case billing.VCPU, billing.ArmVCPU, billing.SpotVCPU, billing.SpotArmVCPU:
			if grown := int64(s.CPUNanos - before.CPUNanos); grown > 0 {
				units.Add(units, share.Mul(share, big.NewRat(grown*1024, 1)))
			}
		default:
			a, b := big.NewRat(value(before), 1), big.NewRat(value(s), 1)
			at := new(big.Rat).Sub(b, a)
			at.Mul(at, share).Add(at, a) // where the line is after d
			at.Add(at, a).Mul(at, d).Quo(at, big.NewRat(2, 1))
			per := int64(1 << 20)
			if k == billing.Storage {
				per = 1 << 30
			}
			units.Add(units, at.Quo(at, big.NewRat(per, 1)))
		}
		before = s
	}
	return units, pairs
}
