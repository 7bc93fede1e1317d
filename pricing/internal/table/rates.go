package table

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

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

// UnmarshalJSON reads what MarshalJSON writes, in any order. Unknown names are errors, and so is a name twice. It reads
// the bytes itself: a table has some ten thousand of these, and each process reads it.
func (r *Rates) UnmarshalJSON(data []byte) error {
	*r = NoRates()
	body, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	body, closed := bytes.CutSuffix(body, []byte("}"))
	if body = bytes.TrimSpace(body); !ok || !closed || len(body) == 0 {
		return errors.New("a tier without prices")
	}
	over := false
	for member := range bytes.SplitSeq(body, []byte(",")) {
		name, value, _ := bytes.Cut(member, []byte(":"))
		if err := r.set(string(bytes.TrimSpace(name)), string(bytes.TrimSpace(value)), &over); err != nil {
			return err
		}
	}
	return nil
}

// set takes a member, the name in its quotes.
func (r *Rates) set(name, value string, over *bool) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("the price %.64q of %.64s is out of bounds, or not whole", value, name)
	}
	if name == `"over"` && !*over {
		r.Over, *over = n, true
		return nil
	}
	unit, ok := call.ByName(strings.Trim(name, `"`))
	switch {
	case !ok || r.Price[unit] != None:
		return fmt.Errorf("%.64s is not the name of a unit, or twice", name)
	case n > MaxPicoUSD:
		return fmt.Errorf("the price %d of %s is out of bounds", n, unit)
	}
	r.Price[unit] = n
	return nil
}
