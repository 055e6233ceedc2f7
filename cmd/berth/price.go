package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/billing"
	"berth/billing/prices"
	"berth/fault"
	"berth/server/api"
)

func (a *app) priceCommand() *cobra.Command {
	c := &cobra.Command{Use: "price", Aliases: []string{"prices", "price-list"}, Short: "Say what tasks cost"}
	c.AddCommand(a.priceListCommand(), a.priceShowCommand(), a.priceSetCommand(), a.priceUseCommand(), a.priceImportCommand())
	return c
}

func (a *app) priceListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the price lists, and which of them holds when", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := a.client().Prices(c.Context())
			if err != nil {
				return err
			}
			return a.print(o, func(w io.Writer) { a.listPrices(w, o) })
		},
	}
}

func (a *app) listPrices(w io.Writer, o prices.Overview) {
	rows := [][]string{{"NAME", "PRICE LIST", "FROM", "vCPU-HOUR", "GB-HOUR", "STATUS"}}
	for _, l := range o.Lists {
		rows = append(rows, []string{
			l.Name, l.ID, l.EffectiveFrom.Format(time.DateOnly), "$" + price(l.Rates[billing.VCPU]), "$" + price(l.Rates[billing.Memory]), statusName(l.Status),
		})
	}
	table(w, rows...)
	fmt.Fprintln(w)
	rows = [][]string{{"CHARGED BY", "PLAN", "FROM"}}
	for _, s := range o.Timeline {
		from := "the beginning"
		if !s.From.IsZero() {
			from = s.From.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{s.List, dash(s.Plan), from})
	}
	table(w, rows...)
	fmt.Fprintf(w, "\n%s\n", clean(o.Notice))
}

// statusName says what a list is good for.
func statusName(s prices.Status) string { return strings.ToLower(string(s)) }

// price writes a rate without the zeros at its end.
func price(r billing.Rate) string {
	return strings.TrimSuffix(strings.TrimRight(r.String(), "0"), ".")
}

func (a *app) priceShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [REGION|NAME|PRICE-LIST]",
		Short:             "Show a price list: the one that holds now, or the newest of a name",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completePrices,
		RunE: func(c *cobra.Command, args []string) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			} else {
				o, err := a.client().Prices(c.Context())
				if err != nil {
					return err
				}
				i := slices.IndexFunc(o.Lists, func(d prices.Described) bool { return d.Status == prices.Holding })
				if i < 0 {
					return fault.New(fault.NotFound, "no price list holds now")
				}
				ref = o.Lists[i].ID
			}
			d, err := a.client().PriceList(c.Context(), ref)
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { showPrices(w, d) })
		},
	}
}

func showPrices(w io.Writer, d prices.Described) {
	rows := [][]string{
		{"Price list", d.ID + " (" + statusName(d.Status) + ")"},
		{"Name", d.Name},
		{"Region", dash(d.Region)},
		{"From", d.EffectiveFrom.UTC().Format(time.RFC3339)},
		{"Source", d.Source},
	}
	if d.Version != "" {
		rows = append(rows, []string{"Version", d.Version + ", published " + d.PublishedAt.UTC().Format(time.RFC3339)})
	}
	if d.SHA256 != "" {
		rows = append(rows, []string{"SHA-256", d.SHA256})
	}
	table(w, rows...)
	rows = [][]string{{"CHARGE", "US DOLLARS", "PER", "NOTE"}}
	for _, k := range slices.Concat(prices.Linux, prices.Windows) {
		if r, ok := d.Rates[k]; ok {
			rows = append(rows, []string{string(k), price(r), strings.TrimSuffix(k.Unit(), "s"), dash(d.Assumed[k])})
		}
	}
	fmt.Fprintln(w)
	table(w, rows...)
	if len(d.Plans) > 0 {
		rows = [][]string{{"PLAN", "CHARGE", "US DOLLARS", "PER"}}
		for _, p := range d.Plans {
			for _, k := range slices.Sorted(maps.Keys(p.Rates)) {
				rows = append(rows, []string{p.Name, string(k), price(p.Rates[k]), strings.TrimSuffix(k.Unit(), "s")})
			}
		}
		fmt.Fprintln(w)
		table(w, rows...)
	}
	if d.Example {
		fmt.Fprintf(w, "\n%s\n", prices.Notice)
	}
}

