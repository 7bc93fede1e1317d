// Package redistest starts real Redis servers for tests, and breaks them.
package redistest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// startTimeout bounds the wait for a server to answer.
	startTimeout = 15 * time.Second
	// pollEvery is the pause between two looks at a starting server.
	pollEvery = 5 * time.Millisecond
	// startAttempts covers a port that another process took meanwhile.
	startAttempts = 5
)

// Option changes how a server is started.
type Option func(*Server)

// UnixSocket makes the server listen on a socket in its directory only.
func UnixSocket() Option { return func(s *Server) { s.unix = true } }

// TLS has the server speak TLS alone, to clients with a certificate of the authority.
func TLS(a *Authority) Option { return func(s *Server) { s.tls = a } }

// Setting adds a line of redis.conf, such as "maxmemory", "10mb".
func Setting(name string, values ...string) Option {
	return func(s *Server) { s.settings = append(append(s.settings, "--"+name), values...) }
}

// Variable adds a variable to the server's environment, such as one that has its
// clock shifted.
func Variable(name, value string) Option {
	return func(s *Server) { s.environment = append(s.environment, name+"="+value) }
}

// Server is one redis-server process with a directory of its own. By default
// it appends to its file with every write and never evicts.
type Server struct {
	t        testing.TB
	dir      string
	binary   string // path; "": Binary
	unix     bool
	tls      *Authority // nil: plain
	sentinel string     // lines of its file; "": it is none
	port     int
	settings []string
	// environment is added to that of the test.
	environment []string
	process     *exec.Cmd
	output      bytes.Buffer
	once        sync.Once
	direct      *redis.Client // once it was needed
}

// Start runs a server until the test ends. It fails the test if no server is
// installed.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{t: t, dir: shortTempDir(t)}
	for _, option := range options {
		option(s)
	}
	t.Cleanup(s.Kill)
	s.start()
	return s
}

func (s *Server) start() {
	s.t.Helper()
	for range startAttempts {
		if !s.unix {
			s.port = freePort(s.t)
		}
		if s.launch() {
			return
		}
	}
	s.t.Fatalf("redis-server does not start:\n%s", s.output.String())
}

// shortTempDir keeps socket paths under the 108 bytes that the kernel allows.
func shortTempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Binary returns the path of redis-server or valkey-server. It fails the test
// if there is none.
func Binary(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("AEGIS_REDIS_SERVER"), "redis-server", "valkey-server"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no redis-server or valkey-server on PATH nor in AEGIS_REDIS_SERVER: run make tools")
	return ""
}

// Ports for servers lie below those that the system gives to outgoing
// connections (32768 and up on Linux), and so do those of a cluster's bus. A
// server that is down for a moment would else find its port taken, or its
// clients another server behind it.
const (
	firstPort = 12_000
	lastPort  = 22_000
)

// Valkey runs valkey-server, of PATH, of AEGIS_VALKEY_SERVER or as make tools has
// installed it, in place of whichever server there is.
func Valkey() Option {
	return func(s *Server) { s.binary = valkeyBinary(s.t) }
}

func valkeyBinary(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("AEGIS_VALKEY_SERVER"), "valkey-server", installed(t, "valkey/valkey-server")} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no valkey-server on PATH, in AEGIS_VALKEY_SERVER or in .tools/valkey: run make tools")
	return ""
}

// installed is where make tools puts a file: beside the module's go.mod.
func installed(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".tools", filepath.FromSlash(name))
		}
	}
	return ""
}

// freePort returns a port that nobody listens on. A cluster node opens another
// one 10,000 above.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
}

// launch starts the process and reports whether it came to answer.
func (s *Server) launch() bool {
	s.t.Helper()
	s.output.Reset()
	binary := s.binary
	if binary == "" {
		binary = Binary(s.t)
	}
	s.process = exec.Command(binary, s.arguments()...)
	s.process.Env = append(os.Environ(), s.environment...)
	s.process.Stdout = &s.output
	s.process.Stderr = &s.output
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	if s.answers() {
		return true
	}
	s.Kill()
	return false
}

