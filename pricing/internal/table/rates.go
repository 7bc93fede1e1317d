package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// None is the price of a unit that has none.
const None = -1

// Rates are prices in pico-USD per unit, None where there is none. The whole request is charged at the last tier whose
// Over its input exceeds.
type Rates struct {
	Over  int64 // tokens
	Price [call.Units]int64
}

// NoRates are rates without any price.
func NoRates() Rates {
	var r Rates
	for u := range r.Price {
		r.Price[u] = None
	}
	return r
}

// MarshalJSON writes the prices that there are by the names of their units, in the order of package call's table.
func (r Rates) MarshalJSON() ([]byte, error) {
	dst := []byte{'{'}
	if r.Over > 0 {
		dst = strconv.AppendInt(append(dst, `"over":`...), r.Over, 10)
	}
	for u, price := range r.Price {
		if price == None {
			continue
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendQuote(dst, call.Unit(u).String())
		dst = strconv.AppendInt(append(dst, ':'), price, 10)
	}
	return append(dst, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes, in any order. Unknown names are errors.
func (r *Rates) UnmarshalJSON(data []byte) error {
	var members map[string]int64
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	*r = NoRates()
	for name, price := range members {
		unit, ok := call.ByName(name)
		switch {
		case name == "over" && price >= 0:
			r.Over = price
		case !ok:
			return fmt.Errorf("%.64q is not the name of a unit", name)
		case price < 0 || price > MaxPicoUSD:
			return fmt.Errorf("the price %d of %s is out of bounds", price, unit)
		default:
			r.Price[unit] = price
		}
	}
	if len(members) == 0 {
		return errors.New("a tier without prices")
	}
	return nil
}
