package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestTLS: a server and its clients prove to each other who they are; whoever cannot
// is told why.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := redistest.NewAuthority(t), redistest.NewAuthority(t)
	server, plain := redistest.Start(t, redistest.TLS(authority)), redistest.Start(t)
	known := authority.Config()
	nameless := &tls.Config{RootCAs: known.RootCAs}
	for _, url := range []string{server.URL(), strings.Replace(server.URL(), "rediss", "valkeys", 1)} {
		l := openWith(t, redis.Config{URL: url, TLS: known})
		tenant := "t-" + url[:strings.Index(url, ":")]
		provision(t, l, tenant)
		everyVerb(t, l, tenant)
	}
	for _, row := range []struct {
		name, url string
		config    *tls.Config
		says      string
	}{
		{"another authority", server.URL(), stranger.Config(), "x509: certificate signed by unknown authority"},
		{"the system's authorities", server.URL(), nil, "x509: certificate signed by unknown authority"},
		{"no certificate of the client", server.URL(), nameless, "certificate"},
		{"plain to a server with TLS", "redis://" + server.Addr(), nil, "rediss://"},
		{"TLS to a plain server", "rediss://" + plain.Addr(), known, "redis://"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := dial(t, redis.Config{URL: row.url, TLS: row.config}).Ready(t.Context())
			wantError(t, err, budget.ErrUnavailable)
			if !strings.Contains(err.Error(), row.says) {
				t.Errorf("it does not say %q: %v", row.says, err)
			}
		})
	}
}

// TestTLSOnACluster, whose nodes speak TLS with each other too.
func TestTLSOnACluster(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	cluster := redistest.StartCluster(t, 2, 0, redistest.TLS(authority), redistest.Setting("tls-cluster", "yes"))
	l := openWith(t, redis.Config{URL: strings.Replace(cluster.URL(), "redis://", "rediss://", 1), TLS: authority.Config()})
	for _, master := range cluster.Masters {
		tenant := tenantOn(t, master)
		provision(t, l, tenant)
		everyVerb(t, l, tenant)
	}
}

// TestTLSToSilence: a server that takes what a client says and waits for more, as a
// plain one can, is not waited for until the verb's own end.
func TestTLSToSilence(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l := dial(t, redis.Config{URL: "rediss://" + listener.Addr().String() + "?dial_timeout=50ms", Timeout: time.Minute})
	err = l.Ready(t.Context())
	wantError(t, err, budget.ErrUnavailable)
	if !strings.Contains(err.Error(), "no TLS handshake within 50ms") {
		t.Errorf("it does not say what is missing: %v", err)
	}
}

// TestSentinel: the master is found by its name, and so is the one that replaces it.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Start(t), redistest.Start(t, redistest.Setting("repl-diskless-sync-delay", "0"))
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	master.SetConfig("repl-diskless-sync-delay", "0")
	replica.Command("REPLICAOF " + host + " " + port)
	master.AwaitReplica()
	sentinel := redistest.StartSentinel(t, master)
	l := open(t, "redis+sentinel://127.0.0.1:1,"+sentinel.Addr()+"/"+redistest.Watched)
	provision(t, l, "t")
	everyVerb(t, l, "t")
	mustReserve(t, l, reservation("t", "before", usd(10, 100)))
	master.AwaitAcknowledged()

	master.Kill()
	replica.AwaitPromoted()
	eventually(t, func() error {
		_, err := l.Reserve(t.Context(), reservation("t", "after", usd(10, 100)))
		return err
	})
	eventually(t, func() error { return l.Ready(t.Context()) })
	wantBalance(t, l, "t", 12, 20)

	unknown := dial(t, redis.Config{URL: "valkey+sentinel://" + sentinel.Addr() + "/nobody"})
	wantError(t, unknown.Ready(t.Context()), budget.ErrUnreachable)
}

// TestSentinelNamesAnUnfitMaster: one that takes over is looked at before a verb goes to
// it, whether or not anybody asks if the ledger is ready.
func TestSentinelNamesAnUnfitMaster(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Start(t), redistest.Start(t, redistest.Setting("repl-diskless-sync-delay", "0"))
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	master.SetConfig("repl-diskless-sync-delay", "0")
	replica.Command("REPLICAOF " + host + " " + port)
	master.AwaitReplica()
	sentinel := redistest.StartSentinel(t, master)
	l := open(t, "redis+sentinel://"+sentinel.Addr()+"/"+redistest.Watched)
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "before", usd(10, 100)))
	master.AwaitAcknowledged()
	replica.SetConfig("maxmemory-policy", "allkeys-lru")

	master.Kill()
	replica.AwaitPromoted()
	reserve := func() error {
		_, err := l.Reserve(t.Context(), reservation("t", "after", usd(10, 100)))
		return err
	}
	eventually(t, func() error {
		err := reserve()
		if err == nil {
			t.Fatal("a master that evicts keys was granted from")
		}
		if !errors.Is(err, redis.ErrConfig) {
			return err
		}
		return nil
	})
	replica.SetConfig("maxmemory-policy", "noeviction")
	eventually(t, reserve)
	wantBalance(t, l, "t", 0, 20)
}

