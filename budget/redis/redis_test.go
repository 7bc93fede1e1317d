package redis_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestMain looks for goroutines that outlive their ledger. One of go-redis that dials
// a dead server sleeps for a second before it sees that nobody wants it any more.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func TestOpenDemandsDurability(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		setting string
		values  []string
		names   string // what the error must name, empty if none
	}{
		{"appendonly", []string{"no"}, `appendonly is "no"`},
		{"appendfsync", []string{"no"}, `appendfsync is "no"`},
		{"maxmemory-policy", []string{"allkeys-lru"}, `maxmemory-policy is "allkeys-lru"`},
		{"rename-command", []string{"CONFIG", "SECRET"}, "cannot be read"},
		{"appendfsync", []string{"everysec"}, ""},
	} {
		t.Run(row.setting+" "+strings.Join(row.values, " "), func(t *testing.T) {
			server := redistest.Start(t, redistest.Setting(row.setting, row.values...))
			l, err := redis.Open(t.Context(), redis.Config{URL: server.URL()})
			if row.names == "" {
				if err != nil {
					t.Fatal(err)
				}
				l.Close()
				return
			}
			wantError(t, err, redis.ErrConfig)
			if !strings.Contains(err.Error(), row.names) || !strings.Contains(err.Error(), "accept the risk with --accept-weak-durability") {
				t.Errorf("the error names neither setting nor flag: %v", err)
			}
			if !errors.Is(err, budget.ErrUnreachable) || strings.Contains(err.Error(), "cannot be reached") {
				t.Errorf("it was reached, and no verb was sent: %v", err)
			}
			accepted := openWith(t, redis.Config{URL: server.URL(), AcceptDurability: true})
			if err := accepted.Ready(t.Context()); err != nil {
				t.Errorf("not ready although accepted: %v", err)
			}
		})
	}
}

// TestReadyNoticesChangedSettings: the server is checked each time.
func TestReadyNoticesChangedSettings(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := open(t, server.URL())
	server.SetConfig("appendonly", "no")
	wantError(t, l.Ready(t.Context()), redis.ErrConfig)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t, redistest.UnixSocket()).URL())
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "a", usd(10, 10)))
	mustSettle(t, l, "t", "a", 10)
	wantBalance(t, l, "t", 10, 0)
}

func TestBadURLs(t *testing.T) {
	for _, url := range []string{"", "localhost:6379", "rediss://u:hunter2@h:1?skip_verify=true", "redis+sentinel://u:hunter2@h:1", "unix+sentinel://h/m", "sentinel://h:1/m", "http://localhost", "redis://h/notanumber",
		"redis://u:hunter2@h:1?no_such_option=1", "redis://u:hunter2@h 1"} {
		_, err := redis.Open(t.Context(), redis.Config{URL: url})
		wantError(t, err, budget.ErrInvalid)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error for %q shows the password", url)
		}
	}
}

// TestCluster runs every verb on a real cluster, whose nodes refuse scripts
// that touch another slot, by both ways of naming a cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	for i, url := range []string{cluster.URL(), cluster.Masters[0].URL() + "?cluster=true"} {
		l := open(t, url)
		suffix := string(rune('a' + i))
		tenants := []string{"one-" + suffix, "two-" + suffix, "three-" + suffix, "four-" + suffix}
		provision(t, l, tenants...)
		for _, tenant := range tenants {
			everyVerb(t, l, tenant)
		}
		restoreOver(t, l, "restored-"+suffix)
	}
}

