package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dialLimit bounds the way to a connection, with TLS. It is below DefaultTimeout, so
// that a verb fails because of what did not answer and not of its own deadline. The
// URL's dial_timeout replaces it.
const dialLimit = time.Second

// dialer makes connections, over TLS if it has a configuration of that.
type dialer struct {
	tls   *tls.Config // nil: plain
	name  string      // the first host of the URL
	limit time.Duration
}

// secure has the dialer use TLS. What the caller does not say is as Go has it: the
// system's authorities, and no certificate.
func (d *dialer) secure(config *tls.Config) {
	if config == nil {
		config = &tls.Config{}
	}
	d.tls = config.Clone()
	d.tls.MinVersion = max(d.tls.MinVersion, tls.VersionTLS12)
}

// within sets the limit that a URL names, if it does.
func (d *dialer) within(limit time.Duration) {
	if limit > 0 {
		d.limit = limit
	}
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	var plain net.Dialer
	conn, err := plain.DialContext(ctx, network, address)
	if err != nil || d.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.configFor(address))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: conn.RemoteAddr(), Err: d.explain(err)}
	}
	return secure, nil
}

// configFor demands that the server proves to be the host that was dialled. A cluster
// or a sentinel may announce a bare address where the URL has a name: then it is that
// name.
func (d *dialer) configFor(address string) *tls.Config {
	config := d.tls.Clone()
	if config.ServerName != "" {
		return config
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if net.ParseIP(host) != nil && net.ParseIP(d.name) == nil && d.name != "" {
		host = d.name
	}
	config.ServerName = host
	return config
}

// explain says of a handshake that failed what a server without TLS looks like.
func (d *dialer) explain(err error) error {
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS):
		return fmt.Errorf("the server does not speak TLS, as rediss:// wants; redis:// is without: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no TLS handshake within %v; if the server does not speak TLS, the URL begins with redis://: %w", d.limit, err)
	}
	return fmt.Errorf("TLS: %w", err)
}
