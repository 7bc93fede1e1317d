package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

var update = flag.Bool("update", false, "write the page of differences anew")

// openaiPython is where scripts/tools.sh puts the SDK's tests, beside an environment for
// them; openaiPythonPage lists those that end otherwise through the proxy.
const (
	openaiPython     = "../../.tools/openai-python"
	openaiPythonPage = "../sdk/openai-python/README.md"
)

// openaiPythonTests are the tests of the operations that the proxy governs or answers, and
// of their neighbours.
var openaiPythonTests = []string{
	"audio/test_transcriptions.py", "audio/test_translations.py", "chat", "responses",
	"test_completions.py", "test_embeddings.py", "test_images.py", "test_models.py", "test_moderations.py", "test_responses.py",
}

// openaiPythonPolicy has the key that the tests have, and a price for whatever they name.
const openaiPythonPolicy = `generation: %d
free_upstream: sim
upstreams:
  - {name: sim, base_url: %s/v1, api_key_env: SIM_KEY, provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "model", upstreams: [sim], price: {input: "1", output: "2"}}
  - {match: "gpt-image-*", upstreams: [sim], price: {input: "1", output: "2", image_input: "1", image_output: "2"}}
  - {match: "whisper-1", upstreams: [sim], price: {audio_seconds_in: "0.0001"}}
  - {match: "*", upstreams: [sim], default_output_cap: 100, price: {input: "1", output: "2"}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "%s"}]
%s
`

// TestOpenAIPython runs the tests of OpenAI's own SDK for Python twice, as they come in its
// source distribution: against a mock of the API, and against it through the proxy. What
// ends otherwise is listed with its reason.
func TestOpenAIPython(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(openaiPython, "installed.txt")); err != nil {
		t.Fatalf("the SDK's tests are not there: %v; run scripts/tools.sh", err)
	}
	mock := httptest.NewServer(mockOpenAI())
	t.Cleanup(mock.Close)
	w := newWorld(t, simulator.Config{}, monthly(ample))
	hash := sha256.Sum256([]byte("My API Key")) // tests/conftest.py
	w.upstream.URL, w.layout, w.hash = mock.URL, openaiPythonPolicy, hex.EncodeToString(hash[:])
	w.writePolicy(1, monthly(ample))
	r := w.start("replica0")

	direct, proxied := runOpenAIPython(t, mock.URL), runOpenAIPython(t, r.url)
	for name, why := range direct {
		if why != "" {
			t.Errorf("without the proxy %s fails: %s", name, why)
		}
	}
	if len(direct) < leastOpenAIPython || !slices.Equal(slices.Sorted(maps.Keys(direct)), slices.Sorted(maps.Keys(proxied))) {
		t.Fatalf("%d tests ran without the proxy, %d with it", len(direct), len(proxied))
	}
	checkDifferences(t, len(direct), proxied)
	eventuallyAtRest(t, r)
	endsClean(t, r)
}

// openaiPythonLimit bounds one run of them all, which takes some seconds on a machine that
// has nothing else to do.
const openaiPythonLimit = 5 * time.Minute

// leastOpenAIPython is how many tests there are at least.
const leastOpenAIPython = 400

// runOpenAIPython runs the tests against a server, and returns why each has failed; "" if
// it has not.
func runOpenAIPython(t *testing.T, url string) map[string]string {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	ini, err := filepath.Abs("../sdk/openai-python/pytest.ini")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-c", ini, "--rootdir", ".", "--junit-xml", report}
	for _, file := range openaiPythonTests {
		args = append(args, filepath.Join("tests/api_resources", file))
	}
	ctx, cancel := context.WithTimeout(t.Context(), openaiPythonLimit)
	defer cancel()
	python, err := filepath.Abs(filepath.Join(openaiPython, "bin/python"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Dir = openaiPython
	cmd.Env = append(os.Environ(), "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1", "TEST_API_BASE_URL="+url+"/v1")
	out, runErr := cmd.CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v: %v\n%s", runErr, err, out)
	}
	return outcomes(t, text)
}

// outcomes reads a report in the form of JUnit.
func outcomes(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var report struct {
		Cases []struct {
			Class    string `xml:"classname,attr"`
			Name     string `xml:"name,attr"`
			Failures []struct {
				Message string `xml:"message,attr"`
			} `xml:",any"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, c := range report.Cases {
		name := strings.TrimPrefix(c.Class, "tests.api_resources.") + "." + c.Name
		byName[name] = ""
		for _, f := range c.Failures {
			byName[name] = f.Message
		}
	}
	return byName
}

// raised is how the SDK's errors print themselves.
var raised = regexp.MustCompile(`^openai\.(\w+): Error code: (\d+) - (aegis: .*)`)

// checkDifferences holds what failed through the proxy against the page. Tests are listed
// once for all clients that they are run with, which see the same.
func checkDifferences(t *testing.T, all int, proxied map[string]string) {
	t.Helper()
	rows := map[string]string{}
	failed := 0
	for name, why := range proxied {
		if why == "" {
			continue
		}
		failed++
		said := raised.FindStringSubmatch(why)
		if said == nil {
			t.Errorf("%s fails through the proxy, which did not deny it: %s", name, why)
			continue
		}
		test := strings.Replace(shared(name), ".Test", " Test", 1)
		row := fmt.Sprintf("| %s `%s` | %s |", said[2], said[1], strings.ReplaceAll(said[3], "|", `\|`))
		if rows[test] != "" && rows[test] != row {
			t.Errorf("%s is denied in two ways: %s and %s", test, rows[test], row)
		}
		rows[test] = row
	}
	for name, why := range proxied {
		if why == "" && rows[strings.Replace(shared(name), ".Test", " Test", 1)] != "" {
			t.Errorf("%s passes with some clients, and fails with others", name)
		}
	}
	table := fmt.Sprintf("Of %d tests %d end alike. The others are denied, as the proxy means to:\n\n| status and error | message | tests |\n|---|---|---|\n", all, all-failed)
	tests := map[string][]string{}
	for _, test := range slices.Sorted(maps.Keys(rows)) {
		tests[rows[test]] = append(tests[rows[test]], "`"+test+"`")
	}
	for _, row := range slices.Sorted(maps.Keys(tests)) {
		table += row + " " + strings.Join(tests[row], ", ") + " |\n"
	}
	comparePage(t, table)
}

// shared is a test's name for all of the clients that it is run with.
func shared(name string) string {
	name, _, _ = strings.Cut(name, "[")
	return strings.Replace(name, ".TestAsync", ".Test", 1)
}

// wordless are the rows of the page's table without their messages: which tests are denied,
// and how.
func wordless(page string) string {
	var rows []string
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, " | "); len(cells) > 2 {
			line = cells[0] + " | " + cells[len(cells)-1]
		}
		rows = append(rows, line)
	}
	slices.Sort(rows)
	return strings.Join(rows, "")
}

// comparePage holds what the page has between its marks against what it should have.
func comparePage(t *testing.T, want string) {
	t.Helper()
	const begin, end = "<!-- differences: go test ./test/e2e -run TestOpenAIPython -update -->\n\n", "\n<!-- end of differences -->"
	page, err := os.ReadFile(openaiPythonPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(page), begin)
	got, tail, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has no place for the differences", openaiPythonPage)
	case got == want:
	case !*update && wordless(got) == wordless(want): // a message was put in other words
		t.Logf("%s has messages as they were; run this test with -update", openaiPythonPage)
	case !*update:
		t.Errorf("%s is not of today; run this test with -update. It should say:\n%s", openaiPythonPage, want)
	default:
		if err := os.WriteFile(openaiPythonPage, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
