package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// runTenant is the tenant of the policies that run makes.
	runTenant = "run"
	// runKey is the id of its key.
	runKey = "run"
	// runBudget is the name of the budget of a run.
	runBudget = "run"
	// runPolicyFile and runLogFile are files of a session's directory.
	runPolicyFile = "policy.yaml"
	runLogFile    = "proxy.log"
	// lastCalls is how long calls in flight may take to end when their program has.
	lastCalls = 5 * time.Second
)

// session is a proxy on loopback that governs one run.
type session struct {
	dir   string // policy, ledger, receipts and log
	log   *os.File
	stack *stack
	front *house
	tally *tally
	place doorway
}

// sessionConfig says what a session is made of.
type sessionConfig struct {
	Dir     string // of its own, which is made
	Run     string // its name
	Prices  string // price table file; "": the built-in table
	Vendors []policy.Vendor
	Budgets []policy.StarterBudget
}

// openSession starts the proxy of a run.
func openSession(ctx context.Context, c sessionConfig) (s *session, err error) {
	s = &session{dir: c.Dir, tally: &tally{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	secret, hash := policy.NewSecret()
	starter := policy.Starter{
		Generation: 1, Tenant: runTenant, KeyID: runKey, Hash: hash, Vendors: c.Vendors, Budgets: c.Budgets,
	}
	config, err := s.write(&starter)
	if err != nil {
		return s, err
	}
	config.PricesPath = c.Prices
	if s.stack, err = openStack(ctx, config); err != nil {
		return s, err
	}
	if s.front, err = openHouse(s.stack.front()); err != nil {
		return s, err
	}
	s.place = doorway{root: s.front.url + "/run/" + c.Run, key: secret}
	return s, nil
}

// write makes the session's directory, as init makes that of serve.
func (s *session) write(starter *policy.Starter) (stackConfig, error) {
	c := stackConfig{PolicyPath: filepath.Join(s.dir, runPolicyFile), DataDir: s.dir, Tally: s.tally}
	if err := writeSigner(s.dir, audit.AlgEd25519); err != nil {
		return c, err
	}
	var err error
	if s.log, err = os.OpenFile(filepath.Join(s.dir, runLogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return c, err
	}
	c.Logger = newJSONLogger(s.log, slog.LevelInfo)
	return c, os.WriteFile(c.PolicyPath, starter.Bytes(), 0o600)
}

// door is where the run's program finds it.
func (s *session) door() doorway { return s.place }

// end lets what is in flight end, and closes the proxy. It says what was spent, also by
// the calls that it had to cut.
func (s *session) end(ctx context.Context) (*statement, error) {
	s.stack.drain(ctx, s.front.server, lastCalls)
	closed := s.front.close()
	s.stack.proxy.Close()
	st, err := s.statement(context.WithoutCancel(ctx))
	return st, errors.Join(closed, err, s.close())
}

// close ends everything that was opened.
func (s *session) close() error {
	var errs []error
	if s.front != nil {
		errs = append(errs, s.front.close())
	}
	if s.stack != nil {
		errs = append(errs, s.stack.close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}

// statement is what the run has spent, and what is left.
func (s *session) statement(ctx context.Context) (*statement, error) {
	st := &statement{Dir: s.dir}
	s.tally.tell(st)
	counters := s.stack.currentPolicy().Tenant(runTenant).Standings(policy.Scope{}, s.stack.ledger.Now())
	balances, err := s.stack.ledger.Balances(ctx, runTenant, policy.ClaimsOf(counters))
	if err != nil {
		return st, fmt.Errorf("what is left of the budget: %w", err)
	}
	for i, counter := range counters {
		seen := balances.Observed[i]
		st.Budgets = append(st.Budgets, spentOf{counter.Budgets[0].Name, seen.Spent, seen.Held, counter.Budgets[0].Limit})
	}
	return st, nil
}
