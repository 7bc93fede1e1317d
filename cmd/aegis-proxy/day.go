package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// A budget over runs is kept by a proxy of its own, that of the day, in a directory of the
// user's: a ledger belongs to one process, and runs begin and end as they like. The first
// run starts it, in the background; it ends when no run is left. A run's own proxy goes
// through it.

const (
	dayDir    = "daily"
	dayTenant = "daily"
	dayBudget = "daily"
	// dayVariable tells a run inside of another one in which directory what it spends is
	// counted already.
	dayVariable = "AEGIS_DAILY_IN"
	// dayKeyFile has the key by which runs go through it, mode 0600.
	dayKeyFile = "key"
	// dayStateFile says where it listens, and for which keys and base URLs.
	dayStateFile = "state.json"
	// dayJoinFile is locked by who joins, dayRunsFile shared by the runs that go, and
	// dayLockFile locked by the day's proxy as long as it lives.
	dayJoinFile = "join.lock"
	dayRunsFile = "runs.lock"
	dayLockFile = "proxy.lock"
	// dayStartLimit bounds the wait for it to start, to end, or to take over a limit.
	dayStartLimit = 20 * time.Second
	// dayDrain is how long what is in flight may take to end once no run is left.
	dayDrain = 10 * time.Second
	// dayTick is how often it looks whether runs are left, and runs whether it is there.
	dayTick = 50 * time.Millisecond
)

// dayState is what a day's proxy tells the runs that come.
type dayState struct {
	URL    string `json:"url"`
	Admin  string `json:"admin"`
	Serves string `json:"serves"` // the fingerprint of its vendors
}

// day is the day's proxy, as a run has joined it.
type day struct {
	shared
	dir   string
	admin string
	runs  *os.File // locked as long as the run goes
}

// dayConfig is what a day's proxy is started with.
type dayConfig struct {
	dir    string
	prices string // price table file; "": the built-in table
}

// joinDay joins the day's proxy, and starts it if it does not run. The
// limit, in nano-USD, then holds for all runs that go through it.
func joinDay(ctx context.Context, c dayConfig, vendors []policy.Vendor, limit int64) (*day, error) {
	if os.Getenv(dayVariable) == c.dir {
		return nil, errors.New("--daily: this run is inside of another one with --daily, which counts what it spends already; leave --daily out, or name a directory of its own with --data")
	}
	ctx, cancel := context.WithTimeout(ctx, dayStartLimit)
	defer cancel()
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	joining, err := lockFile(ctx, filepath.Join(c.dir, dayJoinFile), lockAlone)
	if err != nil {
		return nil, err
	}
	defer joining.Close()
	if err := awaitOthers(ctx, c.dir, c.serves(vendors)); err != nil {
		return nil, err
	}
	d := &day{dir: c.dir}
	if d.runs, err = lockFile(ctx, filepath.Join(c.dir, dayRunsFile), lockShared); err != nil {
		return nil, err
	}
	if err := d.join(ctx, c, vendors, limit); err != nil {
		d.leave()
		return nil, err
	}
	return d, nil
}

// join finds the proxy, or starts it, and sees that the limit holds. Nobody else does
// that meanwhile, and it does not end.
func (d *day) join(ctx context.Context, c dayConfig, vendors []policy.Vendor, limit int64) (err error) {
	if d.key, err = writeDay(c.dir, vendors, limit); err != nil {
		return err
	}
	state, live, err := liveDay(c.dir)
	if err == nil && !live {
		state, err = startDay(ctx, c, c.serves(vendors))
	}
	if err != nil {
		return err
	}
	d.url, d.admin = state.URL, state.Admin
	return d.awaitLimit(ctx, limit)
}

// leave lets the day's proxy end, if no other run is left.
func (d *day) leave() { d.runs.Close() }

// dayRun is a run whose own proxy goes through that of the day.
type dayRun struct {
	governor
	day *day
}

