package prices

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/fault"
)

// offer is what the forms of the AWS Price List have in common: prices of products
// by region, and where they are from.
type offer struct {
	version, published string
	rows               []row
}

// row is one price. All is text, as the file has it.
type row struct {
	sku       string // AWS's key of the product, not what is charged for
	region    string
	location  string // what locationType says
	usageType string
	term      string // AWS's key of the term
	effective string
	begin     string // of the tier
	end       string
	unit      string
	price     string
	currency  string
}

// offerCode is the service whose prices are those of tasks on Fargate. Others
// (AmazonEKS) have the same usage types for their own.
const offerCode = "AmazonECS"

// offerOf reads an offer file: AWS Price List bulk API, "Reading service price list
// files", JSON.
func offerOf(o object, skip *skipped) (offer, error) {
	out := offer{version: o.text("version"), published: o.text("publicationDate")}
	if code := o.text("offerCode"); code != offerCode {
		return out, notECS(code)
	}
	terms := o.object("terms").object("OnDemand")
	products := o.object("products")
	for _, sku := range products.names() {
		p, ok := products[sku].(object)
		if !ok || p.text("sku") != sku {
			return out, fault.At("products."+short(sku), "it is not a product of that SKU")
		}
		rows, err := productRows(p, terms.object(sku), skip)
		if err != nil {
			return out, err
		}
		out.rows = append(out.rows, rows...)
	}
	return out, nil
}

// queryOf reads what the GetProducts call of the AWS Price List query API returns: a
// string of JSON for each product, in which the terms are one level flatter.
func queryOf(t *tree, o object, skip *skipped) (offer, error) {
	var out offer
	if o.text("NextToken") != "" {
		return out, fault.At("NextToken", "this is one page of several; get all of them (the AWS CLI does so without --max-items)")
	}
	for i, item := range o.list("PriceList") {
		field := fmt.Sprintf("PriceList[%d]", i)
		product, ok := item.(object)
		if text, isText := item.(string); isText {
			v, err := t.parse([]byte(text))
			if err != nil {
				return out, at(field, err)
			}
			product, ok = v.(object)
		}
		if !ok {
			return out, fault.At(field, "it is not a product")
		}
		if code := product.text("serviceCode"); code != offerCode {
			return out, at(field, notECS(code))
		}
		rows, err := productRows(product.object("product"), product.object("terms").object("OnDemand"), skip)
		if err != nil {
			return out, at(field, err)
		}
		out.rows = append(out.rows, rows...)
		if v := product.text("version"); v > out.version { // They count up: yyyymmddhhmmss.
			out.version, out.published = v, product.text("publicationDate")
		}
	}
	return out, nil
}

func notECS(code string) error {
	return fault.New(fault.Invalid, "it has prices of %q, and those of tasks are in the offer %s", short(code), offerCode)
}

// productRows returns the prices of one product if it is one of Fargate.
func productRows(p, terms object, skip *skipped) ([]row, error) {
	sku, attributes := p.text("sku"), p.object("attributes")
	r := row{
		sku: sku, region: attributes.text("regionCode"), location: attributes.text("locationType"), usageType: attributes.text("usagetype"),
	}
	if !r.wanted(skip) {
		return nil, nil
	}
	var rows []row
	for _, key := range terms.names() {
		term := terms.object(key)
		if term.text("sku") != sku {
			return nil, fault.New(fault.Invalid, "the term %q is not one of product %q", short(key), short(sku))
		}
		r.term, r.effective = key, term.text("effectiveDate")
		dimensions := term.object("priceDimensions")
		for _, code := range dimensions.names() {
			d := dimensions.object(code)
			r.begin, r.end, r.unit = d.text("beginRange"), d.text("endRange"), d.text("unit")
			prices := d.object("pricePerUnit")
			if len(prices) != 1 {
				return nil, fault.New(fault.Invalid, "product %q has prices in %d currencies", short(sku), len(prices))
			}
			r.currency = prices.names()[0]
			r.price = prices.text(r.currency)
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, fault.New(fault.Invalid, "product %q (%s) has no price on demand", short(sku), short(r.usageType))
	}
	return rows, nil
}

// csvOf reads an offer file: AWS Price List bulk API, "Reading service price list
// files", CSV. Five lines of metadata come before the line of column names.
func csvOf(data []byte, skip *skipped) (offer, error) {
	var out offer
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	meta := make(map[string]string)
	columns := map[string]int(nil)
	for n := 0; ; n++ {
		record, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			if columns == nil {
				return out, fault.New(fault.Invalid, "it is not an offer file: there is no line of column names")
			}
			return out, nil
		case err != nil:
			return out, fault.Wrap(fault.Invalid, err, "it is not CSV")
		case n > maxRows:
			return out, fault.New(fault.Invalid, "it has more than %d lines", maxRows)
		}
		switch {
		case columns != nil:
			row, want, err := csvRow(columns, record, skip)
			if err != nil {
				return out, err
			}
			if want {
				out.rows = append(out.rows, row)
			}
		case len(record) == 2:
			meta[heading(record[0])] = record[1]
		default:
			if columns, err = csvColumns(record); err != nil {
				return out, err
			}
			out.version, out.published = meta["version"], meta["publicationdate"]
			if code := meta["offercode"]; code != offerCode {
				return out, notECS(code)
			}
		}
	}
}

// heading is how the name of a column is compared: "Region Code" is regioncode.
func heading(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "")) }

// csvNeeds are the columns without which nothing can be imported.
var csvNeeds = []string{
	"sku", "offertermcode", "termtype", "effectivedate", "startingrange", "endingrange", "unit", "priceperunit", "currency", "usagetype",
}

func csvColumns(record []string) (map[string]int, error) {
	columns := make(map[string]int)
	for i, name := range record {
		if _, twice := columns[heading(name)]; twice {
			return nil, fault.New(fault.Invalid, "there are two columns %q", short(name))
		}
		columns[heading(name)] = i
	}
	for _, name := range csvNeeds {
		if _, ok := columns[name]; !ok {
			return nil, fault.New(fault.Invalid, "it is not an offer file: there is no column %s", name)
		}
	}
	return columns, nil
}

// csvRow returns the price in a line if it is one of Fargate on demand.
func csvRow(columns map[string]int, record []string, skip *skipped) (row, bool, error) {
	cell := func(name string) string {
		if i, ok := columns[name]; ok && i < len(record) {
			return strings.Clone(record[i])
		}
		return ""
	}
	if len(record) != len(columns) {
		return row{}, false, fault.New(fault.Invalid, "the line of product %q has %d fields and there are %d columns", short(cell("sku")), len(record), len(columns))
	}
	r := row{
		sku: cell("sku"), region: cell("regioncode"), location: cell("locationtype"), usageType: cell("usagetype"),
		term: cell("offertermcode"), effective: cell("effectivedate"), begin: cell("startingrange"), end: cell("endingrange"),
		unit: cell("unit"), price: cell("priceperunit"), currency: cell("currency"),
	}
	if term := cell("termtype"); term != "OnDemand" {
		skip.add(r.usageType, "it is not a price on demand")
		return r, false, nil
	}
	return r, r.wanted(skip), nil
}
