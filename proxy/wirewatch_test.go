package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
)

// TestWhatWasNotSentIsNotSentLater: a write that comes at the moment of judgement is
// either told or refused.
func TestWhatWasNotSentIsNotSentLater(t *testing.T) {
	for range 2_000 {
		sink := new(sinkConn)
		conn := &countedConn{Conn: sink}
		watch := new(wireWatch)
		watch.got(httptrace.GotConnInfo{Conn: &endingConn{Conn: conn, wire: conn}})
		var both sync.WaitGroup
		var refused error
		both.Go(func() { _, refused = conn.Write([]byte("POST")) })
		sent := watch.wrote()
		both.Wait()
		if left := sink.bytes > 0; left && !sent || left == errors.Is(refused, errCut) {
			t.Fatalf("told as sent: %v; %d bytes left; the write says %v", sent, sink.bytes, refused)
		}
		if again := watch.wrote(); again && !sent {
			t.Fatal("told as not sent, and later as sent")
		}
	}
}

// TestWhatOthersSendIsTheirs: a connection that was given back unused carries the next
// request.
func TestWhatOthersSendIsTheirs(t *testing.T) {
	conn := &countedConn{Conn: new(sinkConn)}
	first, next := new(wireWatch), new(wireWatch)
	info := httptrace.GotConnInfo{Conn: &endingConn{Conn: conn, wire: conn}}
	first.got(info)
	first.gaveBack()
	next.got(info)
	if first.wrote() {
		t.Error("told as sent before anything was")
	}
	if _, err := conn.Write([]byte("POST")); err != nil {
		t.Fatal(err)
	}
	if first.wrote() || !next.wrote() {
		t.Errorf("told as sent: %v and %v", first.wrote(), next.wrote())
	}
}

// TestEndOverTLSComesWithTheLastWords: a connection that was closed for writing is
// not kept a moment too long, during which it would be given another request.
func TestEndOverTLSComesWithTheLastWords(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, words := range [][]string{{"0\r\n\r\n"}, {strings.Repeat("a", 40_000), "0\r\n\r\n"}, {"data: a\n\n", "data: b\n\n", "0\r\n\r\n"}} {
		ours, theirs := net.Pipe()
		conn := &countedConn{Conn: ours}
		client := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		done := make(chan error)
		go func() {
			upstream := tls.Server(theirs, &tls.Config{Certificates: server.TLS.Certificates})
			err := upstream.Handshake()
			for _, word := range words {
				_, wrote := io.WriteString(upstream, word)
				err = errors.Join(err, wrote)
			}
			done <- errors.Join(err, upstream.Close())
		}()
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn.last.Store(true)
		above := &endingConn{Conn: client, wire: conn}
		want, got := strings.Join(words, ""), ""
		for buffer, err := make([]byte, 4<<10), error(nil); err == nil; {
			var n int
			n, err = above.Read(buffer)
			got += string(buffer[:n])
			if got == want && err == nil {
				t.Errorf("the end of %d words is not known with the last", len(words))
			}
		}
		if err := <-done; got != want || err != nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
}

// sinkConn counts the bytes that leave.
type sinkConn struct {
	net.Conn
	bytes int
}

func (c *sinkConn) Write(b []byte) (int, error) {
	c.bytes += len(b)
	return len(b), nil
}
