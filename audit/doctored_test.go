package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// doctored is a log as somebody may hand it to a verifier.
type doctored struct {
	name       string
	paths      []string
	checkpoint string // file; "" without
}

// TestVerifiersAgree: the page's other verifier says of every doctored log what
// ours says.
func TestVerifiersAgree(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is not there, which runs docs/verify.py")
	}
	logs := slices.Concat(doctoredLines(t), doctoredFields(t), doctoredEvents(t), doctoredFiles(t))
	var args [][]string
	for _, log := range logs {
		one := []string{"--keys", filepath.Join(vectorDir, "keys.json"), "--hmac-key", filepath.Join(vectorDir, "hmac.key")}
		if log.checkpoint != "" {
			one = append(one, "--checkpoint", log.checkpoint)
		}
		args = append(args, append(one, log.paths...))
	}
	t.Logf("%d logs", len(logs))
	sound := 0
	for i, code := range runVerifyPy(t, python, args) {
		ours := verdictOn(t, logs[i])
		if ours == "" {
			sound++
		}
		if (code == 0) != (ours == "") {
			t.Errorf("%s: docs/verify.py exits with %d, ours finds %q", logs[i].name, code, ours)
		}
	}
	if sound == 0 || sound == len(logs) {
		t.Errorf("%d of %d logs are sound", sound, len(logs))
	}
}

// runVerifyPy runs the verifier on many logs in one process.
func runVerifyPy(t *testing.T, python string, args [][]string) (codes []int) {
	t.Helper()
	const driver = `import contextlib, io, json, sys
sys.path.insert(0, "../docs")
import verify
codes = []
for args in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codes.append(verify.main(args))
print(json.dumps(codes))`
	input, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-B", "-c", driver)
	var problem bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &problem
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &codes) != nil || len(codes) != len(args) {
		t.Fatalf("docs/verify.py: %v\n%s", err, &problem)
	}
	return codes
}

// verdictOn is what our verifier finds, "" for nothing.
func verdictOn(t *testing.T, log doctored) string {
	t.Helper()
	sources, err := audit.Files(log.paths...)
	if err != nil {
		return err.Error()
	}
	opts := audit.VerifyOptions{Keys: audit.NewKeys(signer(t, testHMACKey).Key(), signer(t, testEd25519Key).Key())}
	for _, path := range log.paths {
		opts.Prefixes = append(opts.Prefixes, audit.OpenPrefix(path))
	}
	if log.checkpoint != "" {
		opts.Checkpoints, opts.Unproven, err = audit.ParseCheckpointsToVerify(readFile(t, log.checkpoint), opts.Keys)
		if err != nil {
			return err.Error()
		}
	}
	report, err := audit.Verify(t.Context(), sources, opts)
	if err != nil {
		return err.Error()
	}
	if report.OK() {
		return ""
	}
	return fmt.Sprint(report.Findings, report.Unproven)
}

// doctoredLines are the manipulations of a whole log.
func doctoredLines(t *testing.T) (logs []doctored) {
	checkpoint := filepath.Join(vectorDir, "checkpoint")
	for _, m := range manipulations(t) {
		lines := m.do(slices.Clone(soundChain(t, signer(t, testHMACKey)).Lines))
		logs = append(logs, doctored{m.name, []string{writeSegments(t, lines)}, checkpoint})
	}
	return logs
}

// doctoredFields have one field of one body changed, and are sealed.
func doctoredFields(t *testing.T) (logs []doctored) {
	key := signer(t, testHMACKey)
	values := []any{"odd", "", "0", "5", "-5", "05", "9223372036854775808", 0, 5, -5, 1 << 53, 1.5, true, false, nil, []any{}, []any{"a"}, map[string]any{}}
	for _, body := range fullBodies()[:4] {
		line := mustLine(t, body)
		var whole struct {
			Body json.RawMessage
			Kind string
		}
		if err := json.Unmarshal([]byte(line), &whole); err != nil {
			t.Fatal(err)
		}
		for _, changed := range changedObjects(t, whole.Body, values) {
			chain := audit.NewChain(1).Add(startLine(key)).AddText(whole.Kind, changed).Seal(key)
			logs = append(logs, doctored{whole.Kind + " " + changed, []string{writeSegments(t, chain.Lines)}, ""})
		}
	}
	return logs
}

