package prices

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// Ensure prices are read to the last digit, and that nothing is rounded away.
func TestParseRate(t *testing.T) {
	for text, want := range map[string]billing.Rate{
		"0.0404800000": 404_800_000, "0.04048": 404_800_000, "0": 0, "1": 1e10, "0.0000000001": 1,
		"0.00010000000000000000": 1_000_000, "3.0000000000000": 3e10, "000.5": 5e9,
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "-0.1", "-0", "+0.1", ".5", "1.", "1e-3", "0x1", "0.00000000001", "NaN", "Inf", "1,5", " 1", "1 ", "0.1.2", "١", "9999999999",
		"0.0404800000000000000000000000001", strings.Repeat("9", 400),
	} {
		if got, err := ParseRate(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q is %d, %v, want a refusal", text, got, err)
		}
	}
}

// Ensure ParseRate agrees with arithmetic of rationals.
func TestParseRateRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,14})?`).Draw(t, "text")
		want, _ := new(big.Rat).SetString(text)
		want.Mul(want, big.NewRat(1e10, 1))
		got, err := ParseRate(text)
		if (err == nil) != want.IsInt() {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && want.Cmp(new(big.Rat).SetInt64(int64(got))) != 0 {
			t.Fatalf("%q is %d, want %s", text, got, want)
		}
	})
}

// Ensure discounts are exact, rounded half to even.
func TestDiscounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := billing.Rate(rapid.Int64Range(0, int64(maxRate)).Draw(t, "rate"))
		num, den := rapid.Int64Range(0, 1e13).Draw(t, "num"), rapid.Int64Range(1, 1e13).Draw(t, "den")
		num = min(num, den)
		exact := new(big.Rat).Mul(big.NewRat(int64(r), 1), big.NewRat(num, den))
		off := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(int64(share(r, num, den))))
		if c := off.Abs(off).Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && share(r, num, den)%2 == 1 {
			t.Fatalf("%d × %d / %d is %d", r, num, den, share(r, num, den))
		}
	})
	for r, want := range map[billing.Rate]billing.Rate{1: 0, 3: 2, 5: 2, 7: 4} {
		if got := share(r, 5000, hundred); got != want {
			t.Errorf("half of %d is %d, want %d", r, got, want)
		}
	}
	for text, want := range map[string]int64{"70%": 7000, "70": 7000, "67.5 %": 6750, "0": 0, "100%": 10000, "12.34%": 1234} {
		if got, err := Percent(text).hundredths(); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "-1", "101", "100.01", "70 percent", "0.7.1", "12.345%", "1e1"} {
		if got, err := Percent(text).hundredths(); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func draft(t *testing.T, text string) (List, error) {
	t.Helper()
	out, err := Import([]byte(text), ImportOptions{Now: noon})
	if err != nil {
		return List{}, err
	}
	return out.Lists[0], nil
}

// Ensure the least that somebody can write is a whole price list, which says of
// each price whether somebody named it.
func TestDraft(t *testing.T) {
	l, err := draft(t, `{"vcpu": 0.02, "memory": "0.002"}`)
	if err != nil {
		t.Fatal(err)
	}
	if l.Name != "own" || !l.EffectiveFrom.Equal(noon) || l.Currency != "USD" || !strings.HasPrefix(l.ID, "own-2026-11-28-") {
		t.Errorf("%+v", l)
	}
	want := map[billing.SKU]billing.Rate{
		billing.VCPU: 2e8, billing.Memory: 2e7, billing.ArmVCPU: 2e8, billing.ArmMemory: 2e7, billing.Storage: 0,
		billing.SpotVCPU: 2e8, billing.SpotMemory: 2e7, billing.SpotArmVCPU: 2e8, billing.SpotArmMemory: 2e7,
	}
	if !maps.Equal(l.Rates, want) {
		t.Errorf("rates %v, want %v", l.Rates, want)
	}
	half, err := draft(t, `{"vcpu": 0.02, "memory": "0.002", "plans": [{"name": "half", "discount": 50}]}`)
	if r, _ := half.Rate(billing.ArmVCPU, "half"); err != nil || r != 1e8 {
		t.Errorf("ARM at half the price of x86: %s, %v", r, err)
	}
	if len(l.Assumed) != 7 || l.Assumed[billing.VCPU] != "" {
		t.Errorf("assumed %v", l.Assumed)
	}

	l, err = draft(t, `{"name": "rack-7", "region": "eu-central-1", "effectiveFrom": "2027-01-01", "source": "power and depreciation",
		"vcpu": "0.02", "memory": "0.002", "storage": 0.0001, "arm": {"vcpu": 0.01, "memory": 0.001}, "spotDiscount": "67.5%",
		"windows": {"vcpu": 1, "memory": 2, "os": 3}, "plans": [{"name": "team", "discount": "25%"}, {"name": "cpu", "vcpu": "0.005"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[billing.SKU]billing.Rate{
		billing.SpotVCPU: 65_000_000, billing.SpotMemory: 6_500_000, billing.SpotArmVCPU: 32_500_000, billing.SpotArmMemory: 3_250_000,
		billing.Storage: 1_000_000, billing.WindowsOS: 3e10,
	} {
		if got, ok := l.Rate(k, ""); !ok || got != want {
			t.Errorf("%s costs %s, want %s", k, got, want)
		}
	}
	for k, want := range map[billing.SKU]billing.Rate{
		billing.VCPU: 150_000_000, billing.ArmMemory: 7_500_000, billing.SpotVCPU: 65_000_000, billing.Storage: 1_000_000, billing.WindowsVCPU: 75e8, billing.WindowsOS: 3e10,
	} {
		if got, ok := l.Rate(k, "team"); !ok || got != want {
			t.Errorf("on the plan %s costs %s, want %s", k, got, want)
		}
	}
	if got := l.PriceList("cpu"); got.ID != l.ID+"+cpu" || got.Rates[billing.VCPU] != 5e7 || got.Rates[billing.Memory] != 2e7 {
		t.Errorf("%+v", got)
	}
	if len(l.Assumed) != 0 {
		t.Errorf("assumed %v", l.Assumed)
	}
}

// Ensure what is wrong with a list is refused by its field.
func TestDraftRefused(t *testing.T) {
	for text, field := range map[string]string{
		`{"vcpu": 0.02}`:                                                                          "memory",
		`{"vcpu": "-0.02", "memory": 1}`:                                                          "vcpu",
		`{"vcpu": -0.02, "memory": 1}`:                                                            "vcpu",
		`{"vcpu": 1e-2, "memory": 1}`:                                                             "vcpu",
		`{"vcpu": true, "memory": 1}`:                                                             "vcpu",
		`{"vcpu": 101, "memory": 1}`:                                                              "rates",
		`{"vcpu": 1, "memory": 1, "memroy": 1}`:                                                   "memroy",
		`{"vcpu": 1, "memory": 1, "arm": {"vcpu": 1}}`:                                            "arm.memory",
		`{"vcpu": 1, "memory": 1, "windows": {"vcpu": 1}}`:                                        "windows.memory",
		`{"vcpu": 1, "memory": 1, "currency": "EUR"}`:                                             "currency",
		`{"vcpu": 1, "memory": 1, "name": "Own"}`:                                                 "name",
		`{"vcpu": 1, "memory": 1, "name": "a+b"}`:                                                 "name",
		`{"vcpu": 1, "memory": 1, "region": "Frankfurt"}`:                                         "region",
		`{"vcpu": 1, "memory": 1, "effectiveFrom": "tomorrow"}`:                                   "effectiveFrom",
		`{"vcpu": 1, "memory": 1, "effectiveFrom": "1999-01-01"}`:                                 "effectiveFrom",
		`{"vcpu": 1, "memory": 1, "spotDiscount": "170%"}`:                                        "spotDiscount",
		`{"vcpu": 1, "memory": 1, "spotDiscount": "70%", "spot": {"vcpu": 1, "memory": 1}}`:       "spotDiscount",
		`{"vcpu": 1, "memory": 1, "plans": [{"name": "x"}]}`:                                      "plans[0]",
		`{"vcpu": 1, "memory": 1, "plans": [{"name": "x", "discount": "1%", "vcpu": 1}]}`:         "plans[0].discount",
		`{"vcpu": 1, "memory": 1, "plans": [{"name": "x", "vcpu": 1}, {"name": "x", "vcpu": 1}]}`: "plans[1].name",
		`{"vcpu": 1, "memory": 1, "source": "` + strings.Repeat("x", 600) + `"}`:                  "source",
		`{"vcpu": 1, "memory": 1, "plans": [` + strings.TrimSuffix(strings.Repeat(`{"name": "x", "vcpu": 1},`, 40), ",") + `]}`: "plans",
		`{"vcpu": 1, "memory": 1, "vcpu": 2}`: "",
	} {
		l, err := draft(t, text)
		if fault.KindOf(err) != fault.Invalid || field != "" && !strings.Contains(fault.FieldOf(err)+": "+fault.Message(err), field) {
			t.Errorf("%s: %+v, %v, want a refusal of %q", text, l, err, field)
		}
	}
}

// Ensure equal lists have one ID and different ones two, and that a list is read
// back as it was written.
func TestSeal(t *testing.T) {
	a, err := draft(t, `{"vcpu": "0.02", "memory": "0.002", "effectiveFrom": "2026-11-28T12:00:00Z"}`)
	if err != nil {
		t.Fatal(err)
	}
	for text, same := range map[string]bool{
		`{"vcpu": "0.02", "memory": "0.002", "effectiveFrom": "2026-11-28T12:00:00Z"}`:                                             true,
		`{"vcpu": "0.0200000001", "memory": "0.002", "effectiveFrom": "2026-11-28T12:00:00Z"}`:                                     false,
		`{"vcpu": "0.02", "memory": "0.002", "effectiveFrom": "2026-11-28T12:00:01Z"}`:                                             false,
		`{"vcpu": "0.02", "memory": "0.002", "arm": {"vcpu": "0.02", "memory": "0.002"}, "effectiveFrom": "2026-11-28T12:00:00Z"}`: false,
	} {
		b, err := draft(t, text)
		if err != nil {
			t.Fatal(err)
		}
		a.SHA256, b.SHA256 = "", ""
		a, _ := a.seal()
		b, _ = b.seal()
		if (a.ID == b.ID) != same {
			t.Errorf("%s: %s and %s", text, a.ID, b.ID)
		}
	}
	back, err := ParseBody(a.Body())
	if err != nil || string(back.Body()) != string(a.Body()) {
		t.Errorf("%+v, %v, want %+v", back, err, a)
	}
	for _, forged := range []string{
		strings.Replace(string(a.Body()), "0.020000000", "0.02", 1), strings.Replace(string(a.Body()), "{", "{ ", 1),
		strings.Replace(string(a.Body()), `"own"`, `"own","more":1`, 1), "", "null", "{}",
	} {
		if _, err := ParseBody([]byte(forged)); err == nil {
			t.Errorf("read back: %s", forged)
		}
	}
}

// Ensure the examples are what they were published as, in every region of the
// research, and that each says what of it is assumed.
func TestExamples(t *testing.T) {
	all := Examples()
	if len(all) != 23 {
		t.Errorf("%d regions", len(all))
	}
	for _, l := range all {
		if err := l.check(); err != nil {
			t.Errorf("%s: %v", l.ID, err)
		}
		if !l.Example || l.Name != l.Region || l.Source == "" || l.ID != "aws-"+l.Region+"-"+l.EffectiveFrom.Format(time.DateOnly) {
			t.Errorf("%+v", l)
		}
		for _, k := range Linux {
			if r, ok := l.Rates[k]; !ok || r <= 0 {
				t.Errorf("%s: %s costs %s", l.ID, k, r)
			}
			if demand, ok := nearest[k]; ok && l.Rates[k] >= l.Rates[demand] {
				t.Errorf("%s: %s costs %s and %s %s", l.ID, k, l.Rates[k], demand, l.Rates[demand])
			}
		}
	}
	us, _ := Example("us-east-1")
	builtIn := billing.BuiltIn()
	for k, r := range builtIn.Rates {
		if us.Rates[k] != r {
			t.Errorf("%s costs %s and the ledger of an earlier release has %s", k, us.Rates[k], r)
		}
	}
	if us.ID != builtIn.ID || len(us.Assumed) != 0 {
		t.Errorf("%s, assumed %v", us.ID, us.Assumed)
	}
	// fgcalc's table, checked on 2026-09-29 against the list published on 2026-09-11.
	for region, want := range map[string][2]billing.Rate{
		"eu-central-1": {465_600_000, 51_100_000}, "us-west-2": {404_800_000, 44_450_000}, "sa-east-1": {696_000_000, 76_000_000},
		"af-south-1": {546_000_000, 60_000_000}, "us-gov-west-1": {486_000_000, 53_000_000}, "ap-south-1": {425_600_000, 46_550_000},
		"ap-northeast-1": {505_600_000, 55_300_000}, "ca-central-1": {445_600_000, 48_650_000}, "me-south-1": {526_000_000, 58_000_000},
	} {
		l, ok := Example(region)
		if got := [2]billing.Rate{l.Rates[billing.VCPU], l.Rates[billing.Memory]}; !ok || got != want {
			t.Errorf("%s: %v, want %v", region, got, want)
		}
	}
	eu, _ := Example("eu-central-1")
	if eu.Rates[billing.Storage] != us.Rates[billing.Storage] || !strings.Contains(eu.Assumed[billing.Storage], "us-east-1") {
		t.Errorf("storage of eu-central-1: %s, %s", eu.Rates[billing.Storage], eu.Assumed[billing.Storage])
	}
	// 0.04656 × 0.01288871 / 0.04048 = 0.014824564…
	if got := eu.Rates[billing.SpotVCPU]; got != 148_245_637 || eu.Assumed[billing.SpotVCPU] == "" {
		t.Errorf("Spot of eu-central-1: %s", got)
	}
	for plan, want := range map[string]billing.Rate{"compute-1y-no-upfront": 323_840_000, "compute-3y-no-upfront": 222_640_000} {
		if got, _ := us.Rate(billing.VCPU, plan); got != want {
			t.Errorf("on %s a vCPU costs %s, want %s", plan, got, want)
		}
		if got, _ := us.Rate(billing.SpotVCPU, plan); got != us.Rates[billing.SpotVCPU] {
			t.Errorf("%s changes the price of Spot to %s", plan, got)
		}
	}
	if !slices.IsSortedFunc(all, func(a, b List) int { return strings.Compare(a.Region, b.Region) }) {
		t.Error("the regions are not in order")
	}
	if _, err := json.Marshal(all); err != nil {
		t.Error(err)
	}
}
