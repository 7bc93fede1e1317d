package policy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// maxSecretBytes bounds an upstream's API key.
const maxSecretBytes = 16 << 10

// Defaults of an upstream.
const (
	defaultConnect = 5 * time.Second
	// uvicorn (vLLM, LiteLLM) and Node close a connection that was idle for 5 s. A
	// request that is written to one at that moment is lost, and charged its hold.
	defaultKeepalive = 4 * time.Second
	defaultHeader    = 10 * time.Minute
	defaultIdle      = 5 * time.Minute
)

// String returns the upstream's name: where its key comes from stays out of
// logs.
func (u Upstream) String() string { return u.Name }

// GoString returns the upstream's name.
func (u Upstream) GoString() string { return u.Name }

// LogValue returns the upstream's name and address.
func (u Upstream) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", u.Name), slog.String("base_url", u.BaseURL))
}

// ErrNoCredential: an upstream takes the client's own credential, and there is none.
var ErrNoCredential = errors.New("the client has no credential of its own")

// Sign puts into the header of a request that leaves what its upstream takes for a
// credential: the headers by which the client says who pays, or the upstream's own key, if
// it needs one, read anew from its environment variable or file. Neither is ever sent in the
// other's place.
func (u *Upstream) Sign(header, payer map[string][]string) error {
	if u.ClientPays {
		maps.Copy(header, payer)
		if len(payer) == 0 {
			return fmt.Errorf("upstream %s: %w", u.Name, ErrNoCredential)
		}
		return nil
	}
	secret, err := u.Secret()
	if err != nil || secret == "" {
		return err
	}
	if u.KeyHeader != "" {
		header[u.KeyHeader] = []string{secret}
	} else {
		header["Authorization"] = []string{"Bearer " + secret}
	}
	return nil
}

func (l *loader) upstreams(root *yaml.Node, doc *fileDoc) {
	if !l.require(root, &doc.Upstreams.entry, "upstreams", "list where requests are sent") {
		return
	}
	for n, d := range doc.Upstreams.read(&l.reader) {
		u := l.upstream(n, d)
		if u.Name == "" {
			continue
		}
		if l.taken("upstream", u.Name, &d.Name.entry) {
			continue
		}
		l.policy.Upstreams[u.Name] = u
	}
}

func (l *loader) upstream(n *yaml.Node, d *upstreamDoc) *Upstream {
	u := &Upstream{
		KeyHeader:    l.header(&d.KeyHeader),
		ClientPays:   l.clientPays(d),
		Authorized:   l.flag(&d.AttachAuthorization, false),
		ConnectLimit: l.duration(&d.ConnectTimeout, defaultConnect, time.Millisecond, maxConnect),
		Keepalive:    l.duration(&d.KeepaliveTimeout, defaultKeepalive, time.Millisecond, maxConnect),
		HeaderLimit:  l.duration(&d.HeaderTimeout, defaultHeader, time.Millisecond, maxResponse),
		IdleLimit:    l.duration(&d.IdleTimeout, defaultIdle, time.Millisecond, maxResponse),
		secret:       l.secret(d),
	}
	l.billing(u, d)
	if l.require(n, &d.Name.entry, "name", "models and tenants refer to it") {
		u.Name = l.name(&d.Name)
	}
	if l.require(n, &d.BaseURL.entry, "base_url", "write one as in https://api.openai.com/v1") {
		u.BaseURL = l.baseURL(&d.BaseURL)
	}
	if l.require(n, &d.Provider.entry, "provider", "say whose prices apply, as in openai") {
		u.Provider = l.name(&d.Provider)
	}
	l.speeches(n, u, d)
	return u
}

