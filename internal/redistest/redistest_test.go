package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

func client(t *testing.T, s *redistest.Server) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDataSurvivesKillAndRestart(t *testing.T) {
	for _, options := range [][]redistest.Option{nil, {redistest.UnixSocket()}} {
		s := redistest.Start(t, options...)
		c := client(t, s)
		if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		s.Restart()
		if got := c.Get(t.Context(), "k").Val(); got != "v" {
			t.Errorf("after a restart the key is %q", got)
		}
		s.WipeData()
		s.Restart()
		if n := c.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("after a wipe there are %d keys", n)
		}
	}
}

func TestOlderDataComesBack(t *testing.T) {
	s := redistest.Start(t)
	c := client(t, s)
	c.Set(t.Context(), "k", "old", 0)
	restore := s.SaveData()
	c.Set(t.Context(), "k", "new", 0)
	restore()
	s.Restart()
	if got := c.Get(t.Context(), "k").Val(); got != "old" {
		t.Errorf("the key is %q, want the older value", got)
	}
}

// TestCluster: what a cluster's nodes know of each other when it has started.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	if len(c.Masters) != 3 || len(c.Nodes()) != 6 {
		t.Fatalf("%d masters of %d nodes, want 3 of 6", len(c.Masters), len(c.Nodes()))
	}
	ids := make(map[string]bool)
	for _, node := range c.Nodes() {
		ids[node.NodeID()] = true
	}
	if len(ids) != 6 {
		t.Errorf("%d different nodes, want 6", len(ids))
	}
}
