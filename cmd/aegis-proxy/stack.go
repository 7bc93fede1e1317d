package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// stackConfig is what serve and demo build a proxy from.
type stackConfig struct {
	PolicyPath string
	DataDir    string
	SigningKey string // path; "": in DataDir
	Retiring   string // path of the key that SigningKey replaces; "": none
	LedgerURL  string // "": embedded
	AcceptWeak bool   // a Redis whose durability is not what it must be
	Replicas   int    // acknowledgements to wait for
	BodyLimit  int64  // bytes
	Logger     *slog.Logger
}

// ledger is all that a ledger is.
type ledger interface {
	budget.Ledger
	budget.Keeper
}

// stack is a running proxy with everything behind it.
type stack struct {
	proxy   *proxy.Proxy
	gate    *gate.Gate
	ledger  ledger
	log     *audit.Log
	source  *policy.Source
	metrics *admin.Metrics
	logger  *slog.Logger

	authority *gate.Authority // nil: the signing key is a secret

	rules    atomic.Pointer[gate.Rules]
	started  chan struct{} // closed once a reload can be taken in
	draining atomic.Bool
	stop     context.CancelFunc
	tasks    sync.WaitGroup
}

// openStack opens what a proxy needs, in the order in which each depends on
// the one before, and recovers what an earlier process left.
func openStack(ctx context.Context, c stackConfig) (*stack, error) {
	s := &stack{logger: c.Logger, metrics: admin.NewMetrics(), started: make(chan struct{})}
	if err := s.open(ctx, c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.start()
	return s, nil
}

func (s *stack) open(ctx context.Context, c stackConfig) (err error) {
	if s.source, err = policy.Watch(ctx, c.PolicyPath, s.reload, s.reloadFailed); err != nil {
		return explainMissing(err)
	}
	first := s.source.Current()
	if err := s.adopt(first); err != nil {
		return err
	}
	if s.ledger, err = openLedger(ctx, c); err != nil {
		return err
	}
	keys, err := loadKeys(c)
	if err != nil {
		return err
	}
	if s.log, err = s.openLog(c, keys, first); err != nil {
		return err
	}
	s.authority = keys.authority()
	if err := s.authorizes(first); err != nil {
		return err
	}
	outbox, err := gate.OpenOutbox(filepath.Join(c.DataDir, outboxDir), c.Logger)
	if err != nil {
		return err
	}
	s.gate = gate.New(gate.Config{
		Ledger: s.ledger, Log: s.log, Outbox: outbox, Authority: s.authority, Telemetry: s.metrics, Logger: c.Logger,
	})
	s.proxy = proxy.New(proxy.Config{
		Gate: s.gate, Rules: s.rules.Load, Logger: c.Logger, Metrics: s.metrics, BodyLimit: c.BodyLimit,
	})
	return s.recover(ctx, c)
}

// openLog opens the receipt log with the signing key. An embedded ledger is
// made durable before each of its writes.
func (s *stack) openLog(c stackConfig, keys signingKeys, p *policy.Policy) (*audit.Log, error) {
	config := audit.Config{
		Dir:      filepath.Join(c.DataDir, receiptsDir),
		Signer:   keys.current,
		Retiring: keys.retiring,
		Software: "aegis-proxy " + version,
	}
	if own, ok := s.ledger.(embedded.Leading); ok {
		config.Before = own.Flush
	}
	if !p.Receipts.Sync {
		config.Sync = audit.SyncNever
	}
	log, err := audit.Open(config)
	if err != nil {
		return nil, err
	}
	if cut := log.Opened(); cut.CutBytes > 0 {
		c.Logger.Warn("receipt log ended in a torn line, now kept beside it", "bytes", cut.CutBytes, "file", cut.CutFile)
	}
	return log, nil
}

// openLedger opens the ledger that the URL names.
func openLedger(ctx context.Context, c stackConfig) (ledger, error) {
	if c.LedgerURL != "" {
		return openRedis(ctx, c)
	}
	dir := filepath.Join(c.DataDir, ledgerDir)
	if err := notLost(c.DataDir, dir); err != nil {
		return nil, err
	}
	l, err := embedded.Open(embedded.Config{Dir: dir, Log: c.Logger})
	if err != nil {
		return nil, err
	}
	return embedded.Leading{Ledger: l}, nil
}

// openRedis names a shared ledger. One that cannot be reached yet denies every
// request until it can; one that is not configured to keep a ledger is refused.
func openRedis(ctx context.Context, c stackConfig) (ledger, error) {
	l, err := redis.Dial(redis.Config{
		URL: c.LedgerURL, AcceptDurability: c.AcceptWeak, WaitReplicas: c.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("--ledger: %w", err)
	}
	err = l.Ready(ctx)
	if errors.Is(err, redis.ErrConfig) {
		return nil, errors.Join(fmt.Errorf("--ledger: %w (--accept-weak-durability)", err), l.Close())
	}
	if err != nil && c.Logger != nil {
		c.Logger.Error("ledger cannot be reached; every request is denied until it can", "err", err)
	}
	return l, nil
}

// reachable fails for a command that cannot wait until its ledger is there.
func reachable(ctx context.Context, l ledger) error {
	if err := l.Ready(ctx); err != nil {
		return fmt.Errorf("--ledger: %w; is it running, and is the URL right?", err)
	}
	return nil
}

// notLost refuses a ledger that is gone while its receipts are there: lost
// state is not zero.
func notLost(dataDir, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	outbox, err := os.Stat(filepath.Join(dataDir, outboxDir))
	if err != nil || !outbox.IsDir() {
		return nil // this proxy never ran
	}
	return fmt.Errorf("%s is gone although this proxy has run before: restore it, or run aegis-proxy ledger rebuild --data %s", dir, dataDir)
}

// recover brings ledger and log to one state before the first request.
func (s *stack) recover(ctx context.Context, c stackConfig) error {
	for tenant, head := range s.log.Heads() {
		s.ledger.Remember(tenant, head.Epoch, head.Event)
	}
	if c.LedgerURL != "" {
		return nil // what another replica receipts cannot be known here
	}
	if err := s.ledger.Provision(ctx, s.tenants()...); err != nil {
		return err
	}
	journal, ok := s.ledger.(gate.Journal)
	if !ok {
		return nil
	}
	// First what the outbox knows of an ending: the ledger's own record of it
	// does not say what was used.
	s.gate.Deliver(ctx)
	return s.upkeep().Recover(ctx, journal, s.log)
}

// start runs what runs beside the requests.
func (s *stack) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.tasks.Go(func() { s.gate.Drain(ctx) })
	s.tasks.Go(func() { s.upkeep().Run(ctx) })
	s.tasks.Go(func() { s.gate.WatchSwitches(ctx, s.ledger) })
	close(s.started)
}

func (s *stack) upkeep() *gate.Upkeep {
	return &gate.Upkeep{
		Keeper: s.ledger, Ledger: s.ledger, Log: s.log,
		Tenants: s.tenants, Active: s.gate.Active, Logger: s.logger,
	}
}

func (s *stack) currentPolicy() *policy.Policy { return s.rules.Load().Policy }

func (s *stack) tenants() []string {
	list := s.rules.Load().Policy.Tenants
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.Name
	}
	return names
}

