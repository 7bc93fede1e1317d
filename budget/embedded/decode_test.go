package embedded_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"pgregory.net/rapid"
)

// failer is a test, a fuzz target or a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// agree fails the test unless the decoder leaves the payload alone, or takes
// it as encoding/json does and as what its record is written as. It reports
// whether the decoder took it.
func agree(t failer, d *embedded.Decoder, payload []byte) bool {
	t.Helper()
	got, ok := embedded.DecodeWritten(d, payload)
	if !ok {
		return false
	}
	want, err := embedded.DecodeJSON(payload)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q gives\n%s, encoding/json gives\n%s (%v)", payload, written(got), written(want), err)
	}
	if again := written(got); !bytes.Equal(again, payload) {
		t.Fatalf("%q was taken, but is written %q", payload, again)
	}
	return true
}

// written is a record that is written by hand as the ledger writes it.
func written(r *embedded.Record) []byte {
	switch {
	case r == nil:
		return nil
	case r.Event != nil:
		return embedded.AppendEvent(nil, r.Event)
	case r.Ack != nil:
		return embedded.AppendAck(nil, r.Ack.Tenant, r.Ack.Number)
	case r.Renew != nil:
		return embedded.AppendRenewal(nil, r.Renew.Tenant, r.Renew.Lease, r.Renew.Expires)
	case r.Lease != nil:
		return embedded.AppendLease(nil, r.Lease.Tenant, &r.Lease.Lease)
	}
	return nil
}

// TestDecodeWritten takes every record that is written by hand, and
// what it gives outlives the bytes it was read from and the next record.
func TestDecodeWritten(t *testing.T) {
	t.Parallel()
	d := embedded.NewDecoder()
	rapid.Check(t, func(t *rapid.T) {
		payload := drawWritten(t)
		if !agree(t, d, payload) {
			t.Fatalf("%q was left to encoding/json", payload)
		}
		want := bytes.Clone(payload)
		r, _ := embedded.DecodeWritten(d, payload)
		for i := range payload {
			payload[i] = '#'
		}
		agree(t, d, samples()[0])
		if got := written(r); !bytes.Equal(got, want) {
			t.Fatalf("%q became %q", want, got)
		}
	})
}

func drawWritten(t *rapid.T) []byte {
	name := rapid.StringMatching(`[A-Za-z0-9._:/@=*-]{1,128}`)
	number := rapid.Int64Range(1, budget.MaxAmount)
	switch rapid.SampledFrom([]string{"Event", "Ack", "Renew", "Lease"}).Draw(t, "record") {
	case "Lease":
		l := drawLease(t)
		return embedded.AppendLease(nil, name.Draw(t, "tenant"), &l)
	case "Ack":
		return embedded.AppendAck(nil, name.Draw(t, "tenant"), number.Draw(t, "number"))
	case "Renew":
		return embedded.AppendRenewal(nil, name.Draw(t, "tenant"), name.Draw(t, "lease"), number.Draw(t, "expires"))
	}
	e := drawEvent(t)
	return embedded.AppendEvent(nil, &e)
}

// samples are one payload of each record that is written by hand.
func samples() [][]byte {
	e := budget.Event{Tenant: "acme", Epoch: "e1", Number: 70, Kind: budget.Granted, At: 1000, Lease: "l1", Amount: -8, Expires: 2000,
		Policy: budget.PolicyVersion{Generation: 3, Hash: "ab"}, Limits: []budget.Limit{{Key: "usd", Limit: 9}, {Key: "eur"}},
		Claims: []budget.Placed{
			{Claim: budget.Claim{Key: "usd", Amount: 5, Limit: budget.NoLimit, AtEnd: budget.Adjust, Group: "runs", GroupMax: 4,
				Window: budget.Window{Kind: budget.Fixed, Current: budget.Span{End: 2}, Next: budget.Span{Start: 2, End: 3}, Length: 6}},
				Observed: budget.Observed{Span: budget.Span{Start: 1}, Spent: 1, Held: 2}},
			{Claim: budget.Claim{Key: "tools", Amount: 1, Marks: []string{"a", "b"}}, Observed: budget.Observed{New: 1}},
			{Claim: budget.Claim{Key: "slots"}}}}
	return [][]byte{
		embedded.AppendEvent(nil, &e),
		embedded.AppendEvent(nil, &budget.Event{}),
		embedded.AppendAck(nil, "acme", 70),
		embedded.AppendRenewal(nil, "acme", "l1", 2000),
		embedded.AppendLease(nil, "acme", &budget.Lease{ID: "l1", Number: 70, At: 1000, Expires: 2000, Hold: 5, Claims: e.Claims[1:],
			Extended: 71, ExtendAt: 1001, End: budget.Expired, EndNumber: 72, EndAt: 2000, Charge: 5, ExpiredAt: 2000, ForgetAt: 3000}),
	}
}

