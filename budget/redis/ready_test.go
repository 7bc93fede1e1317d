package redis_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestReadySaysWhyNot: where every grant would be refused, the ledger is not ready
// and says why, and it is ready again when that has passed.
func TestReadySaysWhyNot(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		config      redis.Config
		breakIt     func(*redistest.Server)
		mendIt      func(*redistest.Server)
		want        error
		says, hides string
	}{
		{name: "memory is full", want: budget.ErrUnavailable, says: "OOM",
			breakIt: func(s *redistest.Server) { s.SetConfig("maxmemory", "1") },
			mendIt:  func(s *redistest.Server) { s.SetConfig("maxmemory", "0") }},
		{name: "too few replicas for the server", want: budget.ErrUnavailable, says: "NOREPLICAS",
			breakIt: func(s *redistest.Server) { s.SetConfig("min-replicas-to-write", "1") },
			mendIt:  func(s *redistest.Server) { s.SetConfig("min-replicas-to-write", "0") }},
		{name: "it has become a replica", want: budget.ErrUnavailable, says: "READONLY",
			breakIt: func(s *redistest.Server) { s.Command("REPLICAOF 127.0.0.1 1") },
			mendIt:  func(s *redistest.Server) { s.Command("REPLICAOF NO ONE") }},
		{name: "a command in scripts is forbidden", want: redis.ErrUnfit, says: "ZADD", hides: "HSET",
			breakIt: func(s *redistest.Server) { s.Command("ACL SETUSER default -zadd") },
			mendIt:  func(s *redistest.Server) { s.Command("ACL SETUSER default +zadd") }},
		{name: "scripts are forbidden", want: redis.ErrUnfit, says: "evalsha",
			breakIt: func(s *redistest.Server) { s.Command("ACL SETUSER default -evalsha") },
			mendIt:  func(s *redistest.Server) { s.Command("ACL SETUSER default +evalsha") }},
		{name: "the keys are forbidden", want: redis.ErrUnfit, says: "key",
			breakIt: func(s *redistest.Server) { s.Command("ACL SETUSER default resetkeys ~other:*") },
			mendIt:  func(s *redistest.Server) { s.Command("ACL SETUSER default allkeys") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := redistest.Start(t)
			l := open(t, server.URL())
			row.breakIt(server)
			err := l.Ready(t.Context())
			wantError(t, err, row.want)
			if !strings.Contains(err.Error(), row.says) || row.hides != "" && strings.Contains(err.Error(), row.hides) {
				t.Errorf("it should say %q and not %q: %v", row.says, row.hides, err)
			}
			row.mendIt(server)
			if err := l.Ready(t.Context()); err != nil {
				t.Errorf("not ready after it has passed: %v", err)
			}
		})
	}
}

// TestReadyWaitsForReplicas: what a grant would wait for in vain.
func TestReadyWaitsForReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := dial(t, redis.Config{URL: server.URL(), WaitReplicas: 1, Timeout: 500 * time.Millisecond})
	err := l.Ready(t.Context())
	wantError(t, err, budget.ErrUnavailable)
	if !strings.Contains(err.Error(), "0 of 1") {
		t.Errorf("it does not say how many replicas there are: %v", err)
	}
	server.Command("ACL SETUSER default -wait")
	eventually(t, func() error {
		if err = l.Ready(t.Context()); errors.Is(err, redis.ErrUnfit) && strings.Contains(err.Error(), "wait") {
			return nil
		}
		return fmt.Errorf("it does not say that WAIT is forbidden: %w", err)
	})
}

