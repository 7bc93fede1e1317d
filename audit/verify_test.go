package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// soundChain is start, seal, two receipts, seal, receipt, seal: seven lines.
func soundChain(t testing.TB, key audit.Signer) *audit.Chain {
	return audit.NewChain(1).
		Add(startLine(key)).Seal(key).
		Add(decision(1)).Add(settlement(2)).Seal(key).
		Add(expiry(3)).Seal(key)
}

func startLine(key audit.Signer) audit.Start {
	return audit.Start{Alg: key.Key().Alg, At: 1, Kid: key.Key().ID, Reason: audit.ReasonCreated}
}

// manipulation is one way to falsify a log, and all that Verify must find.
type manipulation struct {
	name string
	do   func(lines []string) []string
	want []string // "kind line reason", with the reason's first words
}

func edit(line int, old, new string) func([]string) []string {
	return func(lines []string) []string {
		if !strings.Contains(lines[line-1], old) {
			panic("no " + old + " in " + lines[line-1])
		}
		lines[line-1] = strings.Replace(lines[line-1], old, new, 1)
		return lines
	}
}

func manipulations(t testing.TB) []manipulation {
	hmac, foreign := signer(t, testHMACKey), signer(t, otherEd25519Key)
	return []manipulation{
		{"receipt altered", edit(3, "acme", "acne"), []string{"altered 3 the line's hash is not"}},
		{"last receipt of a batch altered", edit(4, "9000000", "1000000"), []string{"altered 4 the line's hash"}},
		{"prev altered", edit(4, `"prev":"`, `"prev":"x`), []string{"malformed 4 prev is not 32 bytes"}},
		{"prev swapped for another hash", func(l []string) []string {
			l[3] = strings.Replace(l[3], prevOf(l[3]), prevOf(l[5]), 1)
			return l
		}, []string{"altered 4 the line's hash is not"}},
		{"receipt altered and the chain redone without the key", func([]string) []string {
			d := decision(1)
			d.Facts.Cost = 1
			forged := audit.NewChain(1).Add(startLine(hmac)).Seal(hmac).Add(d).Add(settlement(2))
			old := soundChain(t, hmac)
			return append(forged.Lines, relink(t, old.Lines[4], forged)) // the old signature
		}, []string{"truncated 5 the chain ends at number 5", "bad-seal 5 the signature by key"}},
		{"signature altered", edit(5, `"sig":"`, `"sig":"0`), []string{"altered 5 the line's hash", "bad-seal 5 the signature"}},
		{"sealed by a foreign key", func([]string) []string {
			return audit.NewChain(1).Add(startLine(hmac)).Seal(hmac).Add(decision(1)).Seal(foreign).Lines
		}, []string{"truncated 4 the chain ends at number 4", "wrong-key 4 sealed with key"}},
		{"begun with a foreign key", func([]string) []string { return soundChain(t, foreign).Lines },
			[]string{"altered 7 lines 1 to 7 of the chain are not the ones", "unknown-key 2 sealed with ed25519 key"}},
		{"receipt gone", func(l []string) []string { return slices.Delete(l, 2, 3) },
			[]string{"missing 3 numbers 3 to 3 of the chain"}},
		{"seal gone", func(l []string) []string { return slices.Delete(l, 4, 5) },
			[]string{"missing 5 numbers 5 to 5 of the chain"}},
		{"first lines gone", func(l []string) []string { return l[2:] },
			[]string{"missing 1 numbers 1 to 2 of the chain"}},
		{"last seal gone", func(l []string) []string { return l[:6] },
			[]string{"truncated 6 the chain ends at number 6", "unsealed 6 no seal covers"}},
		{"last batch gone", func(l []string) []string { return l[:5] },
			[]string{"truncated 5 the chain ends at number 5, the checkpoint has 7"}},
		{"all gone", func([]string) []string { return nil },
			[]string{"missing 0 no receipts are there", "truncated 0 chain"}},
		{"lines swapped", func(l []string) []string {
			l[2], l[3] = l[3], l[2]
			return l
		}, []string{"reordered 4 number 3 of the chain comes after number 4"}},
		{"line doubled", func(l []string) []string { return slices.Insert(l, 3, l[2]) },
			[]string{"duplicated 4 number 3 of the chain"}},
		{"log doubled", func(l []string) []string { return append(l, l...) },
			[]string{"duplicated 8 number 1 of the chain"}},
		{"garbage put in", func(l []string) []string { return slices.Insert(l, 3, "garbage") },
			[]string{"malformed 4 not JSON"}},
		{"line overwritten with garbage", func(l []string) []string {
			l[3] = "garbage"
			return l
		}, []string{"malformed 4 not JSON"}},
		{"empty line put in", func(l []string) []string { return slices.Insert(l, 3, "") },
			[]string{"malformed 4 not JSON"}},
		{"space put in", edit(3, `"kind":`, `"kind": `), []string{"malformed 3 not canonical JSON"}},
		{"line of another chain put in", func(l []string) []string {
			return slices.Insert(l, 3, audit.NewChain(2).Add(startLine(hmac)).Add(decision(9)).Lines[1])
		}, []string{"altered 4 line of chain"}},
		{"line too long", func(l []string) []string {
			return slices.Insert(l, 3, strings.Repeat("x", audit.MaxLineBytes+1))
		}, []string{"malformed 4 the line is longer"}},
		{"another log in its place", func([]string) []string {
			return audit.NewChain(1).Add(startLine(hmac)).Seal(hmac).Add(decision(1)).
				Seal(hmac).Seal(hmac).Seal(hmac).Seal(hmac).Lines
		}, []string{"altered 7 lines 1 to 7 of the chain are not the ones of the checkpoint"}},
		{"event told twice", func([]string) []string {
			return soundChain(t, hmac).Add(settlement(2)).Seal(hmac).Lines
		}, []string{`conflicting 8 event 2 of tenant "acme" has a receipt already at log:4`}},
		{"key announced without a seal by the old one", func([]string) []string {
			return soundChain(t, hmac).Add(rotateTo(foreign)).Add(startLine(foreign)).Seal(foreign).Lines
		}, []string{"wrong-key 9 starts with key"}},
		{"key announced with a foreign public half", func([]string) []string {
			r := rotateTo(foreign)
			r.Kid = "0011223344556677"
			return soundChain(t, hmac).Add(r).Seal(hmac).Lines
		}, []string{"wrong-key 8 announces key"}},
		{"first line is not a start", func([]string) []string {
			return audit.NewChain(3).Add(decision(1)).Seal(hmac).Lines
		}, []string{"altered 1 the first line is not a start line", "truncated 0 chain"}},
	}
}

