package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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

// Each verb with the shared files that it uses, each of which uses those before
// it. See lua/shared/common.lua.
var (
	provisionScript = load("provision", "common", "tenant", "event", "switch")
	reserveScript   = load("reserve", append(onLeases, "claim", "answer", "terms")...)
	extendScript    = load("extend", append(onLeases, "answer", "terms")...)
	renewScript     = load("renew", onLeases...)
	settleScript    = load("settle", append(onLeases, "ending")...)
	releaseScript   = load("release", append(onLeases, "ending")...)
	sweepScript     = load("sweep", onLeases...)
	throwScript     = load("throw", append(onLeases, "switch")...)
	liftScript      = load("lift", append(onLeases, "switch")...)
	balancesScript  = load("balances", append(onLeases, "claim", "answer")...)
	readyScript     = load("ready")
	restoreScript   = load("restore", "common", "kept", "counter", "ring", "store", "lease", "marks")
)

// onLeases is what a verb needs that ends leases which are due.
var onLeases = []string{"common", "kept", "tenant", "event", "counter", "ring", "store", "lease", "marks", "verb"}

// spare is how long a key is kept that nothing needs any more, for clocks that
// differ.
const spare = time.Hour

// keptAhead is how much longer than a key is needed it is promised to exist, so that
// what is used all the time is not written down each time.
const keptAhead = 30 * time.Minute

// constants stand in the scripts by their names: see lua/shared/common.lua. They
// are put in as digits, for a Lua local would cost time in each call.
var constants = map[string]string{
	"MAX_AMOUNT":          digits(budget.MaxAmount),
	"MAX_LEASE_LIFE_MS":   digits(budget.MaxLeaseLife.Milliseconds()),
	"REMEMBER_ENDED_MS":   digits(budget.RememberEnded.Milliseconds()),
	"REMEMBER_EXPIRED_MS": digits(budget.RememberExpired.Milliseconds()),
	"BUCKETS":             digits(budget.RollingBuckets),
	"CLOCKS_APART_MS":     digits(budget.MaxClocksApart.Milliseconds()),
	"DIGESTS":             digits(digests),
	"DIGEST_CHARS":        digits(digestChars),
	"NEVER":               digits(budget.MaxAmount),
	"SPARE_MS":            digits(spare.Milliseconds()),
	"KEPT_AHEAD_MS":       digits(keptAhead.Milliseconds()),
	"MAX_DROP":            digits(dropBatch),
	"NONE":                "'" + none + "'",
}

func digits(n int64) string { return strconv.FormatInt(n, 10) }

// fillIn writes the values of constants in the place of their names, where these are whole words.
func fillIn(source string) string {
	var filled strings.Builder
	filled.Grow(len(source))
	for source != "" {
		n := wordLength(source)
		word := source[:max(n, 1)]
		if value, ok := constants[word]; ok {
			word = value
		}
		filled.WriteString(word)
		source = source[max(n, 1):]
	}
	return filled.String()
}

// wordLength is how many bytes of a word the text begins with.
func wordLength(text string) int {
	for i := range len(text) {
		if c := text[i]; c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return i
		}
	}
	return len(text)
}

// load puts shared files behind the first line of a verb's file, which tells the
// server the script's flags and must stay first.
func load(verb string, shared ...string) *script {
	flags, body, _ := strings.Cut(read(verb), "\n")
	source := flags + "\n"
	for _, name := range shared {
		source += read("shared/"+name) + "\n"
	}
	source = fillIn(source + body)
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
func (s *script) run(ctx context.Context, on evaluator, keys []string, args []any) (any, error) {
	if _, cluster := on.(*redis.ClusterClient); cluster {
		return s.runOnCluster(ctx, on, keys, args)
	}
	sent := false
	for attempt := 1; ; attempt++ {
		reply, err := s.once(ctx, on, keys, args)
		if err == nil {
			return reply, nil
		}
		sent = sent || !unsent(err)
		if isReply(err) || ctx.Err() != nil || attempt == maxAttempts {
			return nil, s.failure(sent, err)
		}
	}
}

// runOnCluster leaves it to the cluster's client to send again, which knows
// where to. It goes on until the context ends while the cluster says that it is
// down: that passes as soon as the masters have agreed on who has failed.
func (s *script) runOnCluster(ctx context.Context, on evaluator, keys []string, args []any) (any, error) {
	way := ctx.Value(tripKey{}).(*trip) // by runOn
	for {
		reply, err := s.once(ctx, on, keys, args)
		if err == nil {
			return reply, nil
		}
		if !redis.IsClusterDownError(err) || ctx.Err() != nil {
			return nil, s.failure(way.sent.Load(), err)
		}
	}
}

// once sends the script by its hash, and by its text to a server that does not
// know it.
func (s *script) once(ctx context.Context, on evaluator, keys []string, args []any) (any, error) {
	reply, err := on.EvalSha(ctx, s.hash, keys, args...).Result()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = on.Eval(ctx, s.source, keys, args...).Result()
	}
	return reply, err
}

// failure is the error of a verb that was sent, or was not.
func (s *script) failure(sent bool, err error) error {
	if sent {
		return unavailable(s.verb, err)
	}
	return fmt.Errorf("%w: redis: %s: %w", budget.ErrUnreachable, s.verb, explained(err))
}

// isReply reports whether the server itself said the error.
func isReply(err error) bool {
	var said redis.Error
	return errors.As(err, &said)
}

// unavailable marks an error after which nobody knows what the server did.
func unavailable(verb string, err error) error {
	return fmt.Errorf("%w: redis: %s: %w", budget.ErrUnavailable, verb, explained(err))
}
