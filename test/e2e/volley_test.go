package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const (
	// volleyBody is the size of one body of the volley, in bytes.
	volleyBody = 49 << 20
	// volleyMemory is what the whole proxy may take meanwhile, in bytes.
	volleyMemory = 1 << 30
	// volleyBodies come at once.
	volleyBodies = 25
)

// TestVolleyOfBodiesWithoutBudget: 25 bodies of 49 MB at once, of a tenant that
// has no budget, leave the proxy below 1 GiB. Each gets an answer, and another
// tenant is served all the while.
func TestVolleyOfBodiesWithoutBudget(t *testing.T) {
	withoutRaces(t)
	for _, row := range []struct{ name, model, piece, framing string }{
		{"spaces, with a length", "gpt-4", `\n` + strings.Repeat(" ", 2000), fmt.Sprint("Content-Length: ", volleyBody)},
		{"spaces, in chunks", "gpt-4o-mini", `\n` + strings.Repeat(" ", 2000), "Transfer-Encoding: chunked"},
		{"escapes", "gpt-4.1", `\t\u00e9`, fmt.Sprint("Content-Length: ", volleyBody)},
		{"one word", "gpt-4o-mini", "a", fmt.Sprint("Content-Length: ", volleyBody)},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(ample))
			poor := w.addTenant("poor", `budgets: [{name: none, window: forever, limit_usd: "0.000001"}]`)
			w.writePolicy(1, monthly(ample))
			r := w.start("replica0")
			volley := message{key: "Bearer " + poor, framing: row.framing}.raw("")
			body := bodyOf(row.model, row.piece, volleyBody)
			if strings.HasPrefix(row.framing, "Transfer") {
				body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			}
			answers := make(chan response, volleyBodies)
			var volleys sync.WaitGroup
			for range volleyBodies {
				volleys.Go(func() { answers <- w.shoot(t, r, volley, body) })
			}
			over := make(chan struct{})
			go func() { volleys.Wait(); close(over) }()
			served := w.serveUntil(over, r)
			statuses := map[int]int{}
			for range volleyBodies {
				a := <-answers
				statuses[a.status]++
				if !slices.Contains([]int{402, 429, 503}, a.status) {
					t.Errorf("got %d %.300q", a.status, a.body)
				}
				if a.status == 503 && (a.code() != "body_memory_full" || a.header.Get("Retry-After") == "") {
					t.Errorf("got 503 %v %.300q", a.header, a.body)
				}
			}
			if most := r.memory("VmHWM"); most > volleyMemory {
				t.Errorf("the proxy took %d MiB", most>>20)
			}
			t.Logf("answers %v, another tenant got %d, memory at most %d MiB", statuses, served, r.memory("VmHWM")>>20)
			if statuses[402] == 0 {
				t.Error("none had room")
			}
		})
	}
}

// bodyOf is a chat whose text is a piece again and again, of that size in all.
func bodyOf(model, piece string, size int) string {
	head := `{"model":"` + model + `","messages":[{"role":"user","content":"`
	const tail = `"}]}`
	text := strings.Repeat(piece, (size-len(head)-len(tail))/len(piece))
	fill := strings.Repeat(" ", size-len(head)-len(tail)-len(text))
	return head + text + tail[:len(tail)-1] + fill + tail[len(tail)-1:]
}

// shoot sends a request on a connection of its own, as far as it is taken, and
// returns the answer.
func (w *world) shoot(t *testing.T, r *replica, head, body string) response {
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Error(err)
		return response{}
	}
	defer conn.Close()
	go func() { // refused before its end, this fails
		if _, err := io.WriteString(conn, head); err == nil {
			_, _ = io.WriteString(conn, body)
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return response{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(text), err}
}

// serveUntil makes small calls with acme's key, one after the other, and at least
// one, and returns how many got an answer. Each must.
func (w *world) serveUntil(over <-chan struct{}, r *replica) (served int) {
	for {
		if got := w.must(r, request{cap: 5}); got.status != 200 {
			w.t.Fatalf("another tenant got %d %s", got.status, got.body)
		}
		served++
		select {
		case <-over:
			return served
		default:
		}
	}
}
