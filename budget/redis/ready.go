package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// ErrConfig: the server is not configured to keep a ledger, or does not let
// its configuration be read. Config.AcceptDurability takes it all the same.
var ErrConfig = errors.New("redis is not configured to keep a ledger")

// ErrUnfit: the server cannot run what a ledger needs, because it is too old or
// does not permit it.
var ErrUnfit = errors.New("redis cannot keep a ledger")

// Ready tries at every master whether a grant could be made now. Errors wrap
// budget.ErrUnavailable, ErrConfig or ErrUnfit, and budget.ErrPartly if it could
// at other masters of a cluster.
func (l *Ledger) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	if single, ok := l.client.(*redis.Client); ok {
		return l.readyAt(ctx, single)
	}
	return l.readyEverywhere(ctx, l.client.(*redis.ClusterClient))
}

func (l *Ledger) readyAt(ctx context.Context, node *redis.Client) error {
	if err := l.beginAt(ctx, node); err != nil {
		return err
	}
	return l.check(ctx, node)
}

func (l *Ledger) readyEverywhere(ctx context.Context, cluster *redis.ClusterClient) error {
	var mu sync.Mutex
	var failed []error
	masters := 0
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		err := l.readyAt(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		masters++
		if err != nil {
			failed = append(failed, fmt.Errorf("master %s: %w", addressOf(node), err))
		}
		return nil
	})
	switch {
	case err != nil:
		return unavailable(readyScript.verb, err)
	case len(failed) > 0 && len(failed) < masters:
		return fmt.Errorf("%w: %w", budget.ErrPartly, errors.Join(failed...))
	}
	return errors.Join(failed...)
}

// fits tries whether one master can keep a ledger. That it would grant nothing
// now is no reason to send it no verb: those that end leases run all the same.
func (l *Ledger) fits(ctx context.Context, node *redis.Client) error {
	err := l.checkScripts(ctx, node)
	if err != nil && (errors.Is(err, ErrUnfit) || !isReply(err)) {
		return err
	}
	return l.checkSettings(ctx, node)
}

// check tries whether one master can keep a ledger, and would grant something now.
func (l *Ledger) check(ctx context.Context, node *redis.Client) error {
	for _, try := range []func(context.Context, *redis.Client) error{l.checkScripts, l.checkReplicas, l.checkSettings, l.checkClock} {
		if err := try(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// checkScripts runs a script as a reserve would be run: see lua/ready.lua.
func (l *Ledger) checkScripts(ctx context.Context, node *redis.Client) error {
	reply, err := readyScript.once(ctx, node, nil, nil)
	switch {
	case err != nil && strings.Contains(err.Error(), "compiling script"):
		return fmt.Errorf("%w: it is %s, and Redis 7 or Valkey is needed", ErrUnfit, versionOf(ctx, node))
	case redis.IsPermissionError(err):
		return unpermitted(err.Error())
	case hungUp(err) && node.Options().TLSConfig == nil:
		return unavailable(readyScript.verb, fmt.Errorf("%w; if the server speaks TLS, the URL begins with rediss://", err))
	case hungUp(err) && len(node.Options().TLSConfig.Certificates) == 0:
		return unavailable(readyScript.verb, fmt.Errorf("%w; if the server asks for a certificate, none is configured", err))
	case err != nil:
		return unavailable(readyScript.verb, err)
	}
	refused, ok := reply.([]any)
	if !ok {
		return unavailable(readyScript.verb, fmt.Errorf("%w: %T", errReply, reply))
	}
	if len(refused) == 0 {
		return nil
	}
	return unpermitted(joinAny(refused))
}

// hungUp reports whether the server took a connection and closed it, as one does that
// waits for TLS.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func joinAny(list []any) string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = fmt.Sprint(one)
	}
	return strings.Join(texts, "; ")
}

// unpermitted says what the server says of commands that its user may not run.
func unpermitted(why string) error {
	return fmt.Errorf("%w: its ACL forbids what the ledger needs: %s", ErrUnfit, why)
}

// versionOf is what a server says that it is.
func versionOf(ctx context.Context, node *redis.Client) string {
	info, err := node.InfoMap(ctx, "server").Result()
	if err != nil {
		return "of an unknown version"
	}
	if version := info["Server"]["valkey_version"]; version != "" {
		return "Valkey " + version
	}
	return "Redis " + info["Server"]["redis_version"]
}

// checkReplicas waits for the replicas that a grant would wait for.
func (l *Ledger) checkReplicas(ctx context.Context, node *redis.Client) error {
	if l.config.WaitReplicas == 0 {
		return nil
	}
	have, err := node.Do(ctx, "WAIT", l.config.WaitReplicas, waitPart(ctx)).Int()
	switch {
	case redis.IsPermissionError(err):
		return unpermitted(err.Error())
	case err != nil:
		return unavailable("wait", err)
	case have < l.config.WaitReplicas:
		return unavailable("wait", fmt.Errorf("%w: %d of %d", errReplicas, have, l.config.WaitReplicas))
	}
	return nil
}

// setting is what a server must be told, so that a grant is not forgotten.
type setting struct {
	name   string
	accept []string
	why    string
}

var settings = []setting{
	{"appendonly", []string{"yes"}, "a restart would forget what was spent"},
	{"appendfsync", []string{"always", "everysec"}, "a power cut would forget what was spent"},
	{"maxmemory-policy", []string{"noeviction"}, "full memory would forget what was spent"},
}

// checkSettings reports what is wrong with one server's configuration, all of it
// at once.
func (l *Ledger) checkSettings(ctx context.Context, node *redis.Client) error {
	if l.config.AcceptDurability {
		return nil
	}
	ask := []any{"config", "get"}
	for _, s := range settings {
		ask = append(ask, s.name)
	}
	answer := redis.NewMapStringStringCmd(ctx, ask...)
	if err := node.Process(ctx, answer); err != nil {
		if !isReply(err) {
			return unavailable("config", err)
		}
		return misconfigured(fmt.Sprintf("%s, %s and %s cannot be read (%v)", ask[2], ask[3], ask[4], err))
	}
	var wrong []string
	for _, s := range settings {
		if problem := s.check(answer.Val()); problem != "" {
			wrong = append(wrong, problem)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return misconfigured(strings.Join(wrong, "; "))
}

func misconfigured(what string) error {
	return fmt.Errorf("%w: %s; set it in redis.conf, or accept the risk with --accept-weak-durability", ErrConfig, what)
}

// check is empty if the setting is as it must be.
func (s *setting) check(configured map[string]string) string {
	value, ok := configured[s.name]
	if !ok {
		return s.name + " is not known to this server"
	}
	if slices.Contains(s.accept, value) {
		return ""
	}
	return fmt.Sprintf("%s is %q, must be %q: %s", s.name, value, strings.Join(s.accept, " or "), s.why)
}
