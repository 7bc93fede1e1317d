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

// StartCluster runs a cluster of masters that share the slots evenly.
func StartCluster(t testing.TB, masters int, options ...Option) []*Server {
	t.Helper()
	options = append(options, Setting("cluster-enabled", "yes"))
	nodes := make([]*Server, masters)
	for i := range nodes {
		nodes[i] = Start(t, options...)
		nodes[i].Command(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/masters, (i+1)*slots/masters-1))
		nodes[i].Command(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
	}
	for _, node := range nodes[1:] {
		host, port, err := net.SplitHostPort(nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		node.Command("CLUSTER MEET " + host + " " + port)
	}
	for _, node := range nodes {
		node.awaitCluster(masters)
	}
	return nodes
}

// awaitCluster waits until the node knows all the others and every slot.
func (s *Server) awaitCluster(nodes int) {
	s.t.Helper()
	known := fmt.Sprintf("cluster_known_nodes:%d\r", nodes)
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		info := s.reply("CLUSTER INFO")
		if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, known) {
			return
		}
		time.Sleep(pollEvery)
	}
	s.t.Fatalf("the cluster does not form: %s", s.reply("CLUSTER INFO"))
}
