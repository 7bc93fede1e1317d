package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

const proofDir = "testdata/proofs"

// proofVector is one entry of proofs.json: a proof file, and whether it holds
// against keys.json of the other vectors and, if set, the old checkpoint.
type proofVector struct {
	File  string `json:"file"`
	Title string `json:"title"`
	Old   string `json:"old,omitempty"`
	Holds bool   `json:"holds"`

	data []byte
}

// proofFiles are the log of the vectors, its checkpoints, and a list of roots.
func proofFiles(t *testing.T) map[string][]byte {
	chain := longChain(t, signer(t, testEd25519Key), 4)
	files := map[string][]byte{"log.jsonl": []byte(strings.Join(append(chain.Lines, ""), "\n"))}
	var roots strings.Builder
	for n := range chain.Lines {
		fmt.Fprintf(&roots, "%d %v\n", n+1, naiveRoot(chain.Lines[:n+1]))
	}
	files["roots.txt"] = []byte(roots.String())
	for _, batches := range []int{1, 2, 4} {
		c := longChain(t, signer(t, testEd25519Key), batches)
		_, signed := signedTree(t, c.Lines)
		files[fmt.Sprintf("checkpoint-%d", len(c.Lines))] = signed
	}
	forged := longChain(t, signer(t, testEd25519Key), 1).Add(expiry(2)).Seal(signer(t, testEd25519Key))
	_, signed := signedTree(t, forged.Lines)
	files["checkpoint-6-forged"] = signed
	return files
}

func proofVectors(t *testing.T) []proofVector {
	ed := signer(t, testEd25519Key)
	chain := longChain(t, ed, 4)
	tree, signed := signedTree(t, chain.Lines)
	first, last, third := proofOf(t, chain.Lines, 1), proofOf(t, chain.Lines, 10), proofOf(t, chain.Lines, 3)
	list := []proofVector{
		{File: "first.tlog-proof", Title: "line 1 of 10", Holds: true, data: first.Encode()},
		{File: "third.tlog-proof", Title: "line 3 of 10", Holds: true, data: third.Encode()},
		{File: "last.tlog-proof", Title: "line 10 of 10", Holds: true, data: last.Encode()},
		{File: "only.tlog-proof", Title: "line 2 of 2", Holds: true, data: proofOf(t, longChain(t, ed, 0).Lines, 2).Encode()},
	}
	for title, edit := range map[string]func(p *audit.Proof){
		"receipt altered": func(p *audit.Proof) { p.Line = strings.Replace(p.Line, "9000000", "1000000", 1) },
		"path altered":    func(p *audit.Proof) { p.Path = append(tlog.RecordProof{p.Path[1], p.Path[0]}, p.Path[2:]...) },
		"path too long":   func(p *audit.Proof) { p.Path = append(p.Path[:len(p.Path):len(p.Path)], p.Path[0]) },
		"another index":   func(p *audit.Proof) { p.Index = 4 },
		"size altered": func(p *audit.Proof) {
			p.Checkpoint = bytes.Replace(p.Checkpoint, []byte("\n10\n"), []byte("\n11\n"), 1)
		},
		"foreign key": func(p *audit.Proof) {
			p.Checkpoint, _ = chain.Checkpoint().Sign(signer(t, otherEd25519Key))
		},
		"not signed": func(p *audit.Proof) { p.Checkpoint = []byte(chain.Checkpoint().String()) },
	} {
		p := third
		edit(&p)
		name := "bad-" + strings.ReplaceAll(title, " ", "-") + ".tlog-proof"
		list = append(list, proofVector{File: name, Title: title, data: p.Encode()})
	}
	for _, size := range []int{4, 6, 10} {
		old := longChain(t, ed, (size-2)/2).Checkpoint()
		p, err := tree.ProveFrom(old, signed)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, proofVector{
			File: fmt.Sprintf("from-%d", size), Title: fmt.Sprintf("%d lines became 10", size),
			Old: fmt.Sprintf("checkpoint-%d", size), Holds: true, data: p.Encode(),
		})
	}
	return append(list, proofVector{
		File: "from-6", Title: "another log of 6 lines did not become this one", Old: "checkpoint-6-forged", data: list[len(list)-2].data,
	})
}

