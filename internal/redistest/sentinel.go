package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Watched is the name by which a sentinel of a test knows its master.
const Watched = "mymaster"

// StartSentinel runs a sentinel that alone watches a master, and replaces it half a
// second after it has died.
func StartSentinel(t testing.TB, master *Server) *Server {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: shortTempDir(t), sentinel: fmt.Sprintf("sentinel monitor %s %s %s 1\n"+
		"sentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 5000\n", Watched, host, port)}
	t.Cleanup(s.Kill)
	s.start()
	s.await("SENTINEL MASTER "+Watched, "num-slaves\r\n$1\r\n1\r\n", "$6\r\nmaster\r\n")
	return s
}

// asSentinel writes the sentinel's file, which it also writes itself, and returns its
// arguments.
func (s *Server) asSentinel() []string {
	s.t.Helper()
	path := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n%s", s.port, s.dir, s.sentinel)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []string{path, "--sentinel"}
}
