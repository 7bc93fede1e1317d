package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

//go:embed lua/*.lua lua/shared/*.lua
var sources embed.FS

// script is one verb as the server runs it.
type script struct {
	verb   string
	source string
	hash   string // SHA-1 of source, by which the server knows it
}

var (
	provisionScript = load("provision")
	reserveScript   = load("reserve")
	extendScript    = load("extend")
	renewScript     = load("renew")
	settleScript    = load("settle")
	releaseScript   = load("release")
	sweepScript     = load("sweep")
	balancesScript  = load("balances")
	restoreScript   = load("restore")
)

// shared are the files that every verb begins with, each of which uses those
// before it.
var shared = []string{"shared/common", "shared/tenant", "shared/event", "shared/claim", "shared/counter",
	"shared/lease", "shared/answer"}

// constants are what the scripts must count by as the other ledgers do.
var constants = fmt.Sprintf(`local MAX_AMOUNT = %d
local MAX_LEASE_LIFE_MS = %d
local REMEMBER_ENDED_MS = %d
local REMEMBER_EXPIRED_MS = %d
local BUCKETS = %d
`, int64(budget.MaxAmount), budget.MaxLeaseLife.Milliseconds(), budget.RememberEnded.Milliseconds(),
	budget.RememberExpired.Milliseconds(), budget.RollingBuckets)

// load puts the constants and the shared text behind the first line of a verb's file, which
// tells the server the script's flags and must stay first.
func load(verb string) *script {
	flags, body, _ := strings.Cut(read(verb), "\n")
	source := flags + "\n" + constants
	for _, name := range shared {
		source += read(name) + "\n"
	}
	source += body
	sum := sha1.Sum([]byte(source))
	return &script{verb: verb, source: source, hash: hex.EncodeToString(sum[:])}
}

func read(name string) string {
	text, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the file is embedded: only a build without it gets here
	}
	return string(text)
}

// maxAttempts bounds how often a verb is sent when connections break. Each
// verb may be sent again: a repeat gets the first answer.
const maxAttempts = 3

// run sends the script until the server answers, the context ends or it was
// sent often enough. The error wraps budget.ErrUnreachable if no attempt got
// as far as a connection.
func (s *script) run(ctx context.Context, on redis.Scripter, keys []string, args []any) (any, error) {
	sent := false
	for attempt := 1; ; attempt++ {
		reply, err := s.once(ctx, on, keys, args)
		if err == nil {
			return reply, nil
		}
		sent = sent || !isDialError(err)
		if isReply(err) || ctx.Err() != nil || attempt == maxAttempts {
			return nil, s.failure(on, sent, err)
		}
	}
}

// once sends the script by its hash, and by its text to a server that does not
// know it.
func (s *script) once(ctx context.Context, on redis.Scripter, keys []string, args []any) (any, error) {
	reply, err := on.EvalSha(ctx, s.hash, keys, args...).Result()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = on.Eval(ctx, s.source, keys, args...).Result()
	}
	return reply, err
}

// failure is the error of a verb. The client of a cluster sends again by
// itself, so what its last error says of the others is not known.
func (s *script) failure(on redis.Scripter, sent bool, err error) error {
	if _, cluster := on.(*redis.ClusterClient); sent || cluster {
		return unavailable(s.verb, err)
	}
	return fmt.Errorf("%w: redis: %s: %w", budget.ErrUnreachable, s.verb, err)
}

// isReply reports whether the server itself said the error.
func isReply(err error) bool {
	var said redis.Error
	return errors.As(err, &said)
}

func isDialError(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}

// unavailable marks an error after which nobody knows what the server did.
func unavailable(verb string, err error) error {
	return fmt.Errorf("%w: redis: %s: %w", budget.ErrUnavailable, verb, err)
}
