package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

var update = flag.Bool("update", false, "write the test vectors anew")

const vectorDir = "testdata/vectors"

// vector is one entry of vectors.json: a log, and what is wrong with it when
// it is held against keys.json, hmac.key and, if set, checkpoint.
type vector struct {
	File       string          `json:"file"`
	Title      string          `json:"title"`
	Checkpoint bool            `json:"checkpoint"`
	Findings   []vectorFinding `json:"findings"`

	lines []string
}

type vectorFinding struct {
	Kind string `json:"kind"`
	Line int64  `json:"line"`
}

// vectors are the logs of docs/receipt-format.md.
func vectors(t *testing.T) []vector {
	hmac, ed, next := signer(t, testHMACKey), signer(t, testEd25519Key), signer(t, otherEd25519Key)
	text := decision(1)
	text.Facts.Model = "\x00\x1f\b\t\n\f\r\"\\/<>&\x7f\u00e9\u2028\U0001F600"
	rotated := soundChain(t, ed).Add(rotateTo(next)).Seal(ed).Add(startLine(next)).Seal(next).Add(decision(4)).Seal(next)
	all := []vector{
		{File: "sound-hmac.jsonl", Title: "two batches", Checkpoint: true, lines: soundChain(t, hmac).Lines},
		{File: "sound-ed25519.jsonl", Title: "two batches", lines: soundChain(t, ed).Lines},
		{File: "sound-rotated.jsonl", Title: "a new key, announced under the old one", lines: rotated.Lines},
		{
			File: "sound-text.jsonl", Title: "a string with every kind of escape",
			lines: audit.NewChain(1).Add(startLine(hmac)).Add(text).Seal(hmac).Lines,
		},
		{
			File: "sound-fields.jsonl", Title: "receipts with every field",
			lines: audit.NewChain(1).Add(startLine(hmac)).Add(fullDecision()).Add(settlement(1)).Add(fullEvent()).Seal(hmac).Lines,
		},
	}
	all = append(all, vector{
		File: "sound-denials.jsonl", Title: "a denial, and two receipts that tell of several",
		lines: deniedChain(hmac, "", "").Lines,
	}, vector{
		File: "bad-denials-with-one-id.jsonl", Title: "two receipts of denials with one id",
		lines: audit.NewChain(1).Add(startLine(hmac)).Add(denials(1, "a")).Add(denials(2, "a")).Seal(hmac).Lines,
	})
	for _, m := range spoiltDenials(hmac) {
		all = append(all, vector{File: "bad-" + strings.ReplaceAll(m.name, " ", "-") + ".jsonl", Title: m.name, lines: m.do(nil)})
	}
	for _, m := range manipulations(t) {
		if strings.HasPrefix(m.name, "event") { // of the ledger, not of the chain
			continue
		}
		all = append(all, vector{
			File: "bad-" + strings.ReplaceAll(m.name, " ", "-") + ".jsonl", Title: m.name, Checkpoint: true,
			lines: m.do(slices.Clone(soundChain(t, hmac).Lines)),
		})
	}
	for i := range all {
		all[i].Findings = findingsOf(t, all[i])
	}
	return all
}

func findingsOf(t *testing.T, v vector) []vectorFinding {
	var checkpoints []audit.Checkpoint
	if v.Checkpoint {
		checkpoints = append(checkpoints, soundChain(t, signer(t, testHMACKey)).Checkpoint())
	}
	list := []vectorFinding{}
	for _, f := range verifyLines(t, v.lines, checkpoints...).Findings {
		list = append(list, vectorFinding{string(f.Kind), f.Line})
	}
	return list
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// TestVectors: the format is what the committed files say it is.
func TestVectors(t *testing.T) {
	hmac, ed := signer(t, testHMACKey), signer(t, testEd25519Key)
	files := map[string][]byte{
		"keys.json":    audit.NewKeys(hmac.Key(), ed.Key()).Encode(),
		"hmac.key":     []byte(testHMACKey),
		"ed25519.key":  []byte(testEd25519Key),
		"checkpoint":   []byte(soundChain(t, hmac).Checkpoint().String()),
		"vectors.json": indented(t, vectors(t)),
	}
	for _, v := range vectors(t) {
		files[v.File] = []byte(strings.Join(append(v.lines, ""), "\n"))
	}
	for name, want := range files {
		path := filepath.Join(vectorDir, name)
		if *update {
			writeFile(t, path, want)
			continue
		}
		if got := readFile(t, path); !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the code makes now: the format changed", path)
		}
	}
}

func TestVectorVerdicts(t *testing.T) {
	for _, v := range vectors(t) {
		if sound := strings.HasPrefix(v.File, "sound-"); sound != (len(v.Findings) == 0) {
			t.Errorf("%s: findings %v", v.File, v.Findings)
		}
	}
}

