package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/client"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	firstEvent = `data: {"id":"c","model":"toy","choices":[{"index":0,"delta":{"content":"Hi"}}]}` + "\n\n"
	lastEvents = `data: {"id":"c","model":"toy","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}` + "\n\ndata: [DONE]\n\n"
)

// upstream is one that stops in the middle of a stream until it may go on.
type upstream struct {
	goOn chan struct{} // closed: it sends the rest
	gone chan struct{} // closed when its caller has hung up meanwhile
	over chan struct{} // nil, or closed: it ends the answer that is complete
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, firstEvent)
	w.(http.Flusher).Flush()
	select {
	case <-u.goOn:
		io.WriteString(w, lastEvents)
		if u.over != nil {
			w.(http.Flusher).Flush()
			<-u.over
		}
	case <-r.Context().Done():
		close(u.gone)
	}
}

// stage is one call of a program to such an upstream.
type stage struct {
	*world
	*upstream
	ctx    context.Context
	cancel context.CancelFunc
}

// ask sends the call and reads its first event.
func (s *stage) ask() *http.Response {
	s.t.Helper()
	resp, err := (&http.Client{Transport: s.client}).Do(s.request(s.ctx, chatPath, streaming))
	s.must(err)
	first := make([]byte, len(firstEvent))
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != firstEvent {
		s.t.Fatalf("read %q: %v", first, err)
	}
	return resp
}

// below replaces what sends.
type below func(*http.Request) (*http.Response, error)

func (b below) RoundTrip(r *http.Request) (*http.Response, error) { return b(r) }

type reader struct {
	io.Reader
	read func() error
}

func (r reader) Read([]byte) (int, error) { return 0, r.read() }
func (r reader) Close() error             { return nil }

func answerFrom(read func() error) below {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		return &http.Response{StatusCode: 200, ProtoMajor: 1, Header: h, ContentLength: -1, Body: reader{read: read}, Request: r}, nil
	}
}

var errBroke = errors.New("it broke")

// caught is what a function panics with.
func caught(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// cancels has nobody wait for a drain.
const cancels = ample + ", on_disconnect: cancel, drain_limit: 10m"

// TestEveryCallEndsOnce: however it ends, on what is known by then, and nothing stays held.
func TestEveryCallEndsOnce(t *testing.T) {
	for _, row := range []struct {
		name, tenant string
		program      func(*testing.T, *stage)
		basis        string
	}{
		{"read to its end", ample, func(t *testing.T, s *stage) {
			resp := s.ask()
			close(s.goOn)
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "data: [DONE]\n\n" {
				t.Errorf("read %q: %v", rest, err)
			}
			resp.Body.Close()
		}, audit.BasisReported},
		{"read to its end and not closed", ample, func(t *testing.T, s *stage) {
			resp := s.ask()
			close(s.goOn)
			io.ReadAll(resp.Body)
		}, audit.BasisReported},
		{"closed early", ample, func(t *testing.T, s *stage) {
			resp := s.ask()
			resp.Body.Close()
			resp.Body.Close()
			if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
				t.Errorf("read on: %v", err)
			}
			close(s.goOn)
		}, audit.BasisReported},
		{"closed early, and never over", ample + ", drain_limit: 1ms", func(t *testing.T, s *stage) {
			s.ask().Body.Close()
			<-s.gone
		}, audit.BasisUnknown},
		{"closed early, where the policy cancels", cancels, func(t *testing.T, s *stage) {
			s.ask().Body.Close()
			<-s.gone
		}, audit.BasisUnknown},
		{"its context ends", ample, func(t *testing.T, s *stage) {
			resp := s.ask()
			s.cancel()
			if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("read on: %v", err)
			}
			close(s.goOn)
		}, audit.BasisReported},
		{"its context ends, where the policy cancels", cancels, func(t *testing.T, s *stage) {
			s.ask()
			s.cancel()
			<-s.gone
		}, audit.BasisUnknown},
		{"the program panics", ample, func(t *testing.T, s *stage) {
			if v := caught(func() { defer s.ask().Body.Close(); panic(errBroke) }); v != errBroke {
				t.Error(v)
			}
			close(s.goOn)
		}, audit.BasisReported},
		{"its context ends before an answer", cancels, func(t *testing.T, s *stage) {
			s.client.Base = below(func(r *http.Request) (*http.Response, error) {
				s.cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			if _, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}, audit.BasisUnknown},
		{"nobody listens", ample, func(t *testing.T, s *stage) {
			s.up.Close()
			if _, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello)); err == nil {
				t.Error("no error")
			}
		}, audit.BasisUnbilled},
		{"nobody listens, behind a wrapped transport", ample, func(t *testing.T, s *stage) {
			s.up.Close()
			s.client.Base = below(s.base.RoundTrip)
			if _, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello)); err == nil {
				t.Error("no error")
			}
		}, audit.BasisUnbilled},
		{"the upstream hangs up without an answer", ample, func(t *testing.T, s *stage) {
			s.client.Base = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() { theirs.Read(make([]byte, 1)); theirs.Close() }()
				return ours, nil
			}}
			if _, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello)); err == nil {
				t.Error("no error")
			}
		}, audit.BasisUnknown},
		{"the transport fails", ample, func(t *testing.T, s *stage) {
			s.client.Base = below(func(*http.Request) (*http.Response, error) { return nil, errBroke })
			if _, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello)); !errors.Is(err, errBroke) {
				t.Errorf("got %v", err)
			}
		}, audit.BasisUnknown},
		{"the transport panics", ample, func(t *testing.T, s *stage) {
			s.client.Base = below(func(*http.Request) (*http.Response, error) { panic(errBroke) })
			if v := caught(func() { s.client.RoundTrip(s.request(s.ctx, chatPath, hello)) }); v != errBroke {
				t.Error(v)
			}
		}, audit.BasisUnknown},
		{"the answer breaks off", ample, func(t *testing.T, s *stage) {
			s.client.Base = answerFrom(func() error { return errBroke })
			if _, err := s.readAll(); !errors.Is(err, errBroke) {
				t.Errorf("got %v", err)
			}
		}, audit.BasisUnknown},
		{"the answer is empty", ample, func(t *testing.T, s *stage) {
			s.client.Base = answerFrom(func() error { return io.EOF })
			if body, err := s.readAll(); err != nil || body != "" {
				t.Errorf("got %q, %v", body, err)
			}
		}, audit.BasisUnknown},
		{"the answer's reader panics", ample, func(t *testing.T, s *stage) {
			s.client.Base = answerFrom(func() error { panic(errBroke) })
			if v := caught(func() { s.readAll() }); v != errBroke {
				t.Error(v)
			}
		}, audit.BasisUnknown},
		{"compressed, which nobody asked for", ample, func(t *testing.T, s *stage) {
			s.client.Base = coded("gzip", "no gzip at all, but it passes")
			if body, err := s.readAll(); err != nil || body != "no gzip at all, but it passes" {
				t.Errorf("got %q, %v", body, err)
			}
		}, audit.BasisUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t, row.tenant)
			row.program(t, s)
			s.mustHaveEnded(row.basis)
		})
	}
}

