package main

import (
	"errors"
	"fmt"
	"maps"

	"github.com/spf13/pflag"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// signerFlag names the key files of the logs at hand. Each is read once, since it
// may be a pipe.
func (c *verifyConfig) signerFlag(f *pflag.FlagSet, usage string) {
	f.StringArrayVar(&c.SignerPaths, "signing-key", nil, usage)
}

// loadSigners reads the key files that were named.
func (c *verifyConfig) loadSigners() ([]audit.Signer, error) {
	for _, path := range c.SignerPaths[len(c.signers):] {
		signer, err := audit.LoadSigner(path)
		if err != nil {
			return nil, err
		}
		c.signers = append(c.signers, signer)
	}
	return c.signers, nil
}

// allKeys are the keys that are trusted: those of the named files, and of the keys
// files of all paths, since each replica may have one of its own. One of these has
// to be there, unless a key file was named.
func (c *verifyConfig) allKeys(paths []string) (audit.Keys, error) {
	signers, err := c.loadSigners()
	if err != nil {
		return nil, err
	}
	keys := audit.Keys{}
	if c.KeysPath != "" { // read once: it may be a pipe
		paths = paths[:1]
	}
	var missing error
	for _, path := range paths {
		more, err := readKeys(c.KeysPath, path)
		switch {
		case errors.Is(err, errNoKeys):
			missing = err
		case err != nil:
			return nil, err
		}
		maps.Copy(keys, more)
	}
	for _, signer := range signers { // last: a keys file has no secrets
		keys[signer.Key().ID] = signer.Key()
	}
	if len(keys) == 0 {
		return nil, missing
	}
	return keys, nil
}

// authorities are those that can sign for strangers with a named key, or where none
// is named, with the one that belongs to a directory of receipts.
func (c *verifyConfig) authorities(dir string) ([]*gate.Authority, error) {
	signers, err := c.loadSigners()
	if err != nil {
		return nil, err
	}
	if len(signers) > 0 {
		return authoritiesOf(signers)
	}
	path, err := findSigningKey("", dir)
	if err != nil {
		return nil, err
	}
	own, err := audit.LoadSigner(path)
	if err != nil {
		return nil, err
	}
	return authoritiesOf([]audit.Signer{own})
}

// authoritiesOf leaves out keys that strangers could not check. Where all are such
// keys it says why.
func authoritiesOf(signers []audit.Signer) (able []*gate.Authority, err error) {
	for _, signer := range signers {
		authority, bad := gate.NewAuthority(issuer, signer)
		if bad != nil {
			err = bad
			continue
		}
		able = append(able, authority)
	}
	if len(able) > 0 {
		err = nil
	}
	return able, err
}

// oneAuthority is the one that is to sign.
func (c *verifyConfig) oneAuthority(dir string) (*gate.Authority, error) {
	list, err := c.authorities(dir)
	if err != nil {
		return nil, err
	}
	if len(list) > 1 {
		return nil, fmt.Errorf("%d keys could sign: name one of %s with --signing-key, and those of %s that sealed the receipts",
			len(list), audit.AlgEd25519, audit.AlgHMAC)
	}
	return list[0], nil
}
