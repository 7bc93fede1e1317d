package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

const (
	// issuer names those whose authorizations these are.
	issuer = "aegis-proxy"

	// keySetPath is where strangers find the keys of authorizations.
	keySetPath = "/.well-known/aegis-keys.json"
)

// signingKeys are what receipts and authorizations are signed with.
type signingKeys struct {
	current  audit.Signer
	retiring audit.Signer // nil: none
}

func loadKeys(c stackConfig) (keys signingKeys, err error) {
	path := c.SigningKey
	if path == "" {
		path = filepath.Join(c.DataDir, signingKeyFile)
	}
	keys.current, err = audit.LoadSigner(path)
	if errors.Is(err, os.ErrNotExist) {
		return keys, fmt.Errorf("no signing key at %s: name the right directory with --data, or the key with --signing-key; aegis-proxy init --data %s makes a new one", path, c.DataDir)
	}
	if err != nil || c.Retiring == "" {
		return keys, err
	}
	keys.retiring, err = audit.LoadSigner(c.Retiring)
	return keys, err
}

// authority signs authorizations, or is nil where strangers could not check
// what the key signs.
func (k signingKeys) authority() *gate.Authority {
	var retired []audit.Key
	if k.retiring != nil {
		retired = append(retired, k.retiring.Key())
	}
	a, err := gate.NewAuthority(issuer, k.current, retired...)
	if err != nil {
		return nil
	}
	return a
}

// keySet answers with the keys of authorizations. There are none where the
// signing key is a secret.
func (s *stack) keySet(w http.ResponseWriter, r *http.Request) {
	if s.authority == nil {
		http.NotFound(w, r)
		return
	}
	set, err := s.authority.KeySet()
	if err != nil {
		http.Error(w, "key set unavailable", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(set)
}
