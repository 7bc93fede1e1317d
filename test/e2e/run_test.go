package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// TestRunGovernsSDKs: programs of official SDKs, which read their base URL and key from
// the environment, go through the proxy of aegis-proxy run. The provider sees its own key,
// the program never does, and a budget that is spent is one request and one error.
func TestRunGovernsSDKs(t *testing.T) {
	clients := slices.DeleteFunc(append(slices.Clone(sdk.Clients), sdk.Messages), func(c sdk.Client) bool { return !c.Retries })
	for _, c := range clients {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Need(t)
			w := newWorld(t, simulator.Config{}, monthly(ample))
			under := func(budget string) sdk.Client {
				return c.Under(binary, "run", "--budget", budget, "--data", w.dir, "--")
			}
			base := w.upstream.URL + "/v1"
			if c.Name == sdk.Messages.Name {
				base = w.upstream.URL
			}
			for _, scenario := range []string{"chat", "stream"} {
				seen := under("1").Run(t, base, upstreamSecret, scenario)
				if !seen.OK || seen.Status != 200 || seen.Attempts != 1 || seen.Content != sdkAnswer || seen.Headers["x-aegis-decision"] != "allow" {
					t.Errorf("%s: saw %+v", scenario, seen)
				}
			}
			seen := under("0.000000001").Run(t, base, upstreamSecret, "chat")
			if seen.OK || seen.Status != 402 || seen.Attempts != 1 || !strings.Contains(seen.Error.Message, "spend limit reached") {
				t.Errorf("exhausted: saw %+v", seen)
			}
			if got := w.sim.Totals().Received; got != 2 {
				t.Errorf("the provider got %d requests, want 2", got)
			}
			if leaks := w.sim.Leaks("aegis-"); len(leaks) > 0 {
				t.Errorf("the provider saw the run's key: %v", leaks)
			}
			runs, err := filepath.Glob(filepath.Join(w.dir, "runs", "*"))
			if err != nil || len(runs) != 3 {
				t.Fatalf("directories of runs: %v %v", runs, err)
			}
			for _, dir := range runs {
				if out, err := aegis(t, "verify", dir); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
	}
}