// TestIndependentVerifier holds the vectors against another implementation.
func TestIndependentVerifier(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	ed25519 := exec.Command(python, "-c", "import cryptography").Run() == nil
	for _, v := range vectors(t) {
		t.Run(v.File, func(t *testing.T) {
			t.Parallel()
			args := []string{
				"../docs/verify.py", "--keys", filepath.Join(vectorDir, "keys.json"),
				"--hmac-key", filepath.Join(vectorDir, "hmac.key"),
			}
			if v.Checkpoint {
				args = append(args, "--checkpoint", filepath.Join(vectorDir, "checkpoint"))
			}
			want := 0
			if len(v.Findings) > 0 {
				want = 1
			} else if !ed25519 && strings.Contains(v.lines[0], audit.AlgEd25519) {
				want = 2
			}
			out, err := exec.CommandContext(t.Context(), python, append(args, filepath.Join(vectorDir, v.File))...).CombinedOutput()
			if got := exitCode(t, err); got != want {
				t.Errorf("exit code %d, want %d:\n%s", got, want, out)
			}
		})
	}
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// TestIndependentVerifierReadsALog gives it what the log itself wrote.
func TestIndependentVerifierReadsALog(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	cfg := testConfig(t, t.TempDir())
	cfg.SegmentBytes = 2 << 10
	log := open(t, cfg)
	appendAll(t, log, decision(1), settlement(2), expiry(3))
	log.Close()
	keys := filepath.Join(cfg.Dir, "keys.json")
	writeFile(t, keys, []byte("[]\n"))
	out, err := exec.CommandContext(t.Context(), python, "../docs/verify.py", "--keys", keys,
		"--hmac-key", filepath.Join(vectorDir, "hmac.key"), cfg.Dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "3 of 3 receipts sealed") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestVectorDirHasNothingElse(t *testing.T) {
	known := map[string]bool{
		"keys.json": true, "hmac.key": true, "ed25519.key": true, "checkpoint": true, "vectors.json": true,
	}
	for _, v := range vectors(t) {
		known[v.File] = true
	}
	entries, err := os.ReadDir(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("%s is no vector: remove it", e.Name())
		}
	}
}

// TestFormatPageShowsARealLine keeps the page's example true.
func TestFormatPageShowsARealLine(t *testing.T) {
	page := string(readFile(t, "../docs/receipt-format.md"))
	line, err := audit.ParseLine(soundChain(t, signer(t, testEd25519Key)).Lines[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{soundChain(t, signer(t, testEd25519Key)).Lines[0], line.Hash.String()} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/receipt-format.md lacks %s", want)
		}
	}
}

// TestFormatPageNamesEveryField: no field of a line is undocumented.
func TestFormatPageNamesEveryField(t *testing.T) {
	page := string(readFile(t, "../docs/receipt-format.md"))
	for _, body := range fullBodies() {
		var line any
		if err := json.Unmarshal([]byte(mustLine(t, body)), &line); err != nil {
			t.Fatal(err)
		}
		for _, name := range fieldNames(line) {
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/receipt-format.md does not name %s of %T", name, body)
			}
		}
	}
}

// TestFormatPageNamesEveryWord: no value that a field can have is undocumented.
func TestFormatPageNamesEveryWord(t *testing.T) {
	page := string(readFile(t, "../docs/receipt-format.md"))
	for _, word := range audit.Words() {
		if !strings.Contains(page, "`"+word+"`") {
			t.Errorf("docs/receipt-format.md does not name the value %s", word)
		}
	}
}

func fieldNames(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			names = append(append(names, name), fieldNames(inner)...)
		}
	case []any:
		for _, inner := range v {
			names = append(names, fieldNames(inner)...)
		}
	}
	return names
}

// TestDocsHaveEveryUnit: the page and the independent verifier know the units of the table.
func TestDocsHaveEveryUnit(t *testing.T) {
	page, script := string(readFile(t, "../docs/receipt-format.md")), string(readFile(t, "../docs/verify.py"))
	var names []string
	for u := range call.Units {
		names = append(names, u.String())
		if !strings.Contains(page, "`"+u.String()+"`") {
			t.Errorf("docs/receipt-format.md does not name %s", u)
		}
	}
	_, script, _ = strings.Cut(script, "UNITS = (")
	script, _, _ = strings.Cut(script, ").split()")
	if got := strings.Fields(strings.ReplaceAll(script, `"`, " ")); !slices.Equal(got, names) {
		t.Errorf("docs/verify.py has the units %v, want %v", got, names)
	}
}