func rotateTo(key audit.Signer) audit.Rotate {
	return audit.Rotate{
		Alg: audit.AlgEd25519, At: 1, Kid: key.Key().ID, Public: fmt.Sprintf("%x", []byte(key.Key().Public)),
	}
}

// prevOf is a line's prev in hex.
func prevOf(line string) string {
	_, rest, _ := strings.Cut(line, `"prev":"`)
	return rest[:64]
}

// relink gives a line the prev that follows the chain's last line.
func relink(t testing.TB, line string, c *audit.Chain) string {
	t.Helper()
	return strings.Replace(line, prevOf(line), c.Hash(), 1)
}

// TestManipulations has one row for every manipulation. The log is held
// against the checkpoint of its last line.
func TestManipulations(t *testing.T) {
	for _, m := range manipulations(t) {
		t.Run(m.name, func(t *testing.T) {
			sound := soundChain(t, signer(t, testHMACKey))
			report := verifyLines(t, m.do(slices.Clone(sound.Lines)), sound.Checkpoint())
			if len(report.Findings) != len(m.want) {
				t.Fatalf("found %v\nwant %q", report.Findings, m.want)
			}
			for i, f := range report.Findings {
				if got := fmt.Sprintf("%s %d %s", f.Kind, f.Line, f.Reason); !strings.HasPrefix(got, m.want[i]) {
					t.Errorf("found %q, want %q", got, m.want[i])
				}
			}
		})
	}
}

func TestSoundChains(t *testing.T) {
	hmac, ed, next := signer(t, testHMACKey), signer(t, testEd25519Key), signer(t, otherEd25519Key)
	one := soundChain(t, hmac)
	rows := map[string]struct {
		lines  []string
		sealed int64
	}{
		"hmac":       {one.Lines, 3},
		"ed25519":    {soundChain(t, ed).Lines, 3},
		"no receipt": {audit.NewChain(1).Add(startLine(ed)).Seal(ed).Lines, 0},
		"key rotated": {soundChain(t, ed).Add(rotateTo(next)).Seal(ed).Add(startLine(next)).
			Seal(next).Add(decision(4)).Seal(next).Lines, 4},
		"rotation begun again after a crash": {soundChain(t, ed).Add(rotateTo(next)).Add(rotateTo(next)).Seal(ed).
			Add(startLine(next)).Seal(next).Lines, 3},
		"rotation called off after a crash": {soundChain(t, ed).Add(rotateTo(next)).Add(startLine(ed)).Seal(ed).
			Add(decision(4)).Seal(ed).Lines, 4},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			report := verifyLines(t, row.lines)
			mustBeSound(t, report)
			if c := report.Chains[0]; c.Sealed != row.sealed || c.Receipts != row.sealed {
				t.Errorf("%+v, want %d receipts, all sealed", c, row.sealed)
			}
		})
	}
}

