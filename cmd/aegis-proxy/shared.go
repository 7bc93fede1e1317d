package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// sharedKeyEnv is the variable that has the tenant's key of a shared proxy. The
	// proxy of a run reads it from there, as it does any upstream's.
	sharedKeyEnv = "AEGIS_PROXY_KEY"
	// answerLimit bounds how long a shared proxy may take to answer a probe.
	answerLimit = 10 * time.Second
	// keyFileMost bounds a file with a key, in bytes.
	keyFileMost = 16 << 10
)

// shared is a proxy that several programs go through: a team's, or that of a day.
type shared struct{ url, key string }

// openShared is the proxy at a URL, if it answers and knows the key, which stands in the
// environment or in a file.
func openShared(ctx context.Context, address, keyFile string) (*shared, error) {
	if err := checkProxy(address); err != nil {
		return nil, err
	}
	key, err := sharedKey(keyFile)
	if err != nil {
		return nil, err
	}
	p := &shared{strings.TrimRight(address, "/"), key}
	if err := p.introduce(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// introduce makes sure that a proxy is there, and then that it knows the key: who is none
// gets no key to see.
func (p *shared) introduce(ctx context.Context) error {
	status, ours, err := p.probe(ctx, "")
	switch {
	case err != nil:
		return fmt.Errorf("--proxy: no answer; is it running, and is the URL right? %w", err)
	case !ours || status != http.StatusUnauthorized:
		return fmt.Errorf("--proxy: what answers at %s is no aegis-proxy, so the key was not sent there; "+
			"give the address of its --listen, not that of its --admin-listen", p.url)
	}
	status, ours, err = p.probe(ctx, p.key)
	switch {
	case err != nil:
		return fmt.Errorf("--proxy: no answer to the key: %w", err)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("--proxy: %s does not know the key in %s or --key-file", p.url, sharedKeyEnv)
	case !ours || status >= http.StatusInternalServerError:
		return fmt.Errorf("--proxy: %s answers the key with status %d; its operator's log says why", p.url, status)
	}
	return nil
}

// checkProxy refuses what is no URL of a proxy. It repeats nothing: a URL may have a secret.
func checkProxy(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil, strings.ContainsAny(text, "?#"):
		return errors.New("--proxy: want the URL of a proxy, as in http://localhost:8080")
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1"):
		return errors.New("--proxy: want the URL of a proxy without /v1 at its end, as in http://localhost:8080")
	case path.Base(path.Dir(path.Clean(u.Path))) == "run":
		return errors.New("--proxy: want the URL of a proxy without /run/... at its end, as in http://localhost:8080: each run gets a name of its own")
	}
	return nil
}

// unencrypted says whether what goes to a URL can be read on its way there.
func unencrypted(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.Unmap().IsLoopback())
}

// sharedKey reads the key, which never stands on a command line.
func sharedKey(file string) (string, error) {
	if file == "" {
		if key := strings.TrimSpace(os.Getenv(sharedKeyEnv)); key != "" {
			return key, nil
		}
		return "", fmt.Errorf("--proxy: no key; set %s to the tenant's, or name a file that has it with --key-file", sharedKeyEnv)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, keyFileMost))
	if key := strings.TrimSpace(string(text)); err == nil && key != "" {
		return key, nil
	}
	return "", errors.Join(fmt.Errorf("--key-file: %s holds no key", file), err)
}

// prober follows no redirect: it would lead to where the key is not meant to go.
var prober = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// probe asks for the models, which costs nothing and needs a key; "" sends none. ours says that
// the answer has the header that every answer of a proxy of this kind has.
func (p *shared) probe(ctx context.Context, key string) (status int, ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/v1/models", nil)
	if err != nil {
		return 0, false, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := prober.Do(req)
	if err != nil {
		return 0, false, err
	}
	return resp.StatusCode, resp.Header.Get(admission.DecisionHeader) != "", resp.Body.Close()
}

// door is where a run's program finds it.
func (p *shared) door(run string) doorway { return doorway{root: p.url + "/run/" + run, key: p.key} }

// through are vendors as they are reached through it by a run.
func (p *shared) through(vendors []policy.Vendor, run string) ([]policy.Vendor, error) {
	list := make([]policy.Vendor, len(vendors))
	for i, v := range vendors {
		v.BaseURL, v.KeyEnv, v.KeyHeader = p.door(run).upstream(v), sharedKeyEnv, ""
		list[i] = v
	}
	return list, os.Setenv(sharedKeyEnv, p.key)
}

// guest is a run that a shared proxy governs alone.
type guest struct {
	*shared
	run string
}

func (g *guest) door() doorway { return g.shared.door(g.run) }

// end: what was spent the proxy's operator knows.
func (g *guest) end(context.Context) (*statement, error) {
	return &statement{Run: g.run, Proxy: g.url}, nil
}
