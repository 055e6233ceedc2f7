package anomaly

import (
	"math"
	"math/big"
	"slices"

	"berth/billing"
)

const (
	week = 7 * 24 // hours

	// History is how many hours before one are looked at: four weeks.
	History = 4 * week

	leastWeeks = 3  // of the same hour that there must be; otherwise the hours just before count
	leastHours = 10 // of those that there must be

	// normal makes a median absolute deviation what the standard deviation of a normal
	// distribution is: 1 / Φ⁻¹(3/4).
	normal = 1.4826

	// slack is the least spread that is taken for granted, as a part of the median and of
	// the mean: what is the same every week, and so has no spread, may still grow by four
	// times that at the default score.
	slack = 0.1

	// weight is that of the newest hour in an average of those just before: that of 24 hours,
	// 2 / (n+1).
	weight = 2.0 / 25
)

// Method says what an hour was compared with.
type Method string

// The values of Method.
const (
	SameHour Method = "SAME_HOUR"   // the same hour of the last four weeks, or of three
	Recent   Method = "RECENT_MEAN" // the hours before it, the later the more: there are not three weeks yet
)

// Verdict is what is to be said of an hour.
type Verdict struct {
	Actual   billing.Money `json:"actual"`
	Expected billing.Money `json:"expected" doc:"The median of the same hour of the week in the last four weeks; or a mean, if there are not three"`
	Impact   billing.Money `json:"impact" doc:"actual − expected"`
	Score    float64       `json:"score" doc:"The impact in spreads: 1.4826 times the median absolute deviation, or a standard deviation; at least a tenth of the median and of the mean"`
	Method   Method        `json:"method" enum:"SAME_HOUR,RECENT_MEAN"`
}

// Judge compares hour i of a series with those before it, at most History of them. ok is
// false if there are too few: a series begins with the first of these hours that has a
// charge, and from then on an hour without one is 0.
func Judge(hours []billing.Money, i int) (v Verdict, ok bool) {
	first := max(0, i-History)
	for first < i && hours[first] == 0 {
		first++
	}
	past := hours[first:i]
	mean := meanOf(past)
	if mean <= 0 {
		return v, false // Nothing was charged, or all of it was taken back.
	}
	var expected, spread float64
	if at := usual(first, i); len(at) >= leastWeeks {
		var points [History / week]billing.Money
		for n, j := range at {
			points[n] = hours[j]
		}
		v.Method = SameHour
		v.Expected, expected, spread = medians(points[:len(at)])
	} else if len(past) >= leastHours {
		v.Method = Recent
		expected, spread = fading(past)
		v.Expected = billing.Money(math.Round(expected))
	} else {
		return v, false
	}
	v.Actual = hours[i]
	v.Impact = v.Actual - v.Expected
	v.Score = (float64(v.Actual) - expected) / max(spread, slack*expected, slack*mean)
	return v, true
}

// usual returns the hours with which hour i is compared if there are enough of them.
func usual(first, i int) []int {
	at := make([]int, 0, History/week)
	for j := i - week; j >= first && len(at) < cap(at); j -= week {
		at = append(at, j)
	}
	return at
}

func meanOf(hours []billing.Money) float64 {
	if len(hours) == 0 {
		return 0
	}
	sum := 0.0
	for _, a := range hours {
		sum += float64(a)
	}
	return sum / float64(len(hours))
}

// medians returns the median of points, exactly but for half a nano-dollar that is rounded
// up, the same as a number, and their spread around it. It sorts points.
func medians(points []billing.Money) (median billing.Money, m, spread float64) {
	slices.Sort(points)
	n := len(points)
	a, b := points[(n-1)/2], points[n/2]
	median = a + (b-a)/2 + (b-a)%2
	m = float64(a) + float64(b-a)/2
	var deviations [History / week]float64
	for i, p := range points {
		deviations[i] = math.Abs(float64(p) - m)
	}
	d := deviations[:n]
	slices.Sort(d)
	return median, m, normal * (d[(n-1)/2] + d[n/2]) / 2
}

// fading returns a mean in which each hour weighs less than the next by the same part, and
// the standard deviation around such a mean; or the plain one of all hours if that is
// larger, since after a weekend the other has forgotten what working days are like.
func fading(hours []billing.Money) (mean, deviation float64) {
	mean = float64(hours[0])
	variance, squares, plain := 0.0, 0.0, meanOf(hours)
	for i, a := range hours {
		squares += (float64(a) - plain) * (float64(a) - plain)
		if i > 0 {
			d := float64(a) - mean
			mean += weight * d
			variance = (1 - weight) * (variance + weight*d*d)
		}
	}
	return mean, math.Sqrt(max(variance, squares/float64(len(hours))))
}

// Tell reports whether v is one to be told of.
func (r Rules) Tell(v Verdict) bool {
	return v.Score > r.Score && v.Impact > r.Impact && exceeds(v.Impact, v.Expected, r.Percent)
}

// exceeds reports whether a is more than percent of b.
func exceeds(a, b billing.Money, percent int) bool {
	left := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(100))
	return left.Cmp(new(big.Int).Mul(big.NewInt(int64(b)), big.NewInt(int64(percent)))) > 0
}

// percent returns a in percent of b, rounded down.
func percent(a, b billing.Money) int64 {
	p := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(100))
	if p.Quo(p, big.NewInt(int64(b))); !p.IsInt64() {
		return math.MaxInt64
	}
	return p.Int64()
}
