package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

const (
	// defaultConnections is how many clients' connections are open at most where the
	// system allows the process enough files.
	defaultConnections = 16_384
	// reservedFiles are left for the ledger, the log and the operators' listener.
	reservedFiles = 128
	// filesEach are what a client's connection may need: its own and its upstream's.
	filesEach = 2
)

// connections keeps the clients' connections below a number. Where one more comes,
// the one that has been quiet for longest is closed: between two requests, or
// before its first. If all are busy that is the new one.
type connections struct {
	most int

	mu    sync.Mutex
	open  map[net.Conn]*list.Element // in quiet; nil: busy
	quiet *list.List                 // longest first
}

func newConnections(most int) *connections {
	return &connections{most: most, open: map[net.Conn]*list.Element{}, quiet: list.New()}
}

// watch is for http.Server.ConnState.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	if extra := c.note(conn, state); extra != nil {
		hangUp(extra)
	}
}

// note returns the connection to close, if one is too many.
func (c *connections) note(conn net.Conn, state http.ConnState) (extra net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.open[conn]; at != nil {
		c.quiet.Remove(at)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = c.quiet.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	default:
		delete(c.open, conn)
	}
	if len(c.open) <= c.most || c.quiet.Len() == 0 {
		return nil
	}
	extra = c.quiet.Remove(c.quiet.Front()).(net.Conn)
	delete(c.open, extra)
	return extra
}

// hangUp closes a connection without a word: TLS would wait for its client.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}

// connectionsWithin is how many clients' connections so many open files are enough
// for; at most defaultConnections, at least 1.
func connectionsWithin(files uint64) int {
	if files <= reservedFiles+filesEach {
		return 1
	}
	return int(min((files-reservedFiles)/filesEach, defaultConnections))
}
