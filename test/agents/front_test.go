package agents

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// front stands between the clients and the proxies and counts what each client puts on
// the wire. A client's base URL begins with /run/NAME, which tells them apart.
type front struct {
	server *httptest.Server

	mu   sync.Mutex
	runs map[string]*traffic
}

// traffic is what one run of a client put on the wire.
type traffic struct {
	proxy *url.URL // where it goes

	mu        sync.Mutex
	exchanges []exchange
	watched   chan struct{} // closed at the first event that watch names
	watch     func(exchange, []byte) bool
	seen      bool
}

// exchange is one request and the status of its answer, 0 while there is none.
type exchange struct {
	Method, Path string
	Status       int
	Agent        string // the header User-Agent
}

// asks says whether the exchange is a call of a model, and no probe or list.
func (e exchange) asks() bool { return e.Method == http.MethodPost }

func newFront() *front {
	f := &front{runs: map[string]*traffic{}}
	relay := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(f.traffic(r.In.URL.Path).proxy)
			r.Out.Header.Del("X-Forwarded-For")
		},
		ModifyResponse: func(r *http.Response) error {
			t, at := f.traffic(r.Request.URL.Path), r.Request.Context().Value(placeKey{}).(int)
			e := t.answered(at, r.StatusCode)
			if r.StatusCode != http.StatusSwitchingProtocols {
				r.Body = &watchedBody{ReadCloser: r.Body, traffic: t, exchange: e}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := f.traffic(r.URL.Path)
		if t == nil {
			http.NotFound(w, r)
			return
		}
		relay.ServeHTTP(w, r.WithContext(withPlace(r.Context(), t.received(r))))
	}))
	return f
}

// open begins to count a run whose requests go to that proxy. watch is asked of each request, of
// its answer as that begins, and of every part of the answer's body; the channel watched is closed when it says yes.
func (f *front) open(run, proxy string, watch func(exchange, []byte) bool) *traffic {
	to, _ := url.Parse(proxy) // of a proxy that we started
	t := &traffic{proxy: to, watch: watch, watched: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs[run] = t
	return t
}

// traffic finds the run that a path names; nil for none.
func (f *front) traffic(path string) *traffic {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/run/"), "/")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[name]
}

func (t *traffic) received(r *http.Request) (place int) {
	t.mu.Lock()
	e := exchange{Method: r.Method, Path: r.URL.RequestURI(), Agent: r.UserAgent()}
	t.exchanges = append(t.exchanges, e)
	place = len(t.exchanges) - 1
	t.mu.Unlock()
	t.look(e, nil)
	return place
}

func (t *traffic) answered(place, status int) exchange {
	t.mu.Lock()
	t.exchanges[place].Status = status
	e := t.exchanges[place]
	t.mu.Unlock()
	t.look(e, nil)
	return e
}

func (t *traffic) look(e exchange, part []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.seen && t.watch != nil && t.watch(e, part) {
		t.seen = true
		close(t.watched)
	}
}

// all are the exchanges so far.
func (t *traffic) all() []exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]exchange(nil), t.exchanges...)
}

// watchedBody shows a response's body to its run's watch.
type watchedBody struct {
	io.ReadCloser
	traffic  *traffic
	exchange exchange
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.traffic.look(b.exchange, bytes.Clone(p[:n]))
	}
	return n, err
}

// placeKey is the key of a request's place among those of its run.
type placeKey struct{}

func withPlace(ctx context.Context, place int) context.Context {
	return context.WithValue(ctx, placeKey{}, place)
}
