package redistest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// Cluster is a running cluster: masters that share the slots evenly, in order, and
// the replicas of each. Which of them is a master by now is not noted here.
type Cluster struct {
	Masters  []*Server
	Replicas [][]*Server // of the master at the same index
}

// StartCluster runs a cluster until the test ends, with that many replicas of each
// master. It returns when every node knows every other one and all replicas follow.
func StartCluster(t testing.TB, masters, replicas int, options ...Option) *Cluster {
	t.Helper()
	options = append([]Option{Setting("cluster-enabled", "yes"), Setting("repl-diskless-sync-delay", "0")}, options...)
	c := &Cluster{Masters: make([]*Server, masters), Replicas: make([][]*Server, masters)}
	for i := range c.Masters {
		master := Start(t, options...)
		master.Command(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/masters, (i+1)*slots/masters-1))
		master.Command(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
		c.Masters[i] = master
		for range replicas {
			c.Replicas[i] = append(c.Replicas[i], Start(t, options...))
		}
	}
	c.meet()
	for i, master := range c.Masters {
		for _, replica := range c.Replicas[i] {
			replica.Command("CLUSTER REPLICATE " + master.NodeID())
		}
	}
	c.awaitReplicas()
	return c
}

// Nodes are all servers, masters first.
func (c *Cluster) Nodes() []*Server {
	nodes := append([]*Server{}, c.Masters...)
	for _, replicas := range c.Replicas {
		nodes = append(nodes, replicas...)
	}
	return nodes
}

// URL names the cluster by its masters: redis://host:port,host:port...
func (c *Cluster) URL() string {
	var addresses []string
	for _, master := range c.Masters {
		addresses = append(addresses, master.Addr())
	}
	return "redis://" + strings.Join(addresses, ",")
}

// meet makes the nodes one cluster.
func (c *Cluster) meet() {
	first, nodes := c.Masters[0], c.Nodes()
	host, port, err := net.SplitHostPort(first.Addr())
	if err != nil {
		first.t.Fatal(err)
	}
	for _, node := range nodes[1:] {
		node.Command("CLUSTER MEET " + host + " " + port)
	}
	for _, node := range nodes {
		node.await("CLUSTER INFO", "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d\r", len(nodes)),
			fmt.Sprintf("cluster_slots_assigned:%d\r", slots)) // ok without, where full coverage is not required
	}
}

// awaitReplicas waits until every replica follows its master, and every node knows
// that it does.
func (c *Cluster) awaitReplicas() {
	for i, master := range c.Masters {
		for _, replica := range c.Replicas[i] {
			replica.await("INFO replication", "role:slave", "master_link_status:up")
			for _, node := range c.Nodes() {
				node.await("CLUSTER REPLICAS "+master.NodeID(), replica.NodeID())
			}
		}
	}
}

// NodeID is the name of a cluster's node.
func (s *Server) NodeID() string {
	s.t.Helper()
	_, id, ok := strings.Cut(s.reply("CLUSTER MYID"), "\r\n")
	if !ok {
		s.t.Fatalf("%s does not say its node id", s.Addr())
	}
	return id
}

// await asks until the answer has all that is wanted.
func (s *Server) await(command string, wanted ...string) {
	s.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if containsAll(s.reply(command), wanted) {
			return
		}
		time.Sleep(pollEvery)
	}
	s.t.Fatalf("%s at %s is not %q: %s", command, s.Addr(), wanted, s.reply(command))
}

func containsAll(text string, wanted []string) bool {
	for _, one := range wanted {
		if !strings.Contains(text, one) {
			return false
		}
	}
	return true
}

// AwaitMaster waits until a replica has become a master whose cluster is whole.
func (s *Server) AwaitMaster() {
	s.t.Helper()
	s.await("INFO replication", "role:master")
	s.await("CLUSTER INFO", "cluster_state:ok")
}

// Owns reports whether a cluster's node answers for a key.
func (s *Server) Owns(key string) bool {
	return !strings.HasPrefix(s.reply("GET "+key), "-MOVED")
}

// AwaitAcknowledged waits until the server's replica has all that it has written.
func (s *Server) AwaitAcknowledged() {
	s.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		info := s.reply("INFO replication")
		_, rest, _ := strings.Cut(info, "master_repl_offset:")
		offset, _, _ := strings.Cut(rest, "\r")
		if strings.Contains(info, "state=online,offset="+offset+",") {
			return
		}
		time.Sleep(pollEvery)
	}
	s.t.Fatalf("no replica has all that %s has written: %s", s.Addr(), s.reply("INFO replication"))
}

// AwaitPromoted waits until a replica outside a cluster has become a master.
func (s *Server) AwaitPromoted() {
	s.t.Helper()
	s.await("INFO replication", "role:master")
}