// TestDecodeSpoilt cuts a payload anywhere, and replaces, doubles or takes out
// each of its bytes.
func TestDecodeSpoilt(t *testing.T) {
	t.Parallel()
	d := embedded.NewDecoder()
	for _, payload := range samples() {
		if !agree(t, d, payload) {
			t.Fatalf("%s was left to encoding/json", payload)
		}
		for i := range payload {
			if agree(t, d, payload[:i]) {
				t.Errorf("%s was taken", payload[:i])
			}
			agree(t, d, append(bytes.Clone(payload[:i]), payload[i+1:]...))
			agree(t, d, append(bytes.Clone(payload[:i+1]), payload[i:]...))
			for c := range 256 {
				spoilt := bytes.Clone(payload)
				spoilt[i] = byte(c)
				agree(t, d, spoilt)
			}
		}
	}
}

// nearMisses are payloads that are never written by hand, and whether
// encoding/json can read them.
var nearMisses = map[string]struct {
	payload  string
	readable bool
}{
	"nothing":                   {``, false},
	"null":                      {`null`, true},
	"no member":                 {`{}`, true},
	"end":                       {`{"End":3}`, true},
	"state":                     {`{"State":{"State":{"Tenant":"t"}}}`, true},
	"unknown record":            {`{"Evens":{}}`, false},
	"two records":               {`{"Event":{},"Ack":{"Tenant":"t","Number":1}}`, true},
	"lower-case record":         {`{"event":{"Tenant":"t"}}`, true},
	"null record":               {`{"Event":null}`, true},
	"array record":              {`{"Event":[]}`, false},
	"space before":              {` {"Event":{"Tenant":"t"}}`, true},
	"space after":               {`{"Event":{"Tenant":"t"}} `, true},
	"space within":              {`{"Event":{"Tenant": "t"}}`, true},
	"brace after":               {`{"Event":{"Tenant":"t"}}}`, true},
	"comma after":               {`{"Event":{"Tenant":"t"}},`, false},
	"value after":               {`{"Event":{"Tenant":"t"}}{}`, false},
	"comma first":               {`{"Event":{,"Tenant":"t"}}`, false},
	"comma last":                {`{"Event":{"Tenant":"t",}}`, false},
	"comma missing":             {`{"Event":{"Tenant":"t""Number":1}}`, false},
	"colon missing":             {`{"Event":{"Tenant""t"}}`, false},
	"other order":               {`{"Event":{"Number":1,"Tenant":"t"}}`, true},
	"twice":                     {`{"Event":{"Tenant":"t","Tenant":"u"}}`, true},
	"unknown member":            {`{"Event":{"Tenant":"t","Tenants":"u"}}`, false},
	"lower-case member":         {`{"Event":{"tenant":"t"}}`, true},
	"escaped member":            {`{"Event":{"\u0054enant":"t"}}`, true},
	"empty text":                {`{"Event":{"Tenant":""}}`, true},
	"null text":                 {`{"Event":{"Tenant":null}}`, true},
	"number for text":           {`{"Event":{"Tenant":1}}`, false},
	"escape":                    {`{"Event":{"Tenant":"\u0074"}}`, true},
	"escaped quote":             {`{"Event":{"Tenant":"t\""}}`, true},
	"control character":         {"{\"Event\":{\"Tenant\":\"t\x1f\"}}", false},
	"delete character":          {"{\"Event\":{\"Tenant\":\"t\x7f\"}}", true},
	"beyond ascii":              {`{"Event":{"Tenant":"tä"}}`, true},
	"not utf-8":                 {"{\"Event\":{\"Tenant\":\"t\xff\"}}", true},
	"text without end":          {`{"Event":{"Tenant":"t`, false},
	"long text":                 {`{"Event":{"Tenant":"` + strings.Repeat("n", budget.MaxKeyBytes+1) + `"}}`, true},
	"zero":                      {`{"Event":{"Number":0}}`, true},
	"minus zero":                {`{"Event":{"Number":-0}}`, true},
	"leading zero":              {`{"Event":{"Number":07}}`, false},
	"minus leading zero":        {`{"Event":{"Number":-07}}`, false},
	"plus":                      {`{"Event":{"Number":+7}}`, false},
	"two minuses":               {`{"Event":{"Number":--7}}`, false},
	"no digits":                 {`{"Event":{"Number":}}`, false},
	"minus alone":               {`{"Event":{"Number":-}}`, false},
	"fraction":                  {`{"Event":{"Number":7.0}}`, false},
	"exponent":                  {`{"Event":{"Number":7e0}}`, false},
	"quoted number":             {`{"Event":{"Number":"7"}}`, false},
	"null number":               {`{"Event":{"Number":null}}`, true},
	"above int64":               {`{"Event":{"Number":9223372036854775808}}`, false},
	"below int64":               {`{"Event":{"Number":-9223372036854775809}}`, false},
	"one beyond uint64":         {`{"Event":{"Number":18446744073709551617}}`, false},
	"number of 40 digits":       {`{"Event":{"Number":` + strings.Repeat("1", 40) + `}}`, false},
	"no claims":                 {`{"Event":{"Claims":[]}}`, true},
	"null claims":               {`{"Event":{"Claims":null}}`, true},
	"claim without window":      {`{"Event":{"Claims":[{"Key":"k"}]}}`, true},
	"null claim":                {`{"Event":{"Claims":[null]}}`, true},
	"null window":               {`{"Event":{"Claims":[{"Key":"k","Window":null}]}}`, true},
	"comma before claims":       {`{"Event":{"Claims":[,{"Key":"k","Window":{}}]}}`, false},
	"comma after claims":        {`{"Event":{"Claims":[{"Key":"k","Window":{}},]}}`, false},
	"too many claims":           {`{"Event":{"Claims":[` + strings.Repeat(`{"Key":"k","Window":{}},`, budget.MaxClaims) + `{"Key":"k","Window":{}}]}}`, true},
	"empty span":                {`{"Event":{"Claims":[{"Window":{"Current":{}}}]}}`, true},
	"nested claim":              {`{"Event":{"Claims":[{"Claim":{"Key":"k"},"Window":{}}]}}`, false},
	"empty policy":              {`{"Event":{"Policy":{}}}`, true},
	"ack without members":       {`{"Ack":{}}`, true},
	"ack without tenant":        {`{"Ack":{"Number":1}}`, true},
	"ack without number":        {`{"Ack":{"Tenant":"t"}}`, true},
	"ack of nothing":            {`{"Ack":{"Tenant":"t","Number":0}}`, true},
	"ack in other order":        {`{"Ack":{"Number":1,"Tenant":"t"}}`, true},
	"ack of a lease":            {`{"Ack":{"Tenant":"t","Lease":"l","Number":1}}`, false},
	"renewal without lease":     {`{"Renew":{"Tenant":"t","Expires":1}}`, true},
	"renewal without expiry":    {`{"Renew":{"Tenant":"t","Lease":"l"}}`, true},
	"renewal with number":       {`{"Renew":{"Tenant":"t","Lease":"l","Number":1}}`, false},
	"renewal in another's form": {`{"Renew":{"Tenant":"t","Number":1}}`, false},
}

