package proxy

import (
	"errors"
	"net"
	"net/http/httptrace"
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
		watch.got(httptrace.GotConnInfo{Conn: conn})
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
	first.got(httptrace.GotConnInfo{Conn: conn})
	first.gaveBack()
	next.got(httptrace.GotConnInfo{Conn: conn})
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

// sinkConn counts the bytes that leave.
type sinkConn struct {
	net.Conn
	bytes int
}

func (c *sinkConn) Write(b []byte) (int, error) {
	c.bytes += len(b)
	return len(b), nil
}