func (r *dayRun) door() doorway {
	d := r.governor.door()
	d.day = r.day.dir
	return d
}

// end says what all runs have spent, too.
func (r *dayRun) end(ctx context.Context) (*statement, error) {
	defer r.day.leave()
	st, err := r.governor.end(ctx)
	spent, unknown := r.day.standing(context.WithoutCancel(ctx))
	if st != nil {
		st.Day = r.day.dir
	}
	if st != nil && unknown == nil {
		st.Budgets = append(st.Budgets, spent)
	}
	return st, errors.Join(err, unknown)
}

// serves is a fingerprint of the prices' file and of vendors: of their base URLs and keys.
func (c dayConfig) serves(vendors []policy.Vendor) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", c.prices)
	for _, v := range vendors {
		fmt.Fprintf(h, "%q %q %q %x\n", v.Name, v.BaseURL, v.KeyEnv, sha256.Sum256([]byte(os.Getenv(v.KeyEnv))))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// awaitOthers waits for a day's proxy with other keys to end, which it does if no run
// uses it any more.
func awaitOthers(ctx context.Context, dir, serves string) error {
	runs := filepath.Join(dir, dayRunsFile)
	for {
		state, live, err := liveDay(dir)
		if err != nil || !live || state.Serves == serves {
			return err
		}
		unused, err := canLock(runs, lockAlone)
		if err != nil {
			return err
		}
		// While it ends, the proxy has the file for itself; runs share it.
		if used, err := canLock(runs, lockShared); err != nil || used && !unused {
			return errors.Join(err, errors.New("--daily: another run goes, with other providers' keys, base URLs or prices than these; end it, or give this one a directory of its own with --data"))
		}
		if err := sleep(ctx, dayTick); err != nil {
			return fmt.Errorf("--daily: the proxy of earlier runs does not end: %w", err)
		}
	}
}

// liveDay is the day's proxy that runs in a directory.
func liveDay(dir string) (state dayState, live bool, err error) {
	free, err := canLock(filepath.Join(dir, dayLockFile), lockAlone)
	if err != nil || free {
		return state, false, err
	}
	text, err := os.ReadFile(filepath.Join(dir, dayStateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state, false, nil // it begins, or has ended
	}
	return state, err == nil, errors.Join(err, json.Unmarshal(text, &state))
}

// writeDay writes its policy if it is not that already, and what else it needs. It
// returns the runs' key.
func writeDay(dir string, vendors []policy.Vendor, limit int64) (key string, err error) {
	key, err = dayKey(dir)
	if err != nil {
		return "", err
	}
	starter := policy.Starter{
		Generation: 1, Tenant: dayTenant, KeyID: "runs", Hash: sha256.Sum256([]byte(key)), Vendors: vendors,
		Budgets: []policy.StarterBudget{{Why: "What all runs together may spend in a day.", Name: dayBudget, Window: "day", Limit: limit}},
	}
	path := filepath.Join(dir, runPolicyFile)
	old, err := policy.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, errors.Join(writeSigner(dir, audit.AlgEd25519), replaceFile(path, starter.Bytes()))
	case err != nil:
		return "", err
	}
	starter.Generation = old.Version.Generation
	if text, err := os.ReadFile(path); err != nil || bytes.Equal(text, starter.Bytes()) {
		return key, err
	}
	starter.Generation++
	return key, replaceFile(path, starter.Bytes())
}

// dayKey reads the runs' key, or makes it.
func dayKey(dir string) (string, error) {
	path := filepath.Join(dir, dayKeyFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		secret, _ := policy.NewSecret()
		return secret, os.WriteFile(path, []byte(secret+"\n"), 0o600)
	}
	return sharedKey(path)
}

// startDay starts the day's proxy in the background, where it outlives its terminal, and
// waits until it is ready.
func startDay(ctx context.Context, c dayConfig, serves string) (dayState, error) {
	log, err := os.OpenFile(filepath.Join(c.dir, runLogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return dayState{}, err
	}
	defer log.Close()
	if err := os.Remove(filepath.Join(c.dir, dayStateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dayState{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return dayState{}, err
	}
	cmd := exec.Command(program, "day", c.dir, serves, c.prices)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, c.dir
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return dayState{}, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for {
		if state, live, err := liveDay(c.dir); live || err != nil {
			return state, err
		}
		select {
		case <-ended:
			return dayState{}, fmt.Errorf("--daily: the proxy that keeps it has ended; %s says why", log.Name())
		case <-time.After(dayTick):
		case <-ctx.Done():
			return dayState{}, fmt.Errorf("--daily: the proxy that keeps it does not start; %s says why", log.Name())
		}
	}
}

// awaitLimit waits until the limit is in force, which a running proxy reads anew.
func (d *day) awaitLimit(ctx context.Context, limit int64) error {
	for {
		b, err := d.standing(ctx)
		if err == nil && b.Limit == limit {
			return nil
		}
		if pause := sleep(ctx, dayTick); pause != nil {
			return errors.Join(fmt.Errorf("--daily: the limit of %s did not come into force", policy.USD(limit)), err)
		}
	}
}

// standing is what was spent of the day's budget by all runs.
func (d *day) standing(ctx context.Context) (spentOf, error) {
	balances, err := askBudgets(ctx, d.admin, url.Values{"tenant": {dayTenant}})
	if err != nil {
		return spentOf{}, err
	}
	for _, b := range balances.Budgets {
		if b.Budget == dayBudget {
			return readStanding(b)
		}
	}
	return spentOf{}, errors.New("the proxy has no budget of that name")
}

// readStanding reads a budget's amounts as the operator's API writes them.
func readStanding(b admin.Budget) (spentOf, error) {
	list := []string{b.Spent, b.Held, b.Limit}
	var nano [3]int64
	for i, text := range list {
		var err error
		if nano[i], err = policy.ParseUSD(text); err != nil {
			return spentOf{}, err
		}
	}
	return spentOf{b.Budget, nano[0], nano[1], nano[2]}, nil
}

// newDay is the command that startDay starts. People have no use for it.
func newDay() *cobra.Command {
	return &cobra.Command{
		Use:    "day DIR SERVES PRICES",
		Short:  "Keep the budget of run --daily until no run is left",
		Hidden: true,
		Args:   cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keepDay(cmd.Context(), dayConfig{args[0], args[2]}, args[1])
		},
	}
}

// keepDay serves until no run is left.
func keepDay(ctx context.Context, d dayConfig, serves string) error {
	logger, err := newLogger(os.Stderr, "json", "info")
	if err != nil {
		return err
	}
	c := serveConfig{
		stackConfig: stackConfig{
			PolicyPath: filepath.Join(d.dir, runPolicyFile), DataDir: d.dir, PricesPath: d.prices, Logger: logger,
			BodyLimit: proxy.DefaultBodyLimit, BodyMemory: proxy.DefaultBodyMemory,
		},
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", DrainLimit: dayDrain,
		Ready: func(front, back net.Addr) error {
			state, err := json.Marshal(dayState{URL: "http://" + front.String(), Admin: "http://" + back.String(), Serves: serves})
			return errors.Join(err, replaceFile(filepath.Join(d.dir, dayStateFile), state))
		},
	}
	alive, err := lockFile(ctx, filepath.Join(d.dir, dayLockFile), lockAlone)
	if err != nil {
		return err
	}
	defer alive.Close()
	ctx, stop := context.WithCancel(ctx)
	last := make(chan *os.File, 1)
	go func() {
		f, _ := lockFile(ctx, filepath.Join(d.dir, dayRunsFile), lockAlone)
		stop()
		last <- f
	}()
	err = serve(ctx, c)
	stop()
	if f := <-last; f != nil {
		defer f.Close() // a run that comes waits until here
	}
	return err
}
