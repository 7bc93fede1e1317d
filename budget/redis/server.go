package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

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

// checkServer reports what is wrong with one server's configuration, all of it
// at once.
func (l *Ledger) checkServer(ctx context.Context, server redis.Cmdable) error {
	if err := server.Ping(ctx).Err(); err != nil {
		return unavailable("ping", err)
	}
	if l.config.AcceptDurability {
		return nil
	}
	var wrong []string
	for _, s := range settings {
		if problem := s.check(ctx, server); problem != "" {
			wrong = append(wrong, problem)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; set it in redis.conf, or accept the risk with AcceptDurability",
		ErrConfig, strings.Join(wrong, "; "))
}

// check is empty if the setting is as it must be.
func (s *setting) check(ctx context.Context, server redis.Cmdable) string {
	answer, err := server.ConfigGet(ctx, s.name).Result()
	if err != nil {
		return fmt.Sprintf("%s cannot be read (%v)", s.name, err)
	}
	value, ok := answer[s.name]
	if !ok {
		return s.name + " is not known to this server"
	}
	if slices.Contains(s.accept, value) {
		return ""
	}
	return fmt.Sprintf("%s is %q, must be %q: %s", s.name, value, strings.Join(s.accept, " or "), s.why)
}
