package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

const (
	// headerLimit bounds how long a client takes to send a request's header.
	headerLimit = 10 * time.Second
	// bodyReadLimit bounds how long it takes to send the whole request.
	bodyReadLimit = 2 * time.Minute
	// keepAliveLimit closes connections that nobody uses.
	keepAliveLimit = 2 * time.Minute
	// headerBytes bounds a request's header.
	headerBytes = 64 << 10
)

// serveConfig is what the flags of serve say.
type serveConfig struct {
	stackConfig
	Listen      string
	AdminListen string
	AdminToken  string
	AdminHosts  []string
	Connections int
	TLSCert     string
	TLSKey      string
	DrainLimit  time.Duration
	LogLevel    string
	LogFormat   string

	Ready func(front, back net.Addr) error // told when it listens; nil: nobody is
}

func newServe() *cobra.Command {
	var c serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			logger, err := newLogger(cmd.ErrOrStderr(), c.LogFormat, c.LogLevel)
			if err != nil {
				return err
			}
			c.Logger = logger
			return serve(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.PricesPath, "prices", "", "price table file, as prices update writes it; reloaded when it changes (default: the built-in table)")
	f.Int64Var(&c.Factor, "prices-factor", pricing.DefaultFactor, "how many times a price may be another's in a changed --prices without aegis-proxy prices confirm")
	f.StringVar(&c.PolicyPath, "policy", "policy.yaml", "policy file; reloaded when it changes and on SIGHUP")
	f.StringVar(&c.DataDir, "data", "aegis-data", "directory for ledger, receipts and signing key")
	f.StringVar(&c.Listen, "listen", ":8080", "address for applications")
	f.StringVar(&c.AdminListen, "admin-listen", "127.0.0.1:8081", "address for operators: health, metrics, balances, kill switches")
	f.StringVar(&c.AdminToken, "admin-token", "", "what changes on --admin-listen must bear; needed there off loopback. Better set as AEGIS_ADMIN_TOKEN")
	f.StringSliceVar(&c.AdminHosts, "admin-host", nil, "names with a dot by which --admin-listen is asked, as in aegis.internal; addresses and names without a dot always do")
	f.StringVar(&c.LedgerURL, "ledger", "", "redis://, rediss://, redis+sentinel:// or unix:// URL of a shared ledger (default: embedded, in --data)")
	c.LedgerTLS.flags(f)
	f.BoolVar(&c.AcceptWeak, "accept-weak-durability", false, "serve although Redis is not, or cannot be seen to be, configured to keep what it acknowledges")
	f.BoolVar(&c.Missing, "accept-missing-receipts", false, "serve although the receipts in --data are gone, or lack some that the embedded ledger knows to have been there: they are lost for good")
	f.IntVar(&c.Replicas, "wait-replicas", 0, "Redis replicas that must acknowledge a grant")
	f.StringVar(&c.SigningKey, "signing-key", "", "file of the key that signs receipts (default: signing-key in --data)")
	f.StringVar(&c.Retiring, "retiring-key", "", "file of the key that --signing-key replaces")
	f.StringVar(&c.TLSCert, "tls-cert", "", "certificate file; with --tls-key, serve HTTPS")
	f.StringVar(&c.TLSKey, "tls-key", "", "key file of --tls-cert")
	f.Int64Var(&c.BodyLimit, "body-limit", proxy.DefaultBodyLimit, "largest request body in bytes")
	f.Int64Var(&c.BodyMemory, "body-memory", proxy.DefaultBodyMemory, "bytes of memory for the request bodies that wait to be sent; a tenant has at most half")
	f.IntVar(&c.Connections, "max-connections", 0, "clients' connections at a time; where one more comes the one that is quiet for longest is closed. 0: half of the files that the process may have open, 16384 at most")
	f.DurationVar(&c.DrainLimit, "drain-limit", 30*time.Second, "how long requests in flight may take to finish at shutdown")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "auto", "text, json, or auto: text on a terminal")
	return cmd
}

// check refuses numbers and names that mean nothing.
func (c serveConfig) check() error {
	switch {
	case c.BodyLimit < 1:
		return refuseBelow("body-limit", c.BodyLimit, "1 byte")
	case c.BodyMemory < proxy.LeastBodyMemory(c.BodyLimit):
		return refuseBelow("body-memory", c.BodyMemory, fmt.Sprintf("%d bytes, four times --body-limit, so that one body of that size passes", proxy.LeastBodyMemory(c.BodyLimit)))
	case c.Factor < 1:
		return refuseBelow("prices-factor", c.Factor, "1, which has every change of a price confirmed")
	case c.Connections < 0:
		return refuseBelow("max-connections", c.Connections, "0, which leaves it to the number of files that the process may have open")
	case uint64(c.Connections) > openFiles():
		return fmt.Errorf("--max-connections %d: want at most %d, the files that the process may have open; raise that (ulimit -n), or give fewer",
			c.Connections, openFiles())
	case c.DrainLimit < 0:
		return refuseBelow("drain-limit", c.DrainLimit, "0s, which cuts requests in flight at once")
	case c.Replicas < 0:
		return refuseBelow("wait-replicas", c.Replicas, "0, which waits for none")
	}
	return checkHosts(c.AdminHosts)
}

// notInHost are the characters by which more was given than a host's name: a
// scheme, port, path, pattern or blank. No Host header would ever equal it.
const notInHost = "/:*@ \t"

// checkHosts refuses what --admin-listen can never be asked by.
func checkHosts(names []string) error {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, notInHost) || strings.HasSuffix(name, ".") {
			return fmt.Errorf("--admin-host %q: want a host's name alone, as in aegis.internal: no scheme, port, path or *, and no dot at its end", name)
		}
	}
	return nil
}