// TestDecodeNearMiss leaves every other spelling to encoding/json, so that what
// it can read stays readable, and nothing else becomes so.
func TestDecodeNearMiss(t *testing.T) {
	t.Parallel()
	for name, c := range nearMisses {
		t.Run(name, func(t *testing.T) { nearMiss(t, []byte(c.payload), c.readable) })
	}
}

func nearMiss(t *testing.T, payload []byte, readable bool) {
	d := embedded.NewDecoder()
	if r, ok := embedded.DecodeWritten(d, payload); ok {
		t.Errorf("%q was taken as %q", payload, written(r))
	}
	want, wantErr := embedded.DecodeJSON(payload)
	if (wantErr == nil) != readable {
		t.Errorf("%q: encoding/json says %v, readable should be %v", payload, wantErr, readable)
	}
	line := embedded.AppendLine(nil, payload)
	got, err := embedded.DecodeLine(d, line[:len(line)-1])
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: a line gives %+v (%v), encoding/json %+v (%v)", payload, got, err, want, wantErr)
	}
}

// TestManyNames reads more names than a decoder remembers, each twice.
func TestManyNames(t *testing.T) {
	t.Parallel()
	d := embedded.NewDecoder()
	for range 2 {
		for i := range 3 * embedded.NameSlots {
			if payload := embedded.AppendAck(nil, fmt.Sprintf("tenant-%d", i), 1); !agree(t, d, payload) {
				t.Fatalf("%s was left to encoding/json", payload)
			}
		}
	}
}

