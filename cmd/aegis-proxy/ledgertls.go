package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// ledgerTLS is how a shared ledger is known, and how it knows the proxy.
type ledgerTLS struct {
	CA   string // file of authorities; "": the system's
	Cert string // file of the client certificate; "": none
	Key  string
}

func (c *ledgerTLS) flags(f *pflag.FlagSet) {
	f.StringVar(&c.CA, "ledger-ca", "", "file of the authorities that may vouch for a rediss:// ledger (default: the system's)")
	f.StringVar(&c.Cert, "ledger-cert", "", "client certificate file for a rediss:// ledger; with --ledger-key")
	f.StringVar(&c.Key, "ledger-key", "", "key file of --ledger-cert")
}

// load reads the files; nil where none is named.
func (c *ledgerTLS) load() (*tls.Config, error) {
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("--ledger-cert and --ledger-key go together: give both, or neither")
	}
	if c.CA == "" && c.Cert == "" {
		return nil, nil
	}
	config := &tls.Config{}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("--ledger-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ledger-ca: %s has no certificate in PEM", c.CA)
		}
	}
	if c.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("--ledger-cert %s, --ledger-key %s: %w", c.Cert, c.Key, err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}