func TestReceiptsBeforeABreakAreNotSealed(t *testing.T) {
	sound := soundChain(t, signer(t, testHMACKey))
	report := verifyLines(t, edit(3, "acme", "acne")(slices.Clone(sound.Lines)))
	if c := report.Chains[0]; c.Receipts != 3 || c.Sealed != 1 {
		t.Errorf("%+v: want only the batch after the altered one sealed", c)
	}
}

func TestTornLastLineIsTruncated(t *testing.T) {
	text := strings.Join(soundChain(t, signer(t, testHMACKey)).Lines, "\n") // the last newline is missing
	report := verify(t, []audit.Source{audit.Stream("log", strings.NewReader(text))})
	if got := kinds(report); got != "truncated unsealed" {
		t.Errorf("found %q", got)
	}
}

func TestHMACNeedsItsSecret(t *testing.T) {
	key := signer(t, testHMACKey)
	public, err := audit.ParseKeys(audit.NewKeys(key.Key()).Encode())
	if err != nil {
		t.Fatal(err)
	}
	src := audit.Stream("log", strings.NewReader(strings.Join(soundChain(t, key).Lines, "\n")+"\n"))
	report, err := audit.Verify(t.Context(), []audit.Source{src}, audit.VerifyOptions{Keys: public})
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(report); got != "unknown-key" || report.Findings[0].Count != 3 {
		t.Errorf("found %v", report.Findings)
	}
}

// TestReplicas checks the event numbers of a tenant over several chains.
func TestReplicas(t *testing.T) {
	key := signer(t, testHMACKey)
	recovered := func(n int64, lease, name string) audit.Event {
		return audit.Event{Tenant: "acme", Epoch: "e1", Event: n, Name: name, Lease: lease, Recovered: true}
	}
	thrown := func(name string) audit.Event {
		e := recovered(1, "", "kill")
		e.Switch = name
		return e
	}
	grant, repeat := decision(1), decision(1)
	repeat.Existing = true
	for _, row := range []struct {
		name     string
		a, b     []audit.Body
		findings string
		gaps     string
	}{
		{"complete", []audit.Body{grant, expiry(3)}, []audit.Body{settlement(2)}, "", "[]"},
		{"one log missing", []audit.Body{grant, expiry(3), expiry(9)}, nil, "", "[{acme e1 2 2} {acme e1 4 8}]"},
		{"denials have no number of their own", []audit.Body{grant, audit.Decision{Verdict: audit.Deny, Event: 1, Epoch: "e1",
			Facts: call.Facts{Tenant: "acme"}}}, nil, "", "[]"},
		{"nor have those about a lease that was there", []audit.Body{grant, repeat}, []audit.Body{repeat}, "", "[]"},
		{"recovered by another", []audit.Body{grant}, []audit.Body{recovered(1, grant.Lease, "grant")}, "", "[]"},
		{"recovered first", []audit.Body{recovered(1, grant.Lease, "grant")}, []audit.Body{grant}, "", "[]"},
		{"recovered twice", []audit.Body{recovered(1, "x", "grant")}, []audit.Body{recovered(1, "x", "grant")}, "", "[]"},
		{"recovered otherwise", []audit.Body{grant}, []audit.Body{recovered(1, "other", "grant")}, "conflicting", "[]"},
		{"thrown twice in two logs", []audit.Body{thrown("tenant")}, []audit.Body{thrown("tenant")}, "", "[]"},
		{"another switch", []audit.Body{thrown("tenant")}, []audit.Body{thrown("key:a")}, "conflicting", "[]"},
		{"told by two", []audit.Body{grant}, []audit.Body{grant}, "conflicting", "[]"},
		{"another epoch", []audit.Body{grant}, []audit.Body{audit.Event{Tenant: "acme", Epoch: "e2", Event: 1, Name: "provision"}}, "", "[]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := audit.NewChain(1).Add(startLine(key))
			for _, body := range row.a {
				a.Add(body)
			}
			b := audit.NewChain(2).Add(startLine(key))
			for _, body := range row.b {
				b.Add(body)
			}
			report := verifyLines(t, append(a.Seal(key).Lines, b.Seal(key).Lines...))
			if got := kinds(report); got != row.findings {
				t.Errorf("found %v, want %q", report.Findings, row.findings)
			}
			if got := fmt.Sprint(report.Gaps); got != row.gaps {
				t.Errorf("gaps %s, want %s", got, row.gaps)
			}
		})
	}
}