// changedObjects are an object with one field left out, one added, and each value
// put in the place of each field, at every depth.
func changedObjects(t *testing.T, object json.RawMessage, values []any) (list []string) {
	t.Helper()
	var top any
	read := func() any {
		d := json.NewDecoder(bytes.NewReader(object))
		d.UseNumber()
		top = nil
		if err := d.Decode(&top); err != nil {
			t.Fatal(err)
		}
		return top
	}
	keep := func() {
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if err := e.Encode(top); err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.TrimSpace(out.String()))
	}
	read()
	keep()
	for _, path := range pathsOf(read(), nil) {
		at := func(change func(m map[string]any, name string)) {
			m := follow(read(), path[:len(path)-1]).(map[string]any)
			change(m, path[len(path)-1].(string))
			keep()
		}
		at(func(m map[string]any, name string) { delete(m, name) })
		at(func(m map[string]any, name string) { m[name+"s"] = "x" })
		for _, v := range values {
			at(func(m map[string]any, name string) { m[name] = v })
		}
	}
	return list
}

// pathsOf lead to every member of every object.
func pathsOf(v any, path []any) (list [][]any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			here := append(slices.Clone(path), name)
			list = append(append(list, here), pathsOf(inner, here)...)
		}
	case []any:
		for i, inner := range v {
			list = append(list, pathsOf(inner, append(slices.Clone(path), i))...)
		}
	}
	return list
}

func follow(v any, path []any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v
}

// doctoredEvents have two receipts of one event, or of two.
func doctoredEvents(t *testing.T) (logs []doctored) {
	key := signer(t, testHMACKey)
	grant := audit.Decision{Verdict: audit.Allow, Lease: "l", Epoch: "e", Event: 3, Facts: call.Facts{Tenant: "acme"}}
	repeat, other := grant, grant
	repeat.Existing, other.Lease = true, "m"
	copied := audit.Event{Tenant: "acme", Epoch: "e", Event: 3, Name: "grant", Lease: "l", Recovered: true}
	settled := audit.Settlement{Tenant: "acme", Epoch: "e", Event: 3, Outcome: "settle", Lease: "l", Charge: 7}
	events := []audit.Body{grant, repeat, other, copied, settled}
	for _, change := range []func(*audit.Event){
		func(e *audit.Event) { e.Recovered = false }, func(e *audit.Event) { e.Lease = "m" }, func(e *audit.Event) { e.Epoch = "f" },
		func(e *audit.Event) { e.Name = "settle"; e.Amount = 7 }, func(e *audit.Event) { e.Name = "settle"; e.Amount = 8 },
		func(e *audit.Event) { e.Switch = "tenant" }, func(e *audit.Event) { e.Limits = []audit.Limit{{Key: "usd", Limit: 1}} },
		func(e *audit.Event) { e.Event = 4 }, func(e *audit.Event) { e.Tenant = "beta" },
	} {
		e := copied
		change(&e)
		events = append(events, e)
	}
	for i, a := range events {
		for j, b := range events {
			chain := audit.NewChain(1).Add(startLine(key)).Add(a).Add(b).Seal(key)
			logs = append(logs, doctored{fmt.Sprintf("events %d and %d", i, j), []string{writeSegments(t, chain.Lines)}, ""})
		}
	}
	return logs
}

