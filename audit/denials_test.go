package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// deniedChain is start, seal, a denial, two receipts of several, seal: six lines.
// Of the first of the two, on line 4, a text is replaced by another.
func deniedChain(key audit.Signer, old, new string) *audit.Chain {
	one := denials(1_700_000_000_123, "0")
	one.Denials = audit.Denials{}
	several, err := audit.EncodeBody(nil, denials(1_700_000_000_123, "a"))
	if err != nil || !strings.Contains(string(several), old) {
		panic(fmt.Sprintf("%v: no %s in %s", err, old, several))
	}
	return audit.NewChain(1).Add(startLine(key)).Seal(key).
		Add(one).AddText("decision", strings.Replace(string(several), old, new, 1)).Add(denials(1_700_000_001_123, "b")).Seal(key)
}

// spoiltDenials are what no decision that stands for several denials may be, in a
// log that is sound but for that.
func spoiltDenials(key audit.Signer) []manipulation {
	id := "denials-" + strings.Repeat("a", 32)
	row := func(name, old, new, want string) manipulation {
		return manipulation{name, func([]string) []string { return deniedChain(key, old, new).Lines }, []string{"malformed 4 body: " + want}}
	}
	return []manipulation{
		row("denials without a count", `"count":8500,`, "", "denials have no count"),
		row("denials without an id", `,"id":"`+id+`"`, "", "the id of denials"),
		row("denials without an end", `,"until":1700000001121`, "", "denials until 0"),
		row("denials of nothing", `{"count":8500,"id":"`+id+`","until":1700000001121}`, `{}`, "byte"),
		row("denials that end early", `"until":1700000001121`, `"until":1700000000122`, "denials until 1700000000122"),
		row("denials that allow", `"verdict":"deny"`, `"verdict":"allow"`, "the verdict of denials"),
		row("denials named as a line", id, "00112233445566778899aabbccddeef1-4", "the id of denials"),
		row("denials named in capitals", id, "denials-"+strings.Repeat("A", 32), "the id of denials"),
		row("denials with more to tell", `"id":"`+id+`"`, `"id":"`+id+`","key":"a"`, "byte"),
	}
}

func TestSpoiltDenialsAreMalformed(t *testing.T) {
	key := signer(t, testHMACKey)
	mustBeSound(t, verifyLines(t, deniedChain(key, "", "").Lines))
	for _, m := range spoiltDenials(key) {
		t.Run(m.name, func(t *testing.T) { mustFindOne(t, verifyLines(t, m.do(nil)), m.want[0]) })
	}
}

// TestDenialsHaveTheirOwnID: one receipt is named by it, whatever log it is in.
func TestDenialsHaveTheirOwnID(t *testing.T) {
	key := signer(t, testHMACKey)
	one := audit.NewChain(1).Add(startLine(key)).Add(denials(1, "a")).Add(denials(2, "b")).Seal(key)
	other := audit.NewChain(2).Add(startLine(key)).Add(denials(3, "c")).Seal(key)
	mustBeSound(t, verifyLines(t, append(one.Lines, other.Lines...)))
	again := audit.NewChain(2).Add(startLine(key)).Add(denials(3, "b")).Seal(key)
	mustFindOne(t, verifyLines(t, append(one.Lines, again.Lines...)), "conflicting 6 another receipt has the id denials-bbbb")
}

func TestDenialsThatCannotBeWritten(t *testing.T) {
	d := denials(5, "a")
	d.Verdict = audit.Allow
	if _, err := audit.FirstLine(d); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestReceiptsAreNamedAsInAnswers(t *testing.T) {
	single, several := audit.Decision{Verdict: audit.Deny}, denials(5, "a")
	several.Denials.ID = audit.NewDenialsID()
	for want, body := range map[string]audit.Body{"00112233445566778899aabbccddeeff-1": single, several.Denials.ID: several} {
		r, err := audit.ParseLine(mustLine(t, body))
		if err != nil || r.ID() != want {
			t.Errorf("%v: it is %s, want %s", err, r.ID(), want)
		}
	}
}

// TestDenialsMoveNoHead: such a receipt is written late, when the tenant's ledger
// may have begun anew.
func TestDenialsMoveNoHead(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	log := open(t, cfg)
	late := denials(5, "a")
	late.Epoch, late.Event = "e0", 9
	appendAll(t, log, decision(4), late)
	want := audit.Head{Epoch: "e1", Event: 4}
	if got := log.Heads()["acme"]; got != want {
		t.Errorf("the head is %v, want %v", got, want)
	}
	log.Close()
	if got := open(t, cfg).Heads()["acme"]; got != want {
		t.Errorf("opened again, the head is %v, want %v", got, want)
	}
}

// TestDenialsAreFoundByTheirID: in the open segment, in a closed one, and in one that
// was moved away.
func TestDenialsAreFoundByTheirID(t *testing.T) {
	cfg, away := testConfig(t, t.TempDir()), t.TempDir()
	cfg.SegmentBytes = 1
	log := open(t, cfg)
	digits := []string{"0", "1", "2", "3", "4", "5"}
	var refs []audit.Ref
	for i, digit := range digits {
		refs = append(refs, appendAll(t, log, denials(int64(i+1), digit))...)
	}
	log.Close()
	if _, err := audit.Archive(t.Context(), cfg.Dir, away, 3); err != nil {
		t.Fatal(err)
	}
	tree, err := audit.OpenTree(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, digit := range digits {
		n, err := tree.FindDenials("denials-"+strings.Repeat(digit, 32), away)
		if err != nil || n != refs[i].N {
			t.Errorf("%s is line %d (%v), want %d", digit, n, err, refs[i].N)
		}
	}
	for want, archives := range map[string][]string{"segments were moved away": nil, "no receipt of chain": {away}} {
		if _, err := tree.FindDenials("denials-"+strings.Repeat("d", 32), archives...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