// TestAnyChangeIsFound flips bytes and deletes, doubles and swaps lines.
func TestAnyChangeIsFound(t *testing.T) {
	key := signer(t, testEd25519Key)
	chain := soundChain(t, key)
	sound := []byte(strings.Join(chain.Lines, "\n") + "\n")
	rapid.Check(t, func(t *rapid.T) {
		changed := falsify(t, bytes.Clone(sound))
		if bytes.Equal(changed, sound) {
			t.Skip("nothing changed")
		}
		report, err := audit.Verify(context.Background(),
			[]audit.Source{audit.Stream("log", bytes.NewReader(changed))},
			audit.VerifyOptions{Keys: audit.NewKeys(key.Key()), Checkpoints: []audit.Checkpoint{chain.Checkpoint()}})
		if err != nil {
			t.Fatal(err)
		}
		if report.OK() {
			t.Fatalf("not found:\n%s", changed)
		}
	})
}

func falsify(t *rapid.T, log []byte) []byte {
	if rapid.Bool().Draw(t, "flip a byte") {
		at := rapid.IntRange(0, len(log)-1).Draw(t, "at")
		log[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		return log
	}
	lines := bytes.SplitAfter(log, []byte{'\n'})
	lines = lines[:len(lines)-1]
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		j := rapid.IntRange(0, len(lines)-1).Draw(t, "other line")
		switch rapid.SampledFrom([]string{"delete", "double", "swap"}).Draw(t, "change") {
		case "delete":
			lines = slices.Delete(lines, i, i+1)
		case "double":
			lines = slices.Insert(lines, j, lines[i])
		case "swap":
			lines[i], lines[j] = lines[j], lines[i]
		}
		if len(lines) == 0 {
			return nil
		}
	}
	return bytes.Join(lines, nil)
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := audit.Stream("log", strings.NewReader("x\n"))
	if _, err := audit.Verify(ctx, []audit.Source{src}, audit.VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestVerifyReportsReadErrors(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("x\n"), iotestErr{})
	_, err := audit.Verify(t.Context(), []audit.Source{audit.Stream("log", broken)}, audit.VerifyOptions{})
	if !errors.Is(err, errDisk) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

var errDisk = errors.New("disk on fire")

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errDisk }

func TestVerifyRefusesABadCheckpoint(t *testing.T) {
	_, err := audit.Verify(t.Context(), nil, audit.VerifyOptions{Checkpoints: []audit.Checkpoint{{Chain: "x"}}})
	if err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, text := range map[string]string{"hmac": testHMACKey, "ed25519": testEd25519Key} {
		b.Run(name, func(b *testing.B) {
			key := signer(b, text)
			const receipts = 64 * 1000
			chain := audit.NewChain(1).Add(startLine(key)).Seal(key)
			for i := range receipts {
				chain.Add(decision(int64(i + 1)))
				if i%64 == 63 {
					chain.Seal(key)
				}
			}
			log := strings.Join(chain.Lines, "\n") + "\n"
			b.SetBytes(int64(len(log)))
			for b.Loop() {
				mustBeSound(b, verify(b, []audit.Source{audit.Stream("log", strings.NewReader(log))}))
			}
			b.ReportMetric(float64(receipts)*float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}

// TestLinesAcrossBlocks: where one block that a worker reads ends and the next
// begins shows nowhere, whatever the length of lines.
func TestLinesAcrossBlocks(t *testing.T) {
	key := signer(t, testHMACKey)
	chain := audit.NewChain(1).Add(startLine(key)).Seal(key)
	for i := range 1000 { // about ten blocks
		chain.Add(decision(int64(i + 1)))
	}
	chain.Seal(key)
	mustBeSound(t, verifyLines(t, chain.Lines, chain.Checkpoint()))
	for _, size := range []int{audit.MaxLineBytes, audit.MaxLineBytes + 1, audit.BlockBytes - 1, audit.BlockBytes, 3 * audit.BlockBytes} {
		for _, at := range []int{0, 1, 500, len(chain.Lines)} {
			lines := slices.Insert(slices.Clone(chain.Lines), at, strings.Repeat("x", size))
			reason := "not JSON"
			if size > audit.MaxLineBytes {
				reason = "the line is longer"
			}
			report := verifyLines(t, lines, chain.Checkpoint())
			mustFindOne(t, report, fmt.Sprintf("malformed %d %s", at+1, reason))
			if want := int64(len(strings.Join(lines, "\n")) + 1); report.Lines != int64(len(lines)) || report.Bytes > want {
				t.Errorf("%d lines of %d bytes, want %d of at most %d", report.Lines, report.Bytes, len(lines), want)
			}
			torn := verify(t, []audit.Source{audit.Stream("log", strings.NewReader(strings.Join(lines[:at+1], "\n")))})
			if last := torn.Findings[0]; last.Kind != audit.Truncated || last.Line != int64(at+1) {
				t.Errorf("%d bytes without an end on line %d: %v", size, at+1, torn.Findings)
			}
		}
	}
}

func mustFindOne(t testing.TB, report audit.Report, want string) {
	t.Helper()
	if len(report.Findings) != 1 {
		t.Fatalf("found %v, want %s", report.Findings, want)
	}
	f := report.Findings[0]
	if got := fmt.Sprintf("%s %d %s", f.Kind, f.Line, f.Reason); !strings.HasPrefix(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestVerifyEach: it reports what Verify does, of logs in any order, and hands
// on what Merge does.
func TestVerifyEach(t *testing.T) {
	key := signer(t, testHMACKey)
	one := audit.NewChain(1).Add(startLine(key)).Add(timed(10)).Add(timed(40)).Seal(key).Add(timed(15)).Seal(key)
	two := audit.NewChain(2).Add(startLine(key)).Add(timed(10)).Add(timed(30)).Seal(key).Add(timed(50)).Seal(key)
	for _, row := range []struct {
		name  string
		spoil func(a, b []string) // lines 1 to 6 of each, in two sources
		want  string
		hands string
	}{
		{"sound", func([]string, []string) {}, "[]", "a:2@10 b:2@10 b:3@30 a:3@40 a2:1@15 b2:1@50"},
		{"a receipt altered", func(a, b []string) { a[2] = strings.Replace(a[2], "40", "44", 1) },
			"[a:3: altered: the line's hash is not the one that its successor names]", "a:2@10 b:2@10 b:3@30 a:3@44 a2:1@15 b2:1@50"},
		{"a line spoilt", func(a, b []string) { b[2] = "x" }, "[b:3: malformed: not JSON", "a:2@10 b:2@10 a:3@40 a2:1@15 b2:1@50"},
		{"a source's first line spoilt", func(a, b []string) { a[4] = "x" },
			"[a2:1: malformed: not JSON", "a:2@10 b:2@10 b:3@30 a:3@40 b2:1@50"},
		{"the second log cut", func(a, b []string) { b[5] = b[3] },
			"[b2:2: duplicated: number 4 of the chain was there before b2:1: unsealed: no seal covers the lines from here",
			"a:2@10 b:2@10 b:3@30 a:3@40 a2:1@15 b2:1@50"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var open atomic.Int64
			a, b := slices.Clone(one.Lines), slices.Clone(two.Lines)
			row.spoil(a, b)
			sources := []audit.Source{lines("a", &open, a[:4]...), lines("a2", &open, a[4:]...),
				lines("b", &open, b[:4]...), lines("b2", &open, b[4:]...)}
			var handed []string
			opts := audit.VerifyOptions{Keys: testKeys(t)}
			report, err := audit.VerifyEach(t.Context(), sources, opts, func(r audit.Receipt) {
				handed = append(handed, fmt.Sprintf("%s:%d@%d", r.File, r.Line, r.Body.(audit.Decision).At))
			})
			if err != nil || open.Load() != 0 {
				t.Fatalf("%v, %d sources left open", err, open.Load())
			}
			if got := fmt.Sprint(report.Findings); !strings.HasPrefix(got, row.want) {
				t.Errorf("found %s, want %s", got, row.want)
			}
			if got := strings.Join(handed, " "); got != row.hands {
				t.Errorf("handed on %s, want %s", got, row.hands)
			}
			plain := verify(t, sources)
			opts.Checkpoints = []audit.Checkpoint{one.Checkpoint(), two.Checkpoint()}
			held, err := audit.VerifyEach(t.Context(), sources, opts, func(audit.Receipt) {})
			if want := verify(t, sources, opts.Checkpoints...); err != nil || fmt.Sprint(held) != fmt.Sprint(want) {
				t.Errorf("with checkpoints Verify reports\n%v, VerifyEach\n%v", want, held)
			}
			for i := range plain.Chains {
				plain.Chains[i].Root = tlog.Hash{} // nobody asked for it
			}
			if fmt.Sprint(plain) != fmt.Sprint(report) {
				t.Errorf("Verify reports\n%v, VerifyEach\n%v", plain, report)
			}
		})
	}
}