func (a *app) priceSetCommand() *cobra.Command {
	var d prices.Draft
	var arm, spot, spotArm prices.Pair
	var plans []string
	c := &cobra.Command{
		Use:   "set",
		Short: "Set your own prices",
		Long: "Set your own prices, in US dollars for an hour of a vCPU and of a GB (1024 MiB). They hold\n" +
			"from now, or from --effective on; what was charged before stays as it is. What is left out\n" +
			"costs as much as the nearest thing: ARM as x86, Spot as on demand; storage above the first\n" +
			"20 GB is free.",
		Example: "  berth price set --vcpu 0.02 --memory 0.002\n" +
			"  berth price set --vcpu 0.02 --memory 0.002 --storage 0.0001 --spot-discount 70% --effective 2027-01-01",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if from, err := d.EffectiveFrom.Time(); err == nil && !from.IsZero() && from.Before(a.now()) {
				return fault.New(fault.Invalid, "--effective %s: prices of time that has passed cannot be changed; leave it out to begin now", d.EffectiveFrom)
			}
			for _, p := range []struct {
				pair prices.Pair
				into **prices.Pair
			}{{arm, &d.Arm}, {spot, &d.Spot}, {spotArm, &d.SpotArm}} {
				if p.pair != (prices.Pair{}) {
					*p.into = &p.pair
				}
			}
			for _, text := range plans {
				name, off, _ := strings.Cut(text, "=")
				if off == "" {
					return fault.New(fault.Invalid, "--plan %q: it is NAME=DISCOUNT, as in 1y=20%%", text)
				}
				d.Plans = append(d.Plans, prices.DraftPlan{Name: name, Discount: prices.Percent(off)})
			}
			l, err := a.client().AddPriceList(c.Context(), d)
			if err != nil {
				return err
			}
			return a.usePrices(c.Context(), api.UsePrices{Prices: l.ID})
		},
	}
	f := c.Flags()
	f.Var((*decimal)(&d.VCPU), "vcpu", "of a vCPU")
	f.Var((*decimal)(&d.Memory), "memory", "of a GB of memory")
	f.Var((*decimal)(&d.Storage), "storage", "of a GB of storage above the first 20")
	f.Var((*decimal)(&arm.VCPU), "arm-vcpu", "of a vCPU on ARM")
	f.Var((*decimal)(&arm.Memory), "arm-memory", "of a GB of memory on ARM")
	f.Var((*decimal)(&spot.VCPU), "spot-vcpu", "of a vCPU on FARGATE_SPOT")
	f.Var((*decimal)(&spot.Memory), "spot-memory", "of a GB of memory on FARGATE_SPOT")
	f.Var((*decimal)(&spotArm.VCPU), "spot-arm-vcpu", "of a vCPU on FARGATE_SPOT on ARM")
	f.Var((*decimal)(&spotArm.Memory), "spot-arm-memory", "of a GB of memory on FARGATE_SPOT on ARM")
	f.Var((*discount)(&d.SpotDiscount), "spot-discount", "how much less Spot costs than on demand, as in 70%")
	f.StringArrayVar(&plans, "plan", nil, "`NAME=DISCOUNT` of a discount plan that \"berth price use --plan\" can choose; can be repeated")
	f.Var((*day)(&d.EffectiveFrom), "effective", "when these prices begin: a day in UTC, or RFC 3339 (default: now)")
	f.StringVar(&d.Name, "name", "own", "`name` under which prices follow one another")
	f.StringVar(&d.Source, "source", "", "where the prices are from, in `words`")
	require(c, "vcpu", "memory")
	return c
}

// decimal, discount and day are flags of what the server reads: it alone knows what
// is right.
type (
	decimal  prices.Price
	discount prices.Percent
	day      prices.Day
)

func (d *decimal) String() string        { return string(*d) }
func (d *decimal) Type() string          { return "price" }
func (d *decimal) Set(text string) error { *d = decimal(text); return nil }

func (d *discount) String() string        { return string(*d) }
func (d *discount) Type() string          { return "discount" }
func (d *discount) Set(text string) error { *d = discount(text); return nil }

func (d *day) String() string        { return string(*d) }
func (d *day) Type() string          { return "time" }
func (d *day) Set(text string) error { *d = day(text); return nil }

// require makes flags required.
func require(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag
		}
	}
}

