package rest

import (
	"context"
	"io"
	"time"

	"berth/billing"
	"berth/billing/prices"
	"berth/fault"
	"berth/server/api"
)

// Prices knows what things cost. ref is the ID of a list, or a name, which means its
// newest list.
type Prices interface {
	// PriceList returns what holds at a time.
	PriceList(when time.Time) billing.PriceList

	Overview() prices.Overview
	Describe(ref string) (prices.Described, error)

	// AddDraft stores a list, and Import those in a file. Nobody is charged by them
	// until they are active. Storing a list again changes nothing.
	AddDraft(ctx context.Context, d prices.Draft) (prices.List, error)
	Import(ctx context.Context, r io.Reader, o prices.ImportOptions) (prices.Imported, error)

	// Activate makes a list active among those of its name, and Use puts one in use.
	// A time that has passed is fault.Invalid; zero means as soon as can be.
	Activate(ctx context.Context, id string, from time.Time) (prices.Change, error)
	Use(ctx context.Context, ref, plan string, from time.Time) (prices.Change, error)
}

func (s *server) priceLists(context.Context, *none) (*prices.Overview, error) {
	o := s.Prices.Overview()
	o.Timeline = some(o.Timeline)
	return &o, nil
}

type priceListIn struct {
	ID string `path:"id" doc:"ID of a price list, or a name, which means its newest list"`
}

func (s *server) priceList(_ context.Context, in *priceListIn) (*prices.Described, error) {
	d, err := s.Prices.Describe(in.ID)
	return &d, err
}

type addPriceListIn struct {
	Body prices.Draft
}

func (s *server) addPriceList(ctx context.Context, in *addPriceListIn) (*prices.Described, error) {
	l, err := s.Prices.AddDraft(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	d, err := s.Prices.Describe(l.ID)
	return &d, err
}

type importPricesIn struct {
	Region string    `query:"region" doc:"Take this region only; must be there where the file does not say one"`
	Name   string    `query:"name" doc:"Of the list, in place of its region's; only with region"`
	Stream io.Reader `accept:"application/json,text/csv,application/octet-stream"`
}

func (s *server) importPrices(ctx context.Context, in *importPricesIn) (*prices.Imported, error) {
	out, err := s.Prices.Import(ctx, in.Stream, prices.ImportOptions{Region: in.Region, Name: in.Name})
	return &out, err
}

type activatePricesIn struct {
	ID   string             `path:"id" doc:"ID of a price list"`
	Body api.ActivatePrices `required:"false"`
}

func (s *server) activatePrices(ctx context.Context, in *activatePricesIn) (*prices.Change, error) {
	from, err := in.Body.EffectiveFrom.Time()
	if err != nil {
		return nil, fault.At("effectiveFrom", "%s", fault.Message(err))
	}
	c, err := s.Prices.Activate(ctx, in.ID, from)
	return &c, err
}

type usePricesIn struct {
	Body api.UsePrices
}

func (s *server) usePrices(ctx context.Context, in *usePricesIn) (*prices.Change, error) {
	if in.Body.Prices == "" {
		return nil, fault.At("prices", "it is missing")
	}
	from, err := in.Body.EffectiveFrom.Time()
	if err != nil {
		return nil, fault.At("effectiveFrom", "%s", fault.Message(err))
	}
	c, err := s.Prices.Use(ctx, in.Body.Prices, in.Body.Plan, from)
	return &c, err
}