// TestProofVectors: proofs are what the committed files say they are.
func TestProofVectors(t *testing.T) {
	files, list := proofFiles(t), proofVectors(t)
	sortVectors(list)
	files["proofs.json"] = indented(t, list)
	for _, v := range list {
		files[v.File] = v.data
	}
	for name, want := range files {
		path := filepath.Join(proofDir, name)
		if *update {
			writeFile(t, path, want)
			continue
		}
		if got := readFile(t, path); !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the code makes now: the format changed", path)
		}
	}
	entries, err := os.ReadDir(proofDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()] == nil {
			t.Errorf("%s is no vector: remove it", e.Name())
		}
	}
}

func sortVectors(list []proofVector) {
	slices.SortFunc(list, func(a, b proofVector) int { return strings.Compare(a.File+a.Old, b.File+b.Old) })
}

func TestProofVectorVerdicts(t *testing.T) {
	keys := testKeys(t)
	for _, v := range proofVectors(t) {
		err := checkProof(v.data, keys)
		if v.Old != "" {
			old, bad := audit.OpenCheckpoint(readFile(t, proofDir, v.Old), keys)
			if bad != nil {
				t.Fatal(bad)
			}
			err = checkConsistency(v.data, old, keys)
		}
		if (err == nil) != v.Holds {
			t.Errorf("%s: %v", v.Title, err)
		}
	}
}

// TestIndependentVerifierOfProofs holds the vectors against another
// implementation.
func TestIndependentVerifierOfProofs(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	good := 0
	if exec.Command(python, "-c", "import cryptography").Run() != nil {
		good = 2 // all is well, but for the signature that nobody looked at
	}
	for _, v := range proofVectors(t) {
		if good == 2 && v.Title == "size altered" {
			continue // only the signature tells
		}
		t.Run(v.Title, func(t *testing.T) {
			t.Parallel()
			args := []string{"../docs/verify.py", "--keys", filepath.Join(vectorDir, "keys.json"), "--proof", filepath.Join(proofDir, v.File)}
			if v.Old != "" {
				args = append(args, "--checkpoint", filepath.Join(proofDir, v.Old))
			}
			want := 1
			if v.Holds {
				want = good
			}
			out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput()
			if got := exitCode(t, err); got != want || bytes.Contains(out, []byte("Traceback")) {
				t.Errorf("exit code %d, want %d:\n%s", got, want, out)
			}
		})
	}
}

// TestIndependentVerifierReadsAnArchive: compressed segments, and a signed
// checkpoint.
func TestIndependentVerifierReadsAnArchive(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	if exec.Command(python, "-c", "import cryptography").Run() != nil {
		t.Skip("no cryptography")
	}
	cfg, _ := segmentedLog(t, 7)
	signed, err := openTree(t, cfg.Dir).SignCheckpoint(cfg.Signer)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	writeFile(t, checkpoint, signed)
	archive(t, cfg.Dir, cfg.Dir, 4)
	out, err := exec.CommandContext(t.Context(), python, "../docs/verify.py", "--keys", filepath.Join(vectorDir, "keys.json"),
		"--checkpoint", checkpoint, cfg.Dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "7 of 7 receipts sealed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFormatPageShowsRealProofs keeps the page's examples true.
func TestFormatPageShowsRealProofs(t *testing.T) {
	page := string(readFile(t, "../docs/receipt-format.md"))
	for _, name := range []string{"checkpoint-6", "from-6"} {
		if text := string(readFile(t, proofDir, name)); !strings.Contains(page, text) {
			t.Errorf("docs/receipt-format.md lacks %s:\n%s", name, text)
		}
	}
}