func (a *app) priceUseCommand() *cobra.Command {
	var u api.UsePrices
	c := &cobra.Command{
		Use:   "use REGION|NAME|PRICE-LIST",
		Short: "Charge by other prices from now on",
		Long: "Charge by other prices from now on, or from --effective on: by the newest list of a region or\n" +
			"of another name, or by one list. Tasks that run are charged by both, each for its time. What\n" +
			"was planned for later stays planned; \"berth price list\" shows it.",
		Example:           "  berth price use eu-central-1\n  berth price use us-east-1 --plan compute-1y-no-upfront\n  berth price use own --effective 2027-01-01",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePrices,
		RunE: func(c *cobra.Command, args []string) error {
			u.Prices = args[0]
			return a.usePrices(c.Context(), u)
		},
	}
	c.Flags().StringVar(&u.Plan, "plan", "", "discount `plan` of the list")
	c.Flags().Var((*day)(&u.EffectiveFrom), "effective", "when to begin: a day in UTC, or RFC 3339 (default: now)")
	return c
}

// usePrices puts prices in use and says from when.
func (a *app) usePrices(ctx context.Context, u api.UsePrices) error {
	ch, err := a.client().UsePrices(ctx, u)
	if err != nil {
		return err
	}
	return a.print(ch, func(w io.Writer) {
		plan := ""
		if ch.Plan != "" {
			plan = " on plan " + ch.Plan
		}
		from := "the beginning"
		if !ch.From.IsZero() {
			from = ch.From.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s%s, from %s\n", clean(cmp.Or(ch.List, ch.Name)), clean(plan), from)
	})
}

func (a *app) priceImportCommand() *cobra.Command {
	var region, name string
	var use bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import price lists of AWS, or of your own, from a file",
		Long: "Import price lists from a file, or from standard input if FILE is -. It can be\n" +
			"  - the offer AmazonECS of the AWS Price List, JSON or CSV, of one region or of all\n" +
			"  - what \"aws pricing get-products --service-code AmazonECS\" prints\n" +
			"  - Fargate's Spot prices, or the offer of Compute Savings Plans: they come to stand beside\n" +
			"    the newest prices of the region\n" +
			"  - {\"vcpu\": 0.02, \"memory\": 0.002}, and more as in the API's PricesDraft\n" +
			"Nothing is charged by a list until it is used; --use does that at once.",
		Example: "  curl -O https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonECS/current/eu-central-1/index.json\n" +
			"  berth price import index.json --use",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := a.openInput(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			out, err := a.client().ImportPrices(c.Context(), in, region, name)
			if err != nil {
				return err
			}
			if use && len(out.Lists) != 1 {
				return fault.New(fault.Invalid, "--use: the file has %d price lists; they are imported, and \"berth price use\" takes one", len(out.Lists))
			}
			if err := a.print(out, func(w io.Writer) { printImported(w, out) }); err != nil || !use {
				return err
			}
			ch, err := a.client().UsePrices(c.Context(), api.UsePrices{Prices: out.Lists[0].ID})
			if err == nil {
				a.note("%s is used from %s", ch.List, ch.From.UTC().Format(time.RFC3339))
			}
			return err
		},
	}
	c.Flags().StringVar(&region, "region", "", "take this `region` only")
	c.Flags().StringVar(&name, "name", "", "`name` of the list, in place of its region's; only with --region")
	c.Flags().BoolVar(&use, "use", false, "charge by the list from now on, or from when it begins")
	return c
}

func printImported(w io.Writer, out prices.Imported) {
	rows := [][]string{{"PRICE LIST", "FROM", "vCPU-HOUR", "GB-HOUR", "ASSUMED"}}
	for _, l := range out.Lists {
		rows = append(rows, []string{
			l.ID, l.EffectiveFrom.UTC().Format(time.DateOnly), "$" + price(l.Rates[billing.VCPU]), "$" + price(l.Rates[billing.Memory]), fmt.Sprint(len(l.Assumed)),
		})
	}
	table(w, rows...)
	if len(out.Skipped) == 0 {
		return
	}
	rows = [][]string{{"NOT TAKEN", "TIMES", "WHY"}}
	for _, s := range out.Skipped {
		rows = append(rows, []string{s.What, fmt.Sprint(s.Times), s.Why})
	}
	fmt.Fprintln(w)
	table(w, rows...)
}

// completePrices completes the names and IDs of price lists.
func (a *app) completePrices(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(c, begun, func(ctx context.Context, add func(name, about string) bool) {
		o, err := a.client().Prices(ctx)
		seen := make(map[string]bool)
		for _, l := range o.Lists {
			if err != nil || !seen[l.Name] && !add(l.Name, l.Source) || !add(l.ID, statusName(l.Status)) {
				return
			}
			seen[l.Name] = true
		}
	})
}
