package redistest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Move is a slot of a cluster on its way from one master to another, step by step.
type Move struct {
	t        testing.TB
	cluster  *Cluster
	slot     int
	from, to *redis.Client
	source   *Server
	target   *Server
}

// Move begins to move the slot of a key to the next master: both nodes know, and no
// key has gone.
func (c *Cluster) Move(t testing.TB, key string) *Move {
	t.Helper()
	m := &Move{t: t, cluster: c, slot: c.slotOf(t, key)}
	i := c.owner(t, key)
	m.source, m.target = c.Masters[i], c.Masters[(i+1)%len(c.Masters)]
	m.from, m.to = m.source.client(), m.target.client()
	m.set(m.to, "IMPORTING", m.source.NodeID())
	m.set(m.from, "MIGRATING", m.target.NodeID())
	return m
}

// Keys are those of the slot that have not gone.
func (m *Move) Keys() []string {
	m.t.Helper()
	keys, err := m.from.ClusterGetKeysInSlot(m.t.Context(), m.slot, 1000).Result()
	if err != nil {
		m.t.Fatal(err)
	}
	return keys
}

// Take moves one key. It fails the test, as the server does, if the target has one
// of that name.
func (m *Move) Take(key string) {
	m.t.Helper()
	host, port, _ := strings.Cut(m.target.Addr(), ":")
	const milliseconds = "5000"
	if err := m.from.Do(m.t.Context(), "MIGRATE", host, port, key, "0", milliseconds).Err(); err != nil {
		m.t.Fatalf("move %s: %v", key, err)
	}
}

// Finish moves what is left and gives the slot to the target, and returns when all
// masters agree that it has it. A slot that goes back sooner may get lost between two
// nodes that each know of the other's claim only.
func (m *Move) Finish() {
	m.t.Helper()
	for _, key := range m.Keys() {
		m.Take(key)
	}
	m.set(m.to, "NODE", m.target.NodeID())
	m.set(m.from, "NODE", m.target.NodeID())
	for _, other := range m.cluster.Masters {
		if other != m.source && other != m.target {
			m.set(other.client(), "NODE", m.target.NodeID())
		}
	}
	m.cluster.awaitAgreement(m.t)
}

// awaitAgreement waits until all masters have the same view of who has which slots,
// and since which epoch.
func (c *Cluster) awaitAgreement(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		views := make(map[string]bool)
		for _, master := range c.Masters {
			views[master.view(t)] = true
		}
		if len(views) == 1 {
			return
		}
		time.Sleep(pollEvery)
	}
	t.Fatal("the masters do not agree on who has which slot")
}

// view is each node's id, epoch and slots, as this one sees them.
func (s *Server) view(t testing.TB) string {
	t.Helper()
	nodes, err := s.client().ClusterNodes(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(nodes) {
		words := strings.Fields(line) // ID ADDRESS FLAGS MASTER PING PONG EPOCH LINK SLOT...
		lines = append(lines, words[0]+" "+words[6]+" "+strings.Join(words[8:], " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// GiveUp ends a move of which no key has gone.
func (m *Move) GiveUp() {
	m.t.Helper()
	m.set(m.from, "STABLE")
	m.set(m.to, "STABLE")
}

// AwaitRefusal waits until a node has refused a command because of the move.
func (m *Move) AwaitRefusal() {
	m.t.Helper()
	m.source.await("INFO errorstats", "errorstat_TRYAGAIN")
}

// Dump is every key of the slot as its node has it: "source KEY" or "target KEY" to
// what DUMP says, which has all but times to live.
func (m *Move) Dump() map[string]string {
	m.t.Helper()
	all := make(map[string]string)
	for name, node := range map[string]*redis.Client{"source ": m.from, "target ": m.to} {
		keys, err := node.ClusterGetKeysInSlot(m.t.Context(), m.slot, 1000).Result()
		if err != nil {
			m.t.Fatal(err)
		}
		for _, key := range keys {
			pipe := node.Pipeline()
			pipe.Do(m.t.Context(), "ASKING")
			dump := pipe.Dump(m.t.Context(), key)
			if _, err := pipe.Exec(m.t.Context()); err != nil {
				m.t.Fatal(err)
			}
			all[name+key] = dump.Val()
		}
	}
	return all
}

func (m *Move) set(node *redis.Client, state string, more ...any) {
	m.t.Helper()
	if err := node.Do(m.t.Context(), append([]any{"CLUSTER", "SETSLOT", m.slot, state}, more...)...).Err(); err != nil {
		m.t.Fatalf("SETSLOT %d %s: %v", m.slot, state, err)
	}
}

// slotOf is the hash slot of a key.
func (c *Cluster) slotOf(t testing.TB, key string) int {
	t.Helper()
	slot, err := strconv.Atoi(strings.TrimPrefix(c.Masters[0].reply("CLUSTER KEYSLOT "+key), ":"))
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// owner is which master has the slot of a key.
func (c *Cluster) owner(t testing.TB, key string) int {
	t.Helper()
	i := slices.IndexFunc(c.Masters, func(s *Server) bool { return s.Owns(key) })
	if i < 0 {
		t.Fatalf("no master has the slot of %s", key)
	}
	return i
}

// FlushScripts makes every master forget the scripts that it knows.
func (c *Cluster) FlushScripts() {
	for _, master := range c.Masters {
		master.Command("SCRIPT FLUSH")
	}
}

// client is a connection to this server alone, until the test ends.
func (s *Server) client() *redis.Client {
	s.once.Do(func() {
		s.direct = redis.NewClient(&redis.Options{Addr: s.Addr(), DisableIdentity: true, Protocol: 2})
		s.t.Cleanup(func() { s.direct.Close() })
	})
	return s.direct
}
