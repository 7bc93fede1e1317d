package pricing_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/aegis-proxy/aegis-proxy/pricing"
)

func TestReadIsTheBuiltinTableOnItsOwnFiles(t *testing.T) {
	table, err := pricing.Read(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := table.Version(), pricing.Builtin().Version(); got != want {
		t.Errorf("version %s, want %s", got, want)
	}
}

func TestReadRefusesWhatIsNoTable(t *testing.T) {
	limits := &fstest.MapFile{Data: []byte("[]")}
	for name, files := range map[string]fstest.MapFS{
		"nothing":       {},
		"no limits":     {"table/openai.json": {Data: []byte("{}")}},
		"no prices":     {"limits.json": limits},
		"broken prices": {"limits.json": limits, "table/openai.json": {Data: []byte("[")}},
	} {
		if _, err := pricing.Read(files); err == nil {
			t.Errorf("%s: taken for a table", name)
		}
	}
}
