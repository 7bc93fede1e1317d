package redis

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// respVersion is the wire protocol that Redis, Valkey and their proxies all
// speak.
const respVersion = 2

// go-redis also prints what it returns as errors. Those who call this package
// decide what is logged.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// connect makes a client for a URL as Config describes it. It does not dial.
func connect(address string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, badURL("want redis://, rediss:// or unix://")
	}
	authority, tail := splitAuthority(rest)
	hosts := strings.Split(authority, ",")
	single, err := url.Parse(scheme + "://" + hosts[0] + tail)
	if err != nil {
		return nil, badURL("it does not parse")
	}
	query := single.Query()
	cluster := query.Get("cluster") == "true" || len(hosts) > 1
	query.Del("cluster")
	if cluster {
		return connectCluster(single, query, hosts[1:])
	}
	single.RawQuery = query.Encode()
	options, err := redis.ParseURL(single.String())
	if err != nil {
		return nil, badURL(err.Error())
	}
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

func connectCluster(first *url.URL, query url.Values, others []string) (redis.UniversalClient, error) {
	for _, host := range others {
		query.Add("addr", host)
	}
	first.RawQuery = query.Encode()
	options, err := redis.ParseClusterURL(first.String())
	if err != nil {
		return nil, badURL(err.Error())
	}
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

// badURL does not repeat the URL, which may hold a password.
func badURL(why string) error {
	return fmt.Errorf("%w: ledger URL: %s", budget.ErrInvalid, why)
}
