package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// stackConfig is what serve, run and demo build a proxy from.
type stackConfig struct {
	PolicyPath string
	PricesPath string // "": the built-in table
	Factor     int64  // by which a price may change unconfirmed; 0: pricing.DefaultFactor
	DataDir    string
	SigningKey string // path; "": in DataDir
	Retiring   string // path of the key that SigningKey replaces; "": none
	LedgerURL  string // "": embedded
	AcceptWeak bool   // a Redis whose durability is not what it must be
	Replicas   int    // acknowledgements to wait for
	Missing    bool   // go on although receipts are missing
	BodyLimit  int64  // bytes; 0: proxy.DefaultBodyLimit
	BodyMemory int64  // bytes; 0: as proxy.Config has it
	LedgerTLS  ledgerTLS
	Logger     *slog.Logger
	Tally      *tally // also told of every charge and denial; nil: none
}

// stack is a running proxy with everything behind it.
type stack struct {
	proxy     *proxy.Proxy
	gate      *gate.Gate
	ledger    gate.Ledger
	log       *audit.Log
	source    *policy.Source
	prices    *pricing.Source // nil: the built-in table
	authority *gate.Authority // nil: the signing key is a secret
	watch     *admin.Watch
	metrics   *admin.Metrics
	logger    *slog.Logger
	draining  atomic.Bool
}

