package e2e

import (
	"context"
	endian "encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// soakFor is how long each ledger is soaked: long enough here for some kills and
// leaps; "make soak" takes half an hour.
var soakFor = flag.Duration("soak", 15*time.Second, "how long to soak each ledger")

const (
	soakClients = 12
	soakHolds   = 20                     // that fit into the limit of a minute
	soakThink   = 30 * time.Millisecond  // a client waits for as long at most between two calls
	soakAbort   = 60 * time.Millisecond  // a client that gives up does so within
	killEvery   = 4 * time.Second        // at most, between two kills
	leapEvery   = 3 * time.Second        // at most, between two leaps of the clock
	lookEvery   = 200 * time.Millisecond // between two looks at the balances
	soakRest    = 2 * restLimit          // a leap may have to pass first
)

// leaps are how far the wall clock is off, in seconds: it goes ahead, and back.
var leaps = []int64{3600, -3600, 86_400, 90, -45, 7}

// TestSoak has clients that give up, a provider that fails, proxies that are killed
// and a wall clock that leaps, all at random, for as long as -soak says. At no time
// is more spent and held than the limit; in the end nothing is held, and no less is
// spent than the provider has billed.
func TestSoak(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		s := newSoak(t)
		s.environment = []string{"SKEW_FILE=" + s.skew.Name()}
		s.replicas = []*replica{s.start("replica0")}
		s.run()
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s := newSoak(t)
		_, s.replicas = s.onRedis(2, redistest.Variable("LD_PRELOAD", buildShim(t)), redistest.Variable("SKEW_FILE", s.skew.Name()))
		s.run()
	})
}

// soak is a world that is shaken.
type soak struct {
	*world
	random *rand.Rand // of the shaking
	seed   uint64
	skew   *os.File // has the seconds by which the ledger's wall clock is off
	served atomic.Int64
	kills  int
	leapt  int

	mu       sync.RWMutex // held while a replica is replaced
	replicas []*replica
}

func newSoak(t *testing.T) *soak {
	one := bound(t, request{cap: outputCap})
	s := &soak{seed: rand.Uint64()}
	t.Logf("seed %d", s.seed)
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	s.world = newWorld(t, simulator.Config{CountPrompt: exactPrompt, KeepCalls: -1, Script: s.answer}, fmt.Sprintf(`budgets:
  - {name: daily, window: forever, limit_usd: "9000"}
  - {name: short, window: minute, limit_usd: "%s"}`, usd(soakHolds*one)))
	s.program = buildSkewed(t)
	var err error
	if s.skew, err = os.Create(filepath.Join(s.dir, "skew")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.skew.Close() })
	s.leap(0)
	return s
}

// answer is what the provider does with a request: mostly what it should.
func (s *soak) answer(r *simulator.Request) simulator.Answer {
	random := rand.New(rand.NewPCG(s.seed, uint64(r.Number)))
	a := simulator.Answer{Latency: time.Duration(random.IntN(20)) * time.Millisecond, OutputTokens: random.Int64N(outputCap) + 1}
	switch random.IntN(20) {
	case 0:
		a.Fault = simulator.CloseMidStream
	case 1:
		a.Fault = simulator.CloseBeforeHeaders
	case 2:
		return simulator.Fail([]int{429, 500, 503, 529}[random.IntN(4)])
	case 3:
		a.NoUsage = true
	case 4:
		a.TokenDelay = 5 * time.Millisecond
	}
	return a
}

// leap puts the wall clock off by so many seconds.
func (s *soak) leap(seconds int64) {
	s.t.Helper()
	if _, err := s.skew.WriteAt(endian.NativeEndian.AppendUint64(nil, uint64(seconds)), 0); err != nil {
		s.t.Fatal(err)
	}
}

// run shakes, and looks whether all is well when it is over.
func (s *soak) run() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), *soakFor)
	defer cancel()
	var group sync.WaitGroup
	for i := range soakClients {
		group.Go(func() { s.ask(ctx, rand.New(rand.NewPCG(s.seed, uint64(1000+i)))) })
	}
	group.Go(func() { s.watch(ctx) })
	s.shake(ctx)
	group.Wait()
	s.leap(0)
	s.settled()
}

// ask makes calls, some of which it gives up.
func (s *soak) ask(ctx context.Context, random *rand.Rand) {
	client := newClient(s.t)
	for ctx.Err() == nil {
		call, cancel := ctx, context.CancelFunc(func() {})
		if random.IntN(8) == 0 {
			call, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(soakAbort))))
		}
		s.mu.RLock()
		r := s.replicas[random.IntN(len(s.replicas))]
		s.mu.RUnlock()
		resp, err := s.send(call, client, r, request{cap: outputCap, stream: random.IntN(2) == 0})
		cancel()
		if err == nil && resp.status == 200 {
			s.served.Add(1)
		}
		sleep(ctx, time.Duration(random.Int64N(int64(soakThink))))
	}
}