// adopt makes a policy the one that requests are decided by.
func (s *stack) adopt(p *policy.Policy) error {
	rules, err := gate.NewRules(p)
	if err != nil {
		return err
	}
	s.rules.Store(rules)
	s.metrics.Tenants(p.Tenants)
	return nil
}

// reload takes in a policy that the source has read.
func (s *stack) reload(p *policy.Policy) {
	<-s.started
	if err := s.authorizes(p); err != nil {
		s.reloadFailed(err)
		return
	}
	if err := s.adopt(p); err != nil {
		s.reloadFailed(err)
		return
	}
	if _, ok := s.ledger.(embedded.Leading); ok {
		if err := s.ledger.Provision(context.Background(), s.tenants()...); err != nil {
			s.logger.Error("tenants not provisioned", "err", err)
		}
	}
	s.logger.Info("policy loaded", "generation", p.Version.Generation, "tenants", len(p.Tenants))
}

func (s *stack) reloadFailed(err error) {
	s.logger.Error("policy not loaded, the old one stays in force", "err", err)
}

// lastSweepLimit bounds the receipts that are written at the very end.
const lastSweepLimit = 2 * time.Second

// lastSweep receipts what no request here was to receipt, so that the receipts
// of a stopped proxy lack nothing that its ledger knows: tenants with calls
// first, the others as far as there is time.
func (s *stack) lastSweep() {
	if s.gate == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSweepLimit)
	defer cancel()
	upkeep := s.upkeep()
	for _, tenant := range append(s.gate.Active(), s.tenants()...) {
		if err := upkeep.Sweep(ctx, tenant); err != nil {
			s.logger.Warn("last sweep", "tenant", tenant, "err", err)
			return
		}
	}
	// What holds for every tenant has no record before it was first thrown.
	if err := upkeep.Sweep(ctx, budget.EveryTenant); err != nil && !errors.Is(err, budget.ErrLost) {
		s.logger.Warn("last sweep", "tenant", budget.EveryTenant, "err", err)
	}
}

// close ends everything that was opened, the last first.
func (s *stack) close() error {
	if s.stop == nil {
		close(s.started) // a reload that waits must not keep the source open
		s.stop = func() {}
	}
	if s.source != nil {
		s.source.Close()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	s.stop()
	s.tasks.Wait()
	s.lastSweep()
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	return errors.Join(errs...)
}