// openStack opens what a proxy needs, in the order in which each depends on
// the one before, and recovers what an earlier process left.
func openStack(ctx context.Context, c stackConfig) (*stack, error) {
	s := &stack{logger: c.Logger, metrics: admin.NewMetrics()}
	if err := s.open(ctx, c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stack) open(ctx context.Context, c stackConfig) (err error) {
	if s.source, err = policy.Watch(ctx, c.PolicyPath, nil, s.reloadFailed); err != nil {
		return explainMissing(err)
	}
	if c.PricesPath != "" {
		if s.prices, err = pricing.Watch(c.PricesPath, cmp.Or(c.Factor, pricing.DefaultFactor), s.pricesFailed); err != nil {
			return fmt.Errorf("%w: write it with aegis-proxy prices update", err)
		}
		s.metrics.Prices(s.prices.Refused)
	}
	keys, err := loadKeys(c) // before anything is made
	if err != nil {
		return err
	}
	if s.ledger, err = openLedger(ctx, c); err != nil {
		return err
	}
	if clock, ok := s.ledger.(interface{ Ahead() time.Duration }); ok {
		s.metrics.Clock(clock.Ahead)
	}
	if s.log, err = s.openLog(c, keys, s.source.Current()); err != nil {
		return err
	}
	s.authority = keys.authority()
	outbox, err := gate.OpenOutbox(filepath.Join(c.DataDir, outboxDir), c.Logger)
	if err != nil {
		return err
	}
	if s.gate, err = s.openGate(ctx, c, outbox); err != nil {
		return err
	}
	s.watch = admin.StartWatch(s.look)
	s.proxy = proxy.New(proxy.Config{
		Gate: s.gate, Dialects: dialects.All(), Rules: s.gate.Rules, Logger: c.Logger, Metrics: s.metrics, BodyLimit: c.BodyLimit, BodyMemory: c.BodyMemory,
	})
	return nil
}

// look tries whether requests would be governed, or those of some tenants would.
func (s *stack) look(ctx context.Context) error {
	var partly error
	for _, err := range []error{s.ledger.Ready(ctx), s.gate.Serves()} {
		if err != nil && !errors.Is(err, budget.ErrPartly) {
			return err
		}
		partly = errors.Join(partly, err)
	}
	return partly
}

// openGate hands ledger and log over to a gate, which closes them.
func (s *stack) openGate(ctx context.Context, c stackConfig, outbox *gate.Outbox) (*gate.Gate, error) {
	var prices gate.Tables = pricing.Builtin()
	if s.prices != nil {
		prices = s.prices
	}
	var telemetry gate.Telemetry = s.metrics
	if c.Tally != nil {
		c.Tally.Telemetry, telemetry = telemetry, c.Tally
	}
	g, err := gate.Open(ctx, gate.Config{
		Policy: s.source, Prices: prices, Ledger: s.ledger, Log: s.log, Outbox: outbox, Authority: s.authority,
		Telemetry: telemetry, Logger: s.logger, AcceptMissing: c.Missing,
	})
	if err != nil {
		s.ledger, s.log = nil, nil
	}
	if errors.Is(err, audit.ErrMissing) {
		err = explainGone(err)
	}
	return g, err
}

// openLog opens the receipt log with the signing key.
func (s *stack) openLog(c stackConfig, keys signingKeys, p *policy.Policy) (*audit.Log, error) {
	config := audit.Config{
		Dir:      filepath.Join(c.DataDir, receiptsDir),
		Signer:   keys.current,
		Retiring: keys.retiring,
		Software: "aegis-proxy " + version,
	}
	if !p.Receipts.Sync {
		config.Sync = audit.SyncNever
	}
	if err := notGone(c, config.Dir); err != nil {
		return nil, err
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
func openLedger(ctx context.Context, c stackConfig) (gate.Ledger, error) {
	if c.LedgerURL != "" {
		return openRedis(ctx, c)
	}
	if c.Replicas > 0 {
		return nil, errors.New("--wait-replicas is for a shared ledger: name it with --ledger redis://..., or leave the flag out")
	}
	if c.LedgerTLS != (ledgerTLS{}) {
		return nil, errors.New("--ledger-ca, --ledger-cert and --ledger-key are for a shared ledger: name it with --ledger rediss://..., or leave them out")
	}
	dir := filepath.Join(c.DataDir, ledgerDir)
	if err := notLost(c.DataDir, dir); err != nil {
		return nil, err
	}
	l, err := embedded.Open(embedded.Config{Dir: dir, Log: c.Logger})
	if errors.Is(err, embedded.ErrLocked) {
		return nil, fmt.Errorf("%w: an aegis-proxy runs on --data %s already; end that one, or name another directory with --data", embedded.ErrLocked, c.DataDir)
	}
	if err != nil {
		return nil, err
	}
	return embedded.Leading{Ledger: l}, nil
}

// openRedis names a shared ledger. One that cannot be reached yet denies every
// request until it can; one that is not configured to keep a ledger is refused.
func openRedis(ctx context.Context, c stackConfig) (gate.Ledger, error) {
	secure, err := c.LedgerTLS.load()
	if err != nil {
		return nil, err
	}
	l, err := redis.Dial(redis.Config{
		URL: c.LedgerURL, TLS: secure, AcceptDurability: c.AcceptWeak, WaitReplicas: c.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("--ledger: %w", err)
	}
	err = l.Ready(ctx)
	switch {
	case errors.Is(err, redis.ErrConfig), errors.Is(err, redis.ErrUnfit):
		return nil, errors.Join(fmt.Errorf("--ledger: %w", err), l.Close())
	case c.Logger == nil:
	case errors.Is(err, budget.ErrPartly):
		c.Logger.Error("part of the ledger cannot be reached; requests of its tenants are denied until it can", "err", err)
	case err != nil:
		c.Logger.Error("ledger cannot be reached; every request is denied until it can", "err", err)
	}
	return l, nil
}

// reachable fails for a command that cannot wait until its ledger is there.
func reachable(ctx context.Context, l gate.Ledger) error {
	if err := l.Ready(ctx); err != nil && !errors.Is(err, budget.ErrPartly) {
		return fmt.Errorf("--ledger: %w; is it running, and is the URL right?", err)
	}
	return nil
}

// ranBefore reports whether a proxy has run on this data directory: it has made its
// outbox after all else.
func ranBefore(dataDir string) bool {
	outbox, err := os.Stat(filepath.Join(dataDir, outboxDir))
	return err == nil && outbox.IsDir()
}

// notGone refuses a directory without receipts where a proxy has written some, with
// either ledger.
func notGone(c stackConfig, dir string) error {
	if c.Missing || !ranBefore(c.DataDir) {
		return nil
	}
	if _, err := audit.Files(dir); err == nil {
		return nil
	}
	return explainGone(fmt.Errorf("the receipts in %s are gone although this proxy has run before", dir))
}

func explainGone(err error) error {
	return fmt.Errorf("%w; bring them back, or, if they are lost for good, start once with --accept-missing-receipts", err)
}

// notLost refuses a ledger that is gone while its receipts are there: lost
// state is not zero.
func notLost(dataDir, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || !ranBefore(dataDir) {
		return nil
	}
	return fmt.Errorf("%s is gone although this proxy has run before: restore it, or run aegis-proxy ledger rebuild --data %s", dir, dataDir)
}

func (s *stack) currentPolicy() *policy.Policy { return s.gate.Rules().Policy }

func (s *stack) reloadFailed(err error) {
	s.logger.Error("policy not loaded, the old one stays in force", "err", err)
}

func (s *stack) pricesFailed(err error) {
	s.logger.Error("price table not loaded, the old one stays in force", "err", err)
}

// close ends everything that was opened, the last first.
func (s *stack) close() error {
	if s.source != nil {
		s.source.Close()
	}
	if s.prices != nil {
		s.prices.Close()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	if s.watch != nil {
		s.watch.Close()
	}
	if s.gate != nil {
		return s.gate.Close()
	}
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	return errors.Join(errs...)
}