// sleep is a pause that ends with the context.
func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// shake kills replicas and has the clock leap until the context ends.
func (s *soak) shake(ctx context.Context) {
	kill, leap := s.soon(killEvery), s.soon(leapEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-kill:
			s.replace(s.random.IntN(len(s.replicas)))
			kill = s.soon(killEvery)
		case <-leap:
			seconds := int64(0)
			if s.random.IntN(2) == 0 {
				seconds = leaps[s.random.IntN(len(leaps))]
			}
			s.leap(seconds)
			s.leapt++
			leap = s.soon(leapEvery)
		}
	}
}

func (s *soak) soon(most time.Duration) <-chan time.Time {
	return time.After(time.Duration(s.random.Int64N(int64(most))))
}

// replace kills a replica and starts it again.
func (s *soak) replace(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replicas[i]
	r.kill()
	s.replicas[i] = s.start(filepath.Base(r.data), r.ledgerArgs()...)
	s.kills++
}

// watch looks again and again whether more is spent and held than the limit is.
func (s *soak) watch(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.RLock()
		all, err := s.replicas[0].tryBalances()
		s.mu.RUnlock()
		if err == nil {
			for name, b := range all {
				s.within(name, b)
			}
		}
		sleep(ctx, lookEvery)
	}
}

func (s *soak) within(name string, b balance) {
	used := new(big.Rat).Add(amountOf(s.t, b.Spent), amountOf(s.t, b.Held))
	if used.Cmp(amountOf(s.t, b.Limit)) > 0 {
		s.t.Errorf("%s: spent %s, held %s, with a limit of %s", name, b.Spent, b.Held, b.Limit)
	}
}

func amountOf(t testing.TB, text string) *big.Rat {
	amount, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Errorf("%q is no amount", text)
		return new(big.Rat)
	}
	return amount
}

// settled waits until nothing is held and every event has its receipt, and compares
// what is spent with the provider's books.
func (s *soak) settled() {
	s.t.Helper()
	s.await(simulator.Idle)
	eventually(s.t, soakRest, func() error {
		all, err := s.replicas[0].tryBalances()
		if err == nil && (all["daily"].Held != "0.00" || all["short"].Held != "0.00") {
			err = fmt.Errorf("held is %s, and %s of the minute", all["daily"].Held, all["short"].Held)
		}
		return err
	})
	reported := s.replicas[0].balances()["daily"].Spent
	spent := amountOf(s.t, reported)
	billed := new(big.Rat).SetFrac64(cost(s.t.(*testing.T), call.Usage{
		call.Input: s.sim.Totals().Billed.Prompt, call.Output: s.sim.Totals().Billed.Completion,
	}), 1e9)
	s.t.Logf("%d served, %d kills, %d leaps; spent %s, the provider billed %s", s.served.Load(), s.kills, s.leapt, spent.FloatString(9), billed.FloatString(9))
	if spent.Cmp(billed) < 0 || s.served.Load() == 0 {
		s.t.Errorf("spent %s, the provider billed %s", spent.FloatString(9), billed.FloatString(9))
	}
	awaitComplete(s.t, s.replicas)
	for _, r := range s.replicas {
		r.stop()
	}
	verifyAll(s.t, s.replicas)
	checkReported(s.t, s.replicas, reported)
	s.mustReplay(s.replicas)
}

// buildShim builds a library that shifts the clock of a program written in C by the
// seconds in the first eight bytes of SKEW_FILE.
func buildShim(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "shim.c"), filepath.Join(dir, "shim.so")
	err := os.WriteFile(source, []byte(strings.TrimSpace(shimSource)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatal(errors.Join(err, errors.New(string(out))))
	}
	return library
}

const shimSource = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long skew(void) {
	static int file = -1;
	long long seconds = 0;
	if (file < 0) file = open(getenv("SKEW_FILE"), O_RDONLY | O_CLOEXEC);
	return pread(file, &seconds, sizeof seconds, 0) == sizeof seconds ? seconds : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
	static int (*real)(struct timeval *, void *);
	if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
	int failed = real(now, zone);
	if (!failed && now) now->tv_sec += skew();
	return failed;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	static int (*real)(clockid_t, struct timespec *);
	if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
	int failed = real(clock, now);
	if (!failed && clock == CLOCK_REALTIME) now->tv_sec += skew();
	return failed;
}

time_t time(time_t *out) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out) *out = now.tv_sec;
	return now.tv_sec;
}
`