// doctoredFiles are the files of a log as they may lie about.
func doctoredFiles(t *testing.T) (logs []doctored) {
	key := signer(t, testHMACKey)
	chain := longChain(t, key, 12)
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	writeFile(t, checkpoint, []byte(chain.Checkpoint().String()))
	empty := filepath.Join(t.TempDir(), "empty")
	writeFile(t, empty, nil)
	add := func(name string, with string, prepare func(log, archive string) []string) {
		log, archive := writeSegments(t, chain.Lines, 8, 14, 18), t.TempDir()
		openTree(t, log)
		logs = append(logs, doctored{name, prepare(log, archive), with})
	}
	move := func(from, to string, names ...string) {
		for _, name := range names {
			if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, with := range []string{"", checkpoint} {
		add("as it is", with, func(log, _ string) []string { return []string{log} })
		add("its archive after it", with, func(log, archive string) []string {
			move(log, archive, "000001.jsonl", "000002.jsonl")
			return []string{log, archive}
		})
		add("its archive before it", with, func(log, archive string) []string {
			move(log, archive, "000001.jsonl", "000002.jsonl")
			return []string{archive, log}
		})
		add("one in both", with, func(log, archive string) []string {
			copyFile(t, log, archive, "000002.jsonl")
			return []string{log, archive}
		})
		add("other lines twice", with, func(log, archive string) []string {
			copyFile(t, log, archive, "000003.jsonl", "000002.jsonl")
			return []string{log, archive}
		})
		add("first files gone", with, func(log, archive string) []string {
			move(log, archive, "000001.jsonl", "000002.jsonl")
			return []string{log}
		})
		add("the second file gone", with, func(log, archive string) []string {
			move(log, archive, "000002.jsonl")
			return []string{log}
		})
		add("an odd name", with, func(log, _ string) []string {
			copyFile(t, log, log, "000002.jsonl", "0000002.jsonl")
			return []string{log}
		})
		add("a gap in the names", with, func(log, _ string) []string {
			os.Rename(filepath.Join(log, "000004.jsonl"), filepath.Join(log, "000009.jsonl"))
			return []string{log}
		})
		add("an empty last file", with, func(log, _ string) []string {
			writeFile(t, filepath.Join(log, "000005.jsonl"), nil)
			return []string{log}
		})
		add("the last file cut to nothing", with, func(log, _ string) []string {
			writeFile(t, filepath.Join(log, "000004.jsonl"), nil)
			return []string{log}
		})
		for _, gone := range []bool{false, true} {
			for _, name := range []string{"000001.hashes", "000002.hashes"} {
				for i := range 8 {
					add(fmt.Sprintf("gone %v: hash %d of %s", gone, i, name), with, func(log, archive string) []string {
						if gone {
							move(log, archive, "000001.jsonl", "000002.jsonl")
						}
						path := filepath.Join(log, name)
						writeFile(t, path, rehash(readFile(t, path), i))
						return []string{log}
					})
				}
				add(fmt.Sprintf("gone %v: %s of another", gone, name), with, func(log, archive string) []string {
					if gone {
						move(log, archive, "000001.jsonl", "000002.jsonl")
					}
					copyFile(t, log, log, "000003.hashes", name)
					return []string{log}
				})
				add(fmt.Sprintf("gone %v: %s cut", gone, name), with, func(log, archive string) []string {
					if gone {
						move(log, archive, "000001.jsonl", "000002.jsonl")
					}
					text := readFile(t, log, name)
					writeFile(t, filepath.Join(log, name), text[:len(text)-1])
					return []string{log}
				})
			}
		}
	}
	add("an empty checkpoint", empty, func(log, _ string) []string { return []string{log} })
	add("a directory without receipts", "", func(_, archive string) []string { return []string{archive} })
	add("an empty file", "", func(_, archive string) []string {
		writeFile(t, filepath.Join(archive, "000001.jsonl"), nil)
		return []string{filepath.Join(archive, "000001.jsonl")}
	})
	add("an empty log beside a whole one", "", func(log, archive string) []string {
		writeFile(t, filepath.Join(archive, "000001.jsonl"), nil)
		return []string{log, archive}
	})
	return logs
}