// TestAnswerThatStandsStill: one that the program neither reads nor closes, and one that
// stops to come, end as if it had been closed. Nothing else would ever end them.
func TestAnswerThatStandsStill(t *testing.T) {
	for _, row := range []struct {
		name, tenant string
		upstream     func(*stage)
		basis        string
	}{
		{"not read, and drained", ample, func(s *stage) { close(s.goOn) }, audit.BasisReported},
		{"not read, where the policy cancels", cancels, func(s *stage) { <-s.gone }, audit.BasisUnknown},
		{"not over within the drain limit", ample + ", drain_limit: 1ms", func(s *stage) { <-s.gone }, audit.BasisUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t, row.tenant)
			s.client.IdleTimeout = 1
			resp, err := s.client.RoundTrip(s.request(context.Background(), chatPath, streaming))
			s.must(err)
			row.upstream(s)
			s.mustHaveEnded(row.basis)
			if _, err := io.ReadAll(resp.Body); !errors.Is(err, client.ErrIdle) {
				t.Errorf("read on: %v", err)
			}
		})
	}
	t.Run("read, and it comes no more", func(t *testing.T) {
		s := newStage(t, cancels)
		s.client.IdleTimeout = 1
		resp, err := s.client.RoundTrip(s.request(context.Background(), chatPath, streaming))
		s.must(err)
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, client.ErrIdle) {
			t.Errorf("read %v", err)
		}
		s.mustHaveEnded(audit.BasisUnknown)
	})
}

// readAll makes a call that is not streamed and reads its answer.
func (s *stage) readAll() (string, error) {
	resp, err := s.client.RoundTrip(s.request(s.ctx, chatPath, hello))
	s.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func coded(coding, body string) below {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Encoding": {coding}}
		return &http.Response{StatusCode: 200, ProtoMajor: 1, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// TestKillSwitchCuts: in the shape of the API, before an answer and in the middle of one.
func TestKillSwitchCuts(t *testing.T) {
	const tenant = ample + ", on_kill: cut"
	throw := func(s *stage) {
		_, err := s.ledger.Throw(t.Context(), "acme", policy.TenantSwitch)
		s.must(err)
		s.gate.CutKilled(t.Context())
	}
	for name, program := range map[string]func(*testing.T, *stage) string{
		"before an answer": func(t *testing.T, s *stage) string {
			s.client.Base = below(func(r *http.Request) (*http.Response, error) {
				throw(s)
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			resp, body := s.do(s.request(s.ctx, chatPath, hello))
			if resp.StatusCode != http.StatusForbidden || resp.Header.Get("X-Aegis-Decision") != "error" {
				t.Errorf("%d %v", resp.StatusCode, resp.Header)
			}
			return body
		},
		"in the middle": func(t *testing.T, s *stage) string {
			resp := s.ask()
			throw(s)
			rest, err := io.ReadAll(resp.Body)
			if _, ok := errors.AsType[*call.Denial](err); !ok {
				t.Errorf("ended by %v", err)
			}
			return string(rest)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tenant)
			if said := program(t, s); !strings.Contains(said, "kill switch") {
				t.Errorf("said %q", said)
			}
			s.mustHaveEnded(audit.BasisUnknown)
		})
	}
}

func newStage(t *testing.T, tenant string) *stage {
	u := &upstream{goOn: make(chan struct{}), gone: make(chan struct{})}
	s := &stage{world: newWorld(t, setting{tenant: tenant, handler: u}), upstream: u}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	t.Cleanup(s.cancel)
	return s
}