// TestReadyWithOneMasterDead: ready in part, by name.
func TestReadyWithOneMasterDead(t *testing.T) {
	t.Parallel()
	cluster := failing(t, 0)
	l := open(t, cluster.URL())
	// What holds for every tenant must be read before one is provisioned.
	i := slices.IndexFunc(cluster.Masters, func(m *redistest.Server) bool { return !m.Owns("aegis:{*}:tenant") })
	dead := cluster.Masters[i]
	others := slices.Delete(slices.Clone(cluster.Masters), i, i+1)
	hit := tenantOn(t, dead)
	dead.Kill()
	wantPartly(t, l, dead.Addr())
	// One that is started meanwhile serves the tenants of the others, and those of
	// the dead one when it is back.
	late := dial(t, redis.Config{URL: cluster.URL()})
	wantPartly(t, late, dead.Addr())
	for _, other := range others {
		tenant := tenantOn(t, other)
		provision(t, late, tenant)
		mustReserve(t, late, reservation(tenant, "a", usd(1, 1)))
	}
	dead.Restart()
	eventually(t, func() error { return late.Provision(t.Context(), hit) })
	eventually(t, func() error { return late.Ready(t.Context()) })
}

func wantPartly(t testing.TB, l *redis.Ledger, address string) {
	t.Helper()
	eventually(t, func() error {
		err := l.Ready(t.Context())
		if errors.Is(err, budget.ErrPartly) && strings.Contains(err.Error(), address) {
			return nil
		}
		return fmt.Errorf("it does not say that %s alone is down: %w", address, err)
	})
}

// TestMasterThatIsNotConfigured: each is looked at before the first verb goes to
// it, and one that is not as it must be keeps no balance.
func TestMasterThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	bad, good := tenantOn(t, cluster.Masters[0]), tenantOn(t, cluster.Masters[1])
	provision(t, open(t, cluster.URL()), bad, good)
	cluster.Masters[0].SetConfig("appendonly", "no")
	l := dial(t, redis.Config{URL: cluster.URL()})
	mustReserve(t, l, reservation(good, "a", usd(1, 1)))
	_, err := l.Reserve(t.Context(), reservation(bad, "a", usd(1, 1)))
	wantError(t, err, redis.ErrConfig)
	wantError(t, err, budget.ErrUnreachable)
}

// TestReadyTriesEveryCommand that a script of ours calls.
func TestReadyTriesEveryCommand(t *testing.T) {
	used := make(map[string]bool)
	err := filepath.WalkDir("lua", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".lua" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`p?call\('([A-Z]+)'`).FindAllSubmatch(text, -1) {
			used[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("lua/ready.lua")
	if err != nil {
		t.Fatal(err)
	}
	var tried []string
	for _, match := range regexp.MustCompile(`\{ '([A-Z]+)'`).FindAllSubmatch(text, -1) {
		tried = append(tried, string(match[1]))
	}
	slices.Sort(tried)
	if want := slices.Sorted(maps.Keys(used)); !slices.Equal(tried, want) {
		t.Errorf("ready.lua tries\n%v, scripts call\n%v", tried, want)
	}
}

// TestTooOld: an older Redis cannot even compile a script with flags.
func TestTooOld(t *testing.T) {
	t.Parallel()
	l := dial(t, redis.Config{URL: "redis://" + startOld(t)})
	err := l.Ready(t.Context())
	wantError(t, err, redis.ErrUnfit)
	if !strings.Contains(err.Error(), "Redis 6.2.5") || !strings.Contains(err.Error(), "Redis 7") {
		t.Errorf("it does not say what it is and what it should be: %v", err)
	}
}

// startOld answers as Redis 6.2 does what Ready asks.
func startOld(t *testing.T) (address string) {
	t.Helper()
	const info = "# Server\r\nredis_version:6.2.5\r\n"
	answers := map[string]string{
		"evalsha": "-NOSCRIPT No matching script. Please use EVAL.\r\n",
		"eval":    "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n",
		"info":    fmt.Sprintf("$%d\r\n%s\r\n", len(info), info),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if !strings.HasPrefix(lines.Text(), "*") { // the head of a command
						continue
					}
					lines.Scan()
					lines.Scan()
					answer := answers[lines.Text()]
					if answer == "" {
						answer = "-ERR unknown command\r\n"
					}
					fmt.Fprint(conn, answer)
				}
			}()
		}
	}()
	return listener.Addr().String()
}
