package redis

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// respVersion is the wire protocol that Redis, Valkey and their proxies all
// speak.
const respVersion = 2

// sentinelPort is where a sentinel listens by default.
const sentinelPort = "26379"

// go-redis also prints what it returns as errors. Those who call this package
// decide what is logged.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// address is a ledger's URL, taken apart.
type address struct {
	single   *url.URL // with the first host alone, and a scheme that go-redis knows
	query    url.Values
	hosts    []string
	cluster  bool
	sentinel bool
}

// schemes are what a URL may begin with, and what go-redis calls it.
var schemes = map[string]string{
	"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss", "unix": "unix",
}

// parse takes a URL apart as Config describes it.
func parse(text string) (*address, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	scheme, sentinel := strings.CutSuffix(scheme, "+sentinel")
	known := schemes[scheme]
	if known == "" || sentinel && known == "unix" {
		return nil, badURL("want redis://, rediss://, unix:// or redis+sentinel:// (valkey:// and valkeys:// are the same)")
	}
	authority, tail := splitAuthority(rest)
	hosts := strings.Split(authority, ",")
	single, err := url.Parse(known + "://" + hosts[0] + tail)
	if err != nil {
		return nil, badURL("it does not parse")
	}
	query := single.Query()
	if query.Has("skip_verify") {
		return nil, badURL("skip_verify would let anybody pass for the ledger; name the authority of its certificate instead (--ledger-ca)")
	}
	hosts[0] = single.Host
	a := &address{single: single, query: query, hosts: hosts, sentinel: sentinel}
	a.cluster = !sentinel && (query.Get("cluster") == "true" || len(hosts) > 1)
	query.Del("cluster")
	return a, nil
}

// connect makes a client for a URL as Config describes it, and where that is of
// sentinels, what they name. It does not dial.
func connect(c Config) (redis.UniversalClient, *watched, error) {
	a, err := parse(c.URL)
	if err != nil {
		return nil, nil, err
	}
	d := &dialer{name: a.single.Hostname(), limit: dialLimit}
	if a.single.Scheme == "rediss" {
		d.secure(c.TLS)
	} else if c.TLS != nil {
		return nil, nil, badURL("a certificate or authority is for rediss:// and valkeys:// alone")
	}
	if a.sentinel {
		w := &watched{}
		client, err := a.connectSentinel(d, w)
		return client, w, err
	}
	if a.cluster {
		client, err := a.connectCluster(d)
		return client, nil, err
	}
	client, err := a.connectSingle(d)
	return client, nil, err
}

func (a *address) connectSingle(d *dialer) (redis.UniversalClient, error) {
	a.single.RawQuery = a.query.Encode()
	options, err := redis.ParseURL(a.single.String())
	if err != nil {
		return nil, badURL(err.Error())
	}
	d.within(options.DialTimeout)
	options.Dialer, options.TLSConfig = d.dial, d.tls
	// go-redis ignores a context's deadline on its sockets unless told. What is
	// sent again is decided where it is known whether it was sent before.
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.Protocol = respVersion
	options.DisableIdentity = true
	return redis.NewClient(options), nil
}

// splitAuthority cuts the hosts from the path and query that follow them.
func splitAuthority(rest string) (authority, tail string) {
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

func (a *address) connectCluster(d *dialer) (redis.UniversalClient, error) {
	a.single.RawQuery = a.withHosts().Encode()
	options, err := redis.ParseClusterURL(a.single.String())
	if err != nil {
		return nil, badURL(err.Error())
	}
	d.within(options.DialTimeout)
	options.Dialer, options.TLSConfig = d.dial, d.tls
	options.ContextTimeoutEnabled = true
	options.DialerRetries = 1
	options.Protocol = respVersion
	options.DisableIdentity = true
	// Every command of ours names its key first; a client that looks that up
	// asks for the server's list of commands.
	options.DisableRoutingPolicies = true
	client := redis.NewClusterClient(options)
	reloadOnFailure(client)
	return client, nil
}

// withHosts is the query with all hosts but the first, as go-redis wants them.
func (a *address) withHosts() url.Values {
	for _, host := range a.hosts[1:] {
		a.query.Add("addr", host)
	}
	return a.query
}

// connectSentinel makes a client that asks sentinels for the master. The URL's
// user and password are the master's; the sentinels' are in the query.
func (a *address) connectSentinel(d *dialer, w *watched) (redis.UniversalClient, error) {
	master, database, _ := strings.Cut(strings.Trim(a.single.Path, "/"), "/")
	if master == "" {
		return nil, badURL("name the master that the sentinels watch: redis+sentinel://host:port,host:port/MASTER")
	}
	for i, host := range a.hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			a.hosts[i] = net.JoinHostPort(strings.Trim(host, "[]"), sentinelPort)
		}
	}
	user, password := a.query.Get("sentinel_username"), a.query.Get("sentinel_password")
	a.query.Del("sentinel_username")
	a.query.Del("sentinel_password")
	a.query.Set("master_name", master)
	plain := url.URL{Scheme: a.single.Scheme, Host: a.hosts[0], Path: "/" + database, RawQuery: a.withHosts().Encode()}
	options, err := redis.ParseFailoverURL(plain.String())
	if err != nil {
		return nil, badURL(err.Error())
	}
	options.SentinelUsername, options.SentinelPassword = user, password
	options.Username = a.single.User.Username()
	options.Password, _ = a.single.User.Password()
	d.within(options.DialTimeout)
	options.Dialer, options.TLSConfig = w.dialer(d.dial), d.tls
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.Protocol = respVersion
	options.DisableIdentity = true
	client := redis.NewFailoverClient(options)
	client.AddHook(undialled{})
	return client, nil
}

// undialled marks what went wrong before there was a connection: that no sentinel
// knows the master is no error of dialling for go-redis.
type undialled struct{}

func (undialled) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err != nil && !unsent(err) {
			err = &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return conn, err
	}
}

func (undialled) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (undialled) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// badURL does not repeat the URL, which may hold a password.
func badURL(why string) error {
	return fmt.Errorf("%w: ledger URL: %s", budget.ErrInvalid, why)
}