// everyVerb uses every verb and every kind of window once.
func everyVerb(t *testing.T, l *redis.Ledger, tenant string) {
	t.Helper()
	now := l.Now().UnixMilli()
	claims := []budget.Claim{
		usd(10, 100),
		{Key: "usd/hour", Amount: 10, Limit: 100, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Fixed,
			Current: budget.Span{Start: now - 60_000, End: now + 60_000}, Next: budget.Span{Start: now + 60_000, End: now + 120_000}}},
		{Key: "rate", Amount: 1, Limit: 100, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Rolling, Length: time.Minute}},
		{Key: "run/a", Amount: 10, Limit: 100, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Idle, Length: time.Hour},
			Group: "runs", GroupMax: 2},
		{Key: "user/b", Amount: 1, Limit: 100, AtEnd: budget.Return, Window: budget.Window{Kind: budget.Rolling, Length: time.Hour},
			Group: "users", GroupMax: 2},
		toolCalls(),
		{Key: "tools", Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Forever}, Marks: []string{"a", "b"}},
	}
	lease := budget.LeaseRef{Tenant: tenant, Lease: "settled"}
	g := mustReserve(t, l, reservation(tenant, "settled", claims...))
	if _, err := l.Extend(t.Context(), extension(lease, 20, claims...)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Renew(t.Context(), lease, time.Minute); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, l, tenant, "settled", 12)
	mustReserve(t, l, reservation(tenant, "released", claims...))
	if _, err := l.Release(t.Context(), budget.LeaseRef{Tenant: tenant, Lease: "released"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Throw(t.Context(), tenant, "key:a"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Lift(t.Context(), tenant, "key:a", 0); err != nil {
		t.Fatal(err)
	}
	l.Acknowledge(tenant, g.Number)
	if _, err := l.Sweep(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	b, err := l.Balances(t.Context(), tenant, claims)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{12, 12, 1, 12, 0, 2, 2} {
		if o := b.Observed[i]; o.Spent != want || o.Held != 0 {
			t.Errorf("%s: spent %d and held %d, want %d and 0", claims[i].Key, o.Spent, o.Held, want)
		}
	}
}

// toolCalls is a claim with marks that is forgotten when unused.
func toolCalls() budget.Claim {
	return budget.Claim{Key: "run/tools", Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Idle, Length: time.Hour},
		Group: "runs", GroupMax: 2, Marks: []string{"a", "b"}}
}

// TestMarksLiveWithTheirCounter: without a time to live while a lease is open in
// it, which may last longer than its counter would.
func TestMarksLiveWithTheirCounter(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	life := func(key string) bool { return l.Client().PTTL(t.Context(), "aegis:{t}:"+key).Val() > 0 }
	mustReserve(t, l, reservation("t", "first", toolCalls()))
	mustSettle(t, l, "t", "first", 0)
	check := func(expires bool) {
		t.Helper()
		for _, key := range []string{"idle:run/tools", "marks:idle:run/tools"} {
			if life(key) != expires {
				t.Errorf("%s has a time to live: %v", key, !expires)
			}
		}
	}
	check(true)
	mustReserve(t, l, reservation("t", "second", toolCalls()))
	check(false)
	mustSettle(t, l, "t", "second", 0)
	check(true)
}

// TestMarksLiveAsLongAsTheirWindow, and not as long as what it has charged can be
// corrected: there may be 10,000 of them for each minute.
func TestMarksLiveAsLongAsTheirWindow(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	calls, start := toolCalls(), l.Now().Truncate(time.Hour).UnixMilli()
	end := start + 2*time.Hour.Milliseconds()
	calls.Window = budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: start, End: end}, Next: budget.Span{Start: end, End: end + 1}}
	mustReserve(t, l, reservation("t", "first", calls))
	mustSettle(t, l, "t", "first", 0)
	keys, err := l.Client().Keys(t.Context(), "aegis:{t}:marks:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	life := l.Client().PTTL(t.Context(), keys[0]).Val()
	if left := time.Duration(end-l.Now().UnixMilli()) * time.Millisecond; life < left || life > left+2*time.Hour {
		t.Errorf("%s lives for %v, its window for %v", keys[0], life, left)
	}
}

// TestKeys looks at every key that a tenant leaves behind: all carry its hash
// tag, and all that nobody needs any more have a time to live.
func TestKeys(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	everyVerb(t, l, "t")
	keys, err := l.Client().Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	stays := []string{"aegis:{t}:tenant", "aegis:{t}:events", "aegis:{t}:open", "aegis:{t}:kept", "aegis:{t}:digests", "aegis:{t}:forever:usd/tenant", "aegis:{t}:forever:tools", "aegis:{t}:marks:forever:tools"}
	kinds := make(map[string]bool)
	for _, key := range keys {
		name, ok := strings.CutPrefix(key, "aegis:{t}:")
		if !ok {
			t.Errorf("key %q is outside the tenant's hash tag", key)
		}
		kind, _, _ := strings.Cut(name, ":")
		kinds[kind] = true
		expires := l.Client().PTTL(t.Context(), key).Val() > 0
		if expires == slices.Contains(stays, key) {
			t.Errorf("key %q: has a time to live: %v", key, expires)
		}
	}
	for _, kind := range []string{"tenant", "events", "lease", "fixed", "idle", "forever", "rolling", "group", "marks", "kept", "open"} {
		if !kinds[kind] {
			t.Errorf("no key of kind %q among %q", kind, keys)
		}
	}
}

// TestScripts: which verbs run with memory full is a promise, and every script
// fits the server that it is for.
func TestConstantsAreFilledInWhereTheyAreWholeWords(t *testing.T) {
	const source = "local n = NEVER - NEVERS..A_NEVER + NEVER1 --(NEVER)\nNEVER"
	want := strings.NewReplacer("= NEVER", "= 9007199254740991", "(NEVER", "(9007199254740991", "\nNEVER", "\n9007199254740991").Replace(source)
	if got := redis.FillIn(source); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	needMemory := []string{"provision", "reserve", "extend", "restore"}
	for verb, source := range redis.Scripts() {
		flags, _, _ := strings.Cut(source, "\n")
		want := "#!lua flags=allow-oom"
		if slices.Contains(needMemory, verb) {
			want = "#!lua"
		}
		if flags != want {
			t.Errorf("%s begins with %q, want %q", verb, flags, want)
		}
		hash, err := l.Client().ScriptLoad(t.Context(), source).Result()
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
		if len(hash) != 2*sha1.Size {
			t.Errorf("%s: hash %q", verb, hash)
		}
	}
}

func TestWaitForReplicas(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Start(t), redistest.Start(t)
	l := dial(t, redis.Config{URL: master.URL(), WaitReplicas: 1, Timeout: 5 * time.Second})
	provision(t, l, "t")

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := l.Reserve(ctx, reservation("t", "alone", usd(10, 10)))
	wantError(t, err, budget.ErrUnavailable)
	unsafe, ok := errors.AsType[*budget.Unreplicated](err)
	if !ok || unsafe.Grant.Number == 0 || unsafe.Grant.Lease != "alone" || len(unsafe.Grant.Observed) != 1 {
		t.Errorf("it does not say what was granted: %+v", err)
	}
	if _, seen := l.Seen("t"); ok && seen != unsafe.Grant.Number {
		t.Errorf("event %d was granted, and %d is the last that was seen", unsafe.Grant.Number, seen)
	}
	_, err = l.Reserve(t.Context(), reservation("t", "too-much", usd(1, 10)))
	if _, denied := errors.AsType[*budget.Denied](err); !denied {
		t.Errorf("a denial grants nothing that could be lost: %v", err)
	}
	wantBalance(t, l, "t", 0, 10)
	if _, err := l.Release(t.Context(), budget.LeaseRef{Tenant: "t", Lease: "alone"}); err != nil {
		t.Fatal(err)
	}

	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica.Command("REPLICAOF " + host + " " + port)
	master.AwaitReplica()
	mustReserve(t, l, reservation("t", "both", usd(10, 10)))
	wantBalance(t, l, "t", 0, 10)
}

// TestLateDeadline: the deadline is told on the ledger's clock, never later
// than the context says.
func TestLateDeadline(t *testing.T) {
	t.Parallel()
	l := open(t, redistest.Start(t).URL())
	provision(t, l, "t")
	ahead := time.Now().Add(time.Hour)
	if err := l.SetClock(t.Context(), ahead, "t"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	told := l.Deadline(ctx, "t")
	if earliest, latest := ahead.UnixMilli(), ahead.Add(2*time.Second).UnixMilli(); told < earliest || told > latest {
		t.Errorf("the deadline is %d, want between %d and %d", told, earliest, latest)
	}
}
