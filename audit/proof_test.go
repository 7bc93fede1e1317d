package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// signedTree is a log of the given lines, and its signed checkpoint.
func signedTree(t testing.TB, lines []string) (*audit.Tree, []byte) {
	t.Helper()
	tree := openTree(t, writeSegments(t, lines))
	signed, err := tree.SignCheckpoint(signer(t, testEd25519Key))
	if err != nil {
		t.Fatal(err)
	}
	return tree, signed
}

func proofOf(t testing.TB, lines []string, n int64) audit.Proof {
	t.Helper()
	tree, signed := signedTree(t, lines)
	p, err := tree.Prove(n, signed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkProof is what a stranger does with a proof file.
func checkProof(data []byte, keys audit.Keys) error {
	p, err := audit.ParseProof(data)
	if err != nil {
		return err
	}
	_, _, err = p.Verify(keys)
	return err
}

func checkConsistency(data []byte, old audit.Checkpoint, keys audit.Keys) error {
	p, err := audit.ParseConsistency(data)
	if err != nil {
		return err
	}
	_, err = p.Verify(old, keys)
	return err
}

func TestProofOfEveryLine(t *testing.T) {
	keys := testKeys(t)
	for _, batches := range []int{0, 1, 2, 5, 8} {
		chain := longChain(t, signer(t, testEd25519Key), batches)
		tree, signed := signedTree(t, chain.Lines)
		for i, line := range chain.Lines {
			made, err := tree.Prove(int64(i+1), signed)
			if err != nil {
				t.Fatal(err)
			}
			p, err := audit.ParseProof(made.Encode())
			if err != nil {
				t.Fatal(err)
			}
			r, c, err := p.Verify(keys)
			if err != nil || p.Line != line || r.N != int64(i+1) || c != chain.Checkpoint() {
				t.Errorf("line %d of %d: receipt %d of %v: %v", i+1, len(chain.Lines), r.N, c, err)
			}
		}
	}
}

// TestProofFailsWithAnyByteChanged: of the receipt, the path, the index, the
// checkpoint or its signature.
func TestProofFailsWithAnyByteChanged(t *testing.T) {
	keys := testKeys(t)
	whole := proofOf(t, longChain(t, signer(t, testEd25519Key), 5).Lines, 3).Encode()
	if err := checkProof(whole, keys); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, change := range []byte{1, 4, 0x20, 0x80} {
			bad := bytes.Clone(whole)
			bad[i] ^= change
			if checkProof(bad, keys) == nil {
				t.Errorf("byte %d changed from %q to %q, and the proof still holds", i, whole[i], bad[i])
			}
		}
		if checkProof(whole[:i], keys) == nil || checkProof(append(bytes.Clone(whole), whole[i]), keys) == nil {
			t.Errorf("cut or lengthened at byte %d, and the proof still holds", i)
		}
	}
}

func TestProofOfSomethingElse(t *testing.T) {
	ed := signer(t, testEd25519Key)
	chain := longChain(t, ed, 5)
	good := proofOf(t, chain.Lines, 3)
	other := audit.NewChain(2).Add(startLine(ed)).Seal(ed)
	_, otherSigned := signedTree(t, other.Lines)
	foreign, err := chain.Checkpoint().Sign(signer(t, otherEd25519Key))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		edit func(p *audit.Proof)
		want string
	}{
		"another line":             {func(p *audit.Proof) { p.Line = chain.Lines[3] }, "does not lead from this line"},
		"another place":            {func(p *audit.Proof) { p.Index++ }, "does not lead from this line"},
		"past the end":             {func(p *audit.Proof) { p.Index = 12 }, "line 13 of a log of 12"},
		"path cut":                 {func(p *audit.Proof) { p.Path = p.Path[1:] }, "does not lead from this line"},
		"another chain":            {func(p *audit.Proof) { p.Checkpoint = otherSigned }, "line 3 of a log of 2"},
		"a key that was not given": {func(p *audit.Proof) { p.Checkpoint = foreign }, "no signature by a key that was given"},
		"not signed":               {func(p *audit.Proof) { p.Checkpoint = []byte(chain.Checkpoint().String()) }, "malformed note"},
	} {
		p := good
		row.edit(&p)
		if err := checkProof(p.Encode(), testKeys(t)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

// TestProofOfALineThatIsNoReceipt: a log could sign a tree over anything, but
// what is no receipt of its chain is not taken for one.
func TestProofOfALineThatIsNoReceipt(t *testing.T) {
	ed := signer(t, testEd25519Key)
	own, stranger := longChain(t, ed, 1), audit.NewChain(2).Add(startLine(ed))
	for want, line := range map[string]string{"is not line 1 of chain": stranger.Lines[0], "is not a receipt": "x"} {
		forged := audit.Checkpoint{Chain: own.Checkpoint().Chain, N: 1, Root: naiveRoot([]string{line})}
		signed, err := forged.Sign(ed)
		if err != nil {
			t.Fatal(err)
		}
		p := audit.Proof{Line: line, Checkpoint: signed}
		if _, _, err := p.Verify(testKeys(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestEveryCheckpointExtendsEveryEarlierOne, by proof and by the lines.
func TestEveryCheckpointExtendsEveryEarlierOne(t *testing.T) {
	ed, keys := signer(t, testEd25519Key), testKeys(t)
	var earlier []audit.Checkpoint
	for batches := range 12 {
		chain := longChain(t, ed, batches)
		earlier = append(earlier, chain.Checkpoint())
		tree, signed := signedTree(t, chain.Lines)
		mustBeSound(t, verifyLines(t, chain.Lines, earlier...))
		for _, old := range earlier {
			p, err := tree.ProveFrom(old, signed)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkConsistency(p.Encode(), old, keys); err != nil {
				t.Errorf("from %d to %d lines: %v", old.N, len(chain.Lines), err)
			}
		}
	}
}

func TestConsistencyFailsWithAnyByteChanged(t *testing.T) {
	ed, keys := signer(t, testEd25519Key), testKeys(t)
	old := longChain(t, ed, 2).Checkpoint()
	tree, signed := signedTree(t, longChain(t, ed, 6).Lines)
	p, err := tree.ProveFrom(old, signed)
	if err != nil {
		t.Fatal(err)
	}
	whole := p.Encode()
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if checkConsistency(bad, old, keys) == nil {
			t.Errorf("byte %d changed from %q to %q, and the proof still holds", i, whole[i], bad[i])
		}
	}
	old.Root[7] ^= 1
	if err := checkConsistency(whole, old, keys); !errors.Is(err, audit.ErrForked) {
		t.Errorf("from another root: %v, want ErrForked", err)
	}
}

// TestRewrittenHistoryIsCaught: whoever holds the signing key can write any
// history and seal it well, but none that fits an old checkpoint.
func TestRewrittenHistoryIsCaught(t *testing.T) {
	ed, keys := signer(t, testEd25519Key), testKeys(t)
	rapid.Check(t, func(rt *rapid.T) {
		batches := rapid.IntRange(1, 12).Draw(rt, "batches")
		kept := rapid.IntRange(1, batches).Draw(rt, "kept")
		altered := rapid.IntRange(1, kept).Draw(rt, "altered")
		old := longChain(t, ed, kept).Checkpoint()
		forged := audit.NewChain(1).Add(startLine(ed)).Seal(ed)
		for i := range batches {
			body := settlement(int64(i + 1))
			if i+1 == altered {
				body.Charge--
			}
			forged.Add(body).Seal(ed)
		}
		mustBeSound(t, verifyLines(t, forged.Lines))
		report := verifyLines(t, forged.Lines, old)
		if got := kinds(report); got != "altered" || report.Findings[0].Line != old.N {
			rt.Fatalf("verify found %q", got)
		}
		tree := openTree(t, writeSegments(t, forged.Lines))
		signed, err := forged.Checkpoint().Sign(ed)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := tree.ProveFrom(old, signed); !errors.Is(err, audit.ErrForked) {
			rt.Fatalf("prove: %v, want ErrForked", err)
		}
		p, err := tree.ProveFrom(audit.Checkpoint{Chain: old.Chain, N: old.N, Root: naiveRoot(forged.Lines[:old.N])}, signed)
		if err != nil {
			rt.Fatal(err)
		}
		if err := checkConsistency(p.Encode(), old, keys); !errors.Is(err, audit.ErrForked) {
			rt.Fatalf("the forger's proof: %v, want ErrForked", err)
		}
	})
}

// TestCheckpointNamesTheLinesThatDiffer: those after the last checkpoint that
// still fits.
func TestCheckpointNamesTheLinesThatDiffer(t *testing.T) {
	ed := signer(t, testEd25519Key)
	forged := longChain(t, ed, 3).Add(expiry(4)).Seal(ed).Add(settlement(5)).Seal(ed)
	report := verifyLines(t, forged.Lines, longChain(t, ed, 5).Checkpoint(), longChain(t, ed, 2).Checkpoint())
	if kinds(report) != "altered" || !strings.HasPrefix(report.Findings[0].Reason, "lines 7 to 12 of the chain are not the ones of the checkpoint") {
		t.Errorf("%v", report.Findings)
	}
}

func TestLogNeverSignsTwoHistories(t *testing.T) {
	ed := signer(t, testEd25519Key)
	for name, row := range map[string]struct {
		lines []string
		want  string
	}{
		"shortened": {longChain(t, ed, 3).Lines, "the checkpoint has 12 lines, the log only 8"},
		"rewritten": {longChain(t, ed, 3).Add(expiry(4)).Seal(ed).Add(expiry(5)).Seal(ed).Lines, "lines 1 to 12 had the root"},
		"replaced":  {audit.NewChain(2).Add(startLine(ed)).Seal(ed).Lines, "the checkpoint is of chain"},
	} {
		dir := writeSegments(t, longChain(t, ed, 5).Lines)
		if _, err := openTree(t, dir).SignCheckpoint(ed); err != nil {
			t.Fatal(err)
		}
		other := writeSegments(t, row.lines)
		writeFile(t, filepath.Join(dir, "000001.jsonl"), readFile(t, other, "000001.jsonl"))
		_, err := openTree(t, dir).SignCheckpoint(ed)
		if !errors.Is(err, audit.ErrForked) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want ErrForked with %q", name, err, row.want)
		}
	}
}

func TestCheckpointIsSignedByTheKeyThatSeals(t *testing.T) {
	ed, hmac, other := signer(t, testEd25519Key), signer(t, testHMACKey), signer(t, otherEd25519Key)
	dir := writeSegments(t, longChain(t, hmac, 1).Lines)
	if _, err := openTree(t, dir).SignCheckpoint(hmac); !errors.Is(err, audit.ErrSecretKey) {
		t.Errorf("HMAC: %v, want ErrSecretKey", err)
	}
	if _, err := openTree(t, dir).SignCheckpoint(ed); err == nil || !strings.Contains(err.Error(), "not a valid seal by key") {
		t.Errorf("a log of HMAC, signed with Ed25519: %v", err)
	}
	dir = writeSegments(t, longChain(t, ed, 1).Lines)
	if _, err := openTree(t, dir).SignCheckpoint(other); err == nil || !strings.Contains(err.Error(), "not a valid seal by key") {
		t.Errorf("a foreign key: %v", err)
	}
	rotated := longChain(t, hmac, 1).Add(rotateTo(ed)).Seal(hmac).Add(startLine(ed)).Seal(ed)
	if _, err := openTree(t, writeSegments(t, rotated.Lines)).SignCheckpoint(ed); err != nil {
		t.Errorf("gone over to Ed25519: %v", err)
	}
}

// TestCheckpointIsASignedNote: other people's software opens it.
func TestCheckpointIsASignedNote(t *testing.T) {
	ed := signer(t, testEd25519Key)
	chain := longChain(t, ed, 2)
	_, signed := signedTree(t, chain.Lines)
	text, err := note.NewEd25519VerifierKey("aegis-proxy/"+chain.Checkpoint().Chain, ed.Key().Public)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil || n.Text != chain.Checkpoint().String() {
		t.Errorf("%+v: %v", n, err)
	}
}

// TestCheckpointsOneAfterTheOther: signed or not, of several logs, with the
// signatures of strangers.
func TestCheckpointsOneAfterTheOther(t *testing.T) {
	ed := signer(t, testEd25519Key)
	a, b := longChain(t, ed, 2).Checkpoint(), audit.NewChain(2).Add(startLine(ed)).Seal(ed).Checkpoint()
	signed, err := a.Sign(ed)
	if err != nil {
		t.Fatal(err)
	}
	witness, _, err := note.GenerateKey(bytes.NewReader(make([]byte, 64)), "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := note.NewSigner(witness)
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(&note.Note{Text: a.String(), UnverifiedSigs: sigsOf(t, signed)}, w)
	if err != nil {
		t.Fatal(err)
	}
	file := b.String() + string(signed) + b.String() + string(cosigned)
	list, err := audit.ParseCheckpoints([]byte(file), testKeys(t))
	if err != nil || len(list) != 4 || list[0] != b || list[1] != a || list[2] != b || list[3] != a {
		t.Errorf("%v: %v", list, err)
	}
	for name, bad := range map[string]string{
		"empty":       "",
		"other lines": "aegis-proxy\n1\nx\n",
		"no lines":    strings.Replace(b.String(), "\n2\n", "\n0\n", 1),
		"zero first":  strings.Replace(b.String(), "\n2\n", "\n02\n", 1),
		"cut":         b.String()[:60],
		"extension":   b.String() + "more\n",
		"altered":     strings.Replace(string(signed), "\n6\n", "\n8\n", 1),
		"foreign":     string(signed[:strings.Index(string(signed), "\n\n")+2]) + "\u2014 x AAAAAAAA\n",
		"too long":    string(signed) + strings.Repeat("\u2014 x AAAAAAAA\n", audit.MaxCheckpointBytes/16),
	} {
		if list, err := audit.ParseCheckpoints([]byte(bad), testKeys(t)); err == nil {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func sigsOf(t *testing.T, signed []byte) []note.Signature {
	t.Helper()
	_, err := note.Open(signed, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		t.Fatal(err)
	}
	return unverified.Note.UnverifiedSigs
}

func TestProveWhatIsNotThere(t *testing.T) {
	tree, signed := signedTree(t, longChain(t, signer(t, testEd25519Key), 2).Lines)
	for _, n := range []int64{-1, 0, 7, 1 << 60} {
		if _, err := tree.Prove(n, signed); err == nil || !strings.Contains(err.Error(), "has 6 sealed lines") {
			t.Errorf("line %d: %v", n, err)
		}
	}
	if _, err := audit.OpenTree(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no receipts") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := audit.OpenTree(filepath.Join(t.TempDir(), "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestProveALineThatChangedUnderItsHashes: a hash file is made once, so what
// happens to the segment later is not seen by the tree, but no proof is given.
func TestProveALineThatChangedUnderItsHashes(t *testing.T) {
	ed := signer(t, testEd25519Key)
	dir := writeSegments(t, longChain(t, ed, 4).Lines, 4)
	signed, err := openTree(t, dir).SignCheckpoint(ed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "000001.jsonl")
	writeFile(t, path, bytes.Replace(readFile(t, path), []byte("acme"), []byte("acne"), 1))
	if _, err := openTree(t, dir).Prove(3, signed); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	if _, err := openTree(t, dir).Prove(5, signed); err != nil {
		t.Errorf("a line of another segment: %v", err)
	}
}

func FuzzParseProof(f *testing.F) {
	keys := testKeys(f)
	genuine := proofOf(f, longChain(f, signer(f, testEd25519Key), 5).Lines, 3)
	f.Add(genuine.Encode())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra eA==\nindex 0\n\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := audit.ParseProof(data)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), data) {
			t.Errorf("%q is spelled anew as %q", data, p.Encode())
		}
		if _, _, err := p.Verify(keys); err == nil && p.Line != genuine.Line {
			t.Errorf("a forged proof of %q", p.Line)
		}
	})
}

func FuzzParseConsistency(f *testing.F) {
	ed, keys := signer(f, testEd25519Key), testKeys(f)
	old := longChain(f, ed, 2).Checkpoint()
	tree, signed := signedTree(f, longChain(f, ed, 6).Lines)
	p, err := tree.ProveFrom(old, signed)
	if err != nil {
		f.Fatal(err)
	}
	whole := p.Encode()
	f.Add(whole)
	f.Add([]byte("old 1\n\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := audit.ParseConsistency(data)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), data) {
			t.Errorf("%q is spelled anew as %q", data, p.Encode())
		}
		if _, err := p.Verify(old, keys); err == nil && !bytes.Equal(data, whole) && !bytes.HasPrefix(p.Checkpoint, signed) {
			t.Errorf("a forged proof %q", data)
		}
	})
}

func FuzzParseCheckpoints(f *testing.F) {
	ed := signer(f, testEd25519Key)
	c := longChain(f, ed, 2).Checkpoint()
	signed, err := c.Sign(ed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(c.String() + string(signed)))
	keys := testKeys(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := audit.ParseCheckpoints(data, keys)
		if err != nil {
			return
		}
		for _, c := range list {
			if c.Validate() != nil || !bytes.Contains(data, []byte(c.String())) {
				t.Errorf("%q read as %v", data, c)
			}
		}
	})
}

// FuzzOpenPrefix: a hash file is input too.
func FuzzOpenPrefix(f *testing.F) {
	chain := longChain(f, signer(f, testEd25519Key), 4)
	dir := writeSegments(f, chain.Lines, 4)
	openTree(f, dir)
	whole := readFile(f, dir, "000001.hashes")
	f.Add(whole)
	f.Add([]byte("{}\n\n"))
	scratch := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		writeFile(t, filepath.Join(scratch, "000001.hashes"), data)
		if p := audit.OpenPrefix(scratch); p.N() > 0 && p.N()*64 > int64(len(data)) {
			t.Errorf("%d lines in %d bytes", p.N(), len(data))
		}
	})
}