func (s *Server) arguments() []string {
	if s.sentinel != "" {
		return s.asSentinel()
	}
	args := []string{
		"--dir", s.dir, "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
	}
	if s.unix {
		args = append(args, "--unixsocket", s.socket())
	}
	if s.tls == nil {
		args = append(args, "--port", strconv.Itoa(s.port))
	} else {
		cert, key := s.tls.Issue("server")
		args = append(args, "--port", "0", "--tls-port", strconv.Itoa(s.port), "--tls-replication", "yes",
			"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", s.tls.CA())
	}
	return append(args, s.settings...)
}

// answers waits until the server has loaded its file and replies to PING.
func (s *Server) answers() bool {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if s.reply("PING") == "+PONG" {
			return true
		}
		if s.exited() {
			return false
		}
		time.Sleep(pollEvery)
	}
	return false
}

// exited reports whether the process is gone, without reaping it.
func (s *Server) exited() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

// reply sends one command on a connection of its own and returns what comes
// back at once, or an empty string.
func (s *Server) reply(command string) string {
	conn, err := s.dial()
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	fmt.Fprintf(conn, "%s\r\n", command)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(answer[:n]))
}

func (s *Server) dial() (net.Conn, error) {
	limit := &net.Dialer{Timeout: time.Second}
	switch {
	case s.unix:
		return limit.Dial("unix", s.Addr())
	case s.tls != nil:
		return tls.DialWithDialer(limit, "tcp", s.Addr(), s.tls.Config())
	}
	return limit.Dial("tcp", s.Addr())
}

// Command sends a command, words parted by spaces, and fails the test unless
// the server answers OK.
func (s *Server) Command(command string) {
	s.t.Helper()
	if answer := s.reply(command); answer != "+OK" {
		s.t.Fatalf("%s: %q", command, answer)
	}
}

func (s *Server) socket() string { return filepath.Join(s.dir, "redis.sock") }

// Addr is host:port, or the path of the socket.
func (s *Server) Addr() string {
	if s.unix {
		return s.socket()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// URL is the address as redis://host:port or unix:///path.
func (s *Server) URL() string {
	if s.unix {
		return "unix://" + s.socket()
	}
	if s.tls != nil {
		return "rediss://" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Dir holds the server's files.
func (s *Server) Dir() string { return s.dir }

// Kill ends the process at once, as kill -9 does. A dead server stays dead.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	// Both fail only if the process is gone, which is what is wanted.
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}

// Restart starts the server again on the same address and files.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if !s.launch() {
		s.t.Fatalf("redis-server does not start again:\n%s", s.output.String())
	}
}

// Freeze stops the process where it is; it keeps its sockets.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis-server: %v", err)
	}
}

// WipeData kills the server and deletes its files; Restart brings it up empty.
func (s *Server) WipeData() {
	s.t.Helper()
	s.Kill()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(s.dir, entry.Name())); err != nil {
			s.t.Fatal(err)
		}
	}
}

// SaveData copies the server's files as they are now; the returned function
// puts them back into a killed server's directory.
func (s *Server) SaveData() (restore func()) {
	s.t.Helper()
	kept := s.t.TempDir()
	source := filepath.Join(s.dir, "appendonlydir")
	if err := os.CopyFS(kept, os.DirFS(source)); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		s.WipeData()
		if err := os.CopyFS(source, os.DirFS(kept)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// SetConfig changes a setting of the running server.
func (s *Server) SetConfig(name, value string) {
	s.t.Helper()
	s.Command("CONFIG SET " + name + " " + value)
}

// AwaitReplica waits until a replica follows the server.
func (s *Server) AwaitReplica() {
	s.t.Helper()
	s.await("INFO replication", "state=online")
}

// Ask sends a command, words parted by spaces, and returns the start of the answer as
// it came.
func (s *Server) Ask(command string) string { return s.reply(command) }