// TestSilentMaster: a node that takes connections and never answers costs its tenants a
// bounded time, and those of other masters nothing.
func TestSilentMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0, redistest.Setting("cluster-require-full-coverage", "no"), redistest.Setting("cluster-node-timeout", "60000"))
	l := openWith(t, redis.Config{URL: cluster.URL()})
	silent, served := tenantOn(t, cluster.Masters[0]), tenantOn(t, cluster.Masters[1])
	provision(t, l, silent, served)
	cluster.Masters[0].Freeze()
	defer cluster.Masters[0].Thaw()
	const callers = 50
	failed := make(chan error, callers)
	for i := range callers {
		go func() {
			_, err := l.Reserve(t.Context(), reservation(silent, fmt.Sprint("silent-", i), usd(1, 100)))
			failed <- err
		}()
	}
	for i := range callers {
		mustReserve(t, l, reservation(served, fmt.Sprint("served-", i), usd(1, 100)))
	}
	for range callers {
		wantError(t, <-failed, budget.ErrUnavailable)
	}
	late := dial(t, redis.Config{URL: cluster.URL()}) // it may ask the silent one first who has what
	eventually(t, func() error {
		_, err := late.Reserve(t.Context(), reservation(served, "late", usd(1, 100)))
		return err
	})
}

// TestBlackHole: behind a listener that takes connections and never answers nothing is
// waited for longer than a verb may take.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, url := range []string{"redis://" + listener.Addr().String(), "redis://" + listener.Addr().String() + "?cluster=true",
		"redis+sentinel://" + listener.Addr().String() + "/" + redistest.Watched} {
		l := dial(t, redis.Config{URL: url, Timeout: 300 * time.Millisecond})
		done := make(chan error)
		go func() {
			_, err := l.Reserve(context.Background(), reservation("t", "a", usd(1, 100)))
			done <- err
		}()
		select {
		case err := <-done:
			wantError(t, err, budget.ErrUnreachable)
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the verb does not end", url)
		}
	}
}

// acl is the rule in docs/configuration.md that begins so.
func acl(t *testing.T, begins string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(begins) + "[^`\n]*$").FindString(strings.ReplaceAll(string(text), "\\\n", ""))
	if rule == "" {
		t.Fatalf("the docs have no rule that begins %q", begins)
	}
	return strings.Fields(rule)
}

// TestSmallestACL: with what the docs say that a user needs everything works, on one
// server and on a cluster, and nothing was refused. Without any one command of those
// that scripts call, Ready names it.
func TestSmallestACL(t *testing.T) {
	t.Parallel()
	rule := acl(t, "ACL SETUSER aegis")
	server := redistest.Start(t)
	server.Command(strings.Join(rule, " "))
	as := func(s *redistest.Server) string { return strings.Replace(s.URL(), "://", "://aegis:SECRET@", 1) }
	l := open(t, as(server))
	provision(t, l, "t")
	everyVerb(t, l, "t")
	restoreOver(t, l, "restored")
	if log := open(t, server.URL()).Client().Do(t.Context(), "ACL", "LOG").Val(); fmt.Sprint(log) != "[]" {
		t.Errorf("refused: %v", log)
	}
	inScripts := regexp.MustCompile(`^\+(get|set|getrange|setrange|mget|mset|del|exists|persist|pexpire|pttl|h[a-z]+|z[a-z]+)$`)
	for _, word := range rule {
		if !inScripts.MatchString(word) {
			continue
		}
		command := word[1:]
		server.Command("ACL SETUSER aegis -" + command)
		err := l.Ready(t.Context())
		wantError(t, err, redis.ErrUnfit)
		if !strings.Contains(err.Error(), strings.ToUpper(command)+":") {
			t.Errorf("without %s it says: %v", command, err)
		}
		server.Command("ACL SETUSER aegis +" + command)
	}
}

// TestSmallestACLOfACluster, with replicas that are waited for.
func TestSmallestACLOfACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 1)
	for _, node := range cluster.Nodes() {
		node.Command(strings.Join(acl(t, "ACL SETUSER aegis"), " "))
		node.Command(strings.Join(acl(t, "ACL SETUSER aegis +cluster"), " "))
		node.Command(strings.Join(acl(t, "ACL SETUSER aegis +wait"), " "))
	}
	l := openWith(t, redis.Config{URL: strings.Replace(cluster.URL(), "://", "://aegis:SECRET@", 1), WaitReplicas: 1})
	for i, master := range cluster.Masters {
		tenant := tenantOn(t, master)
		provision(t, l, tenant)
		everyVerb(t, l, tenant)
		restoreOver(t, l, fmt.Sprintf("restored-%d", i))
		if log := open(t, master.URL()).Client().Do(t.Context(), "ACL", "LOG").Val(); fmt.Sprint(log) != "[]" {
			t.Errorf("refused: %v", log)
		}
	}
}