// clientPays reports whether the upstream takes the client's own credential.
func (l *loader) clientPays(d *upstreamDoc) bool {
	if choice(&l.reader, &d.Credential, "proxy", "proxy", "client") != "client" {
		return false
	}
	for _, key := range [...]struct {
		field string
		s     *scalar
	}{{"api_key_env", &d.APIKeyEnv}, {"api_key_file", &d.APIKeyFile}, {"key_header", &d.KeyHeader}} {
		if key.s.given() {
			l.refuse(&key.s.entry, "%s has no use beside credential: client, since no key of the proxy is ever sent there; remove one of them", key.field)
		}
	}
	return true
}

// header reads the name of a header, and returns it canonical; "" where none is given.
func (l *loader) header(s *scalar) string {
	text, ok := l.text(s)
	if !ok {
		return ""
	}
	if text == "" || len(text) > maxNameBytes || !only(text, "-") {
		l.refuse(&s.entry, "%s is no header's name; write one as in x-api-key", quote(text))
		return ""
	}
	return textproto.CanonicalMIMEHeaderKey(text)
}

// baseURL returns an absolute HTTP URL without a slash at its end. What it
// refuses could carry a secret, so it never repeats the text.
func (l *loader) baseURL(s *scalar) string {
	text, ok := l.text(s)
	if !ok {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		l.refuse(&s.entry, "not a URL that can be called; write one as in https://api.openai.com/v1")
	case u.User != nil:
		l.refuse(&s.entry, "a URL with a user or password; name the key in api_key_env or api_key_file")
	case strings.ContainsAny(text, "?#"):
		l.refuse(&s.entry, "a URL with a query or fragment; end it with its path, as in /v1")
	}
	return strings.TrimRight(text, "/")
}

// secret returns how to read the upstream's key, or nil if it has none.
func (l *loader) secret(d *upstreamDoc) func() (string, error) {
	if d.APIKeyEnv.given() && d.APIKeyFile.given() {
		l.refuse(&d.APIKeyFile.entry, "api_key_env is given too; remove one of them")
		return nil
	}
	if variable, ok := l.text(&d.APIKeyEnv); ok {
		if !isVariable(variable) {
			l.refuse(&d.APIKeyEnv.entry, "not the name of an environment variable; write one as in OPENAI_API_KEY, never the key itself")
			return nil
		}
		return func() (string, error) { return secretFromEnv(variable) }
	}
	if path, ok := l.text(&d.APIKeyFile); ok {
		if path == "" || strings.HasPrefix(path, "sk-") {
			l.refuse(&d.APIKeyFile.entry, "not a file; write its path, as in /run/secrets/openai, never the key itself")
			return nil
		}
		return func() (string, error) { return secretFromFile(path) }
	}
	return nil
}

func isVariable(name string) bool {
	return name != "" && len(name) <= 2*maxNameBytes && only(name, "_") && (name[0] < '0' || name[0] > '9')
}

// ErrNoKey: an upstream's key is not where the policy says, or is none.
var ErrNoKey = errors.New("no API key")

func secretFromEnv(variable string) (string, error) {
	secret, err := cleanSecret(os.Getenv(variable))
	if err != nil {
		return "", fmt.Errorf("%w: environment variable %s %w; set it to the provider's key and start again", ErrNoKey, variable, err)
	}
	return secret, nil
}

func secretFromFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w; write the provider's key into that file", ErrNoKey, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w; write the provider's key into that file", ErrNoKey, err)
	}
	secret, err := cleanSecret(string(data))
	if err != nil {
		return "", fmt.Errorf("%w: file %s %w; write the provider's key into it", ErrNoKey, path, err)
	}
	return secret, nil
}

// cleanSecret returns a key without the white space around it. It must fit
// into an HTTP header.
func cleanSecret(text string) (string, error) {
	if len(text) > maxSecretBytes {
		return "", fmt.Errorf("is longer than %d bytes", maxSecretBytes)
	}
	secret := strings.TrimSpace(text)
	if secret == "" {
		return "", errors.New("is empty or not set")
	}
	if strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", errors.New("holds a character that no key has, such as a space or a line break")
	}
	return secret, nil
}