// connections is how many of clients may be open.
func (c serveConfig) connections() int {
	if c.Connections > 0 {
		return c.Connections
	}
	return connectionsWithin(openFiles())
}

// gcPercent lets the heap grow to four times what is live before it is
// collected. Little is live here: at Go's default of 100, collecting took a
// tenth of a busy proxy's CPU, and it is a third of that with 300, for 5 MB more at rest.
const gcPercent = 300

// relaxCollector sets gcPercent unless the environment says otherwise.
func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// restMemory is what the proxy may take beside bodies of requests before the
// collector works harder, in bytes: twice what a busy one was seen to take.
const restMemory = 256 << 20

// boundMemory has the collector keep the process below what the bodies of requests
// may take, and as much again for what they are read and copied with, unless the
// environment says otherwise.
func boundMemory(bodies int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2*bodies + restMemory)
	}
}

// warnOfKeys says at the start which upstreams have no key that can be read. It refuses
// none: a key is read anew for each request, and may come later.
func (s *stack) warnOfKeys() {
	upstreams := s.currentPolicy().Upstreams
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		if _, err := upstreams[name].Secret(); err != nil {
			s.logger.Warn("upstream has no key: every request to it fails", "upstream", name, "err", err)
		}
	}
}

// serve runs until the context ends or the process is told to stop, then
// drains.
func serve(ctx context.Context, c serveConfig) error {
	relaxCollector()
	boundMemory(c.BodyMemory)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := openStack(ctx, c.stackConfig)
	if err != nil {
		return adviseData(err, c.DataDir)
	}
	front, err := listen(c)
	if err != nil {
		return errors.Join(err, s.close())
	}
	back, err := listenAt("admin-listen", c.AdminListen)
	if err != nil {
		return errors.Join(err, front.Close(), s.close())
	}
	applications := newServer(s.front(), c.Logger)
	applications.ConnState = newConnections(c.connections()).watch
	operators := newServer(s.operators(c, back.Addr()), c.Logger)
	failed := make(chan error, 3)
	go func() { failed <- applications.Serve(front) }()
	go func() { failed <- operators.Serve(back) }()
	go s.reloadOnHangup(ctx)
	c.Logger.Info("ready", "listen", front.Addr().String(), "admin", back.Addr().String(),
		"generation", s.currentPolicy().Version.Generation, "receipts", s.log.Opened().Chain)
	s.warnOfKeys()
	if c.Ready != nil {
		if err := c.Ready(front.Addr(), back.Addr()); err != nil {
			failed <- err
		}
	}

	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain(context.WithoutCancel(ctx), applications, c.DrainLimit)
	}
	return errors.Join(err, operators.Close(), applications.Close(), s.close())
}

// listen opens the applications' listener, with TLS if there is a certificate.
func listen(c serveConfig) (net.Listener, error) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, errors.New("--tls-cert and --tls-key go together: give both, or neither for HTTP")
	}
	l, err := listenAt("listen", c.Listen)
	if err != nil {
		return nil, err
	}
	if c.TLSCert == "" {
		return l, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--tls-cert and --tls-key: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"http/1.1"},
	}), nil
}

// listenAt opens the listener that a flag names.
func listenAt(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	_, malformed := errors.AsType[*net.AddrError](err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--%s %s: another program listens there; end it, or name another address with --%s", flag, address, flag)
	case malformed:
		return nil, fmt.Errorf("--%s %q: want HOST:PORT or :PORT, as in 127.0.0.1:8080", flag, address)
	case err != nil:
		return nil, fmt.Errorf("--%s %s: %w", flag, address, err)
	}
	return l, nil
}

// newServer returns a server that speaks HTTP/1.1 alone. It has no write
// timeout, which would cut streams.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       bodyReadLimit,
		IdleTimeout:       keepAliveLimit,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true,
	}
}

// front is the applications' handler: the proxy, the probes of load balancers,
// and the keys by which upstreams check authorizations.
func (s *stack) front() http.Handler {
	probes := admin.Probes(s.adminConfig())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
			probes.ServeHTTP(w, r)
		case r.URL.Path == keySetPath && r.Method == http.MethodGet:
			s.keySet(w, r)
		default:
			s.proxy.ServeHTTP(w, r)
		}
	})
}

func (s *stack) adminConfig() admin.Config {
	return admin.Config{
		Policy:      s.currentPolicy,
		Ledger:      s.ledger,
		LogReady:    s.log.Ready,
		LedgerReady: s.watch.Ready,
		Draining:    s.draining.Load,
		Metrics:     s.metrics.Registry,
		Receipt:     s.gate.Sweep,
		Logger:      s.logger,
	}
}

// operators is the operators' handler on a listener of that address.
func (s *stack) operators(c serveConfig, address net.Addr) http.Handler {
	config := s.adminConfig()
	config.Token, config.Hosts = c.AdminToken, c.AdminHosts
	tcp, ok := address.(*net.TCPAddr)
	config.Loopback = ok && tcp.IP.IsLoopback()
	return admin.Handler(config)
}

func (s *stack) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			s.source.Reload()
		}
	}
}

// drain lets requests in flight finish, up to a limit, or until the context ends. Closing the server
// after it cuts the rest, whose handlers still settle.
func (s *stack) drain(ctx context.Context, srv *http.Server, limit time.Duration) {
	s.draining.Store(true)
	s.logger.Info("draining", "limit", limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		s.logger.Warn("requests were cut at the end of the drain limit", "err", err)
	}
}