// TestLongLine opens a journal with a line that fills the reader's buffer, or
// nearly, or several times over.
func TestLongLine(t *testing.T) {
	t.Parallel()
	first := `{"Event":{"Tenant":"t","Epoch":"e","Number":1,"Kind":"provision","At":1}}`
	rest := line(`{"Ack":{"Tenant":"t","Number":1}}`)
	for _, size := range []int{embedded.ReadBytes - 1, embedded.ReadBytes, embedded.ReadBytes + 1, 3 * embedded.ReadBytes} {
		long := line(first + strings.Repeat(" ", size-len(line(first))))
		for torn, want := range map[string]embedded.Recovery{
			"":              {Tenants: 1, Records: 3},
			"x":             {Tenants: 1, Records: 3, TornBytes: 1},
			long[:size-100]: {Tenants: 1, Records: 3, TornBytes: int64(size - 100)},
		} {
			dir := dirWith(t, []byte(long+rest+rest+torn))
			l := open(t, embedded.Config{Dir: dir})
			got := l.Recovery()
			got.TornFile = ""
			if got != want {
				t.Errorf("a line of %d bytes and a tail of %d give %+v, want %+v", size, len(torn), got, want)
			}
			must(t, l.Close())
		}
	}
}

// TestLongDamage names the offset of a damaged line behind a long one.
func TestLongDamage(t *testing.T) {
	t.Parallel()
	first := `{"Event":{"Tenant":"t","Epoch":"e","Number":1,"Kind":"provision","At":1}}`
	long := line(first + strings.Repeat(" ", 2*embedded.ReadBytes))
	dir := dirWith(t, []byte(long+"damage\n"))
	_, err := embedded.Open(embedded.Config{Dir: dir, Log: quiet})
	if want := fmt.Sprintf("offset %d:", len(long)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// FuzzDecode finds no payload that the decoder takes otherwise than
// encoding/json does.
func FuzzDecode(f *testing.F) {
	for _, payload := range samples() {
		f.Add(payload)
	}
	f.Add([]byte(`{"Event":{"Tenant":"t","Number":-9223372036854775808,"Claims":[{"Window":{}},{"Window":{}}]}}`))
	d := embedded.NewDecoder()
	f.Fuzz(func(t *testing.T, payload []byte) { agree(t, d, payload) })
}
