package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
func (w *world) shoot(t testing.TB, r *replica, head, body string) response {
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

// deniedBodies are the dearest that are known to count or to read, each of a tenant
// without budget.
var deniedBodies = sync.OnceValue(func() []struct{ name, body string } {
	return []struct{ name, body string }{
		{"spaces, gpt-4", bodyOf("gpt-4", `\n`+strings.Repeat(" ", 2000), volleyBody)},
		{"spaces, gpt-4.1", bodyOf("gpt-4.1", `x\n`+strings.Repeat(" ", 2000), volleyBody)},
		{"one letter, gpt-4o-mini", bodyOf("gpt-4o-mini", "a", volleyBody)},
		{"letters, gpt-4.1", bodyOf("gpt-4.1", "qzjxkvbwpfmgyuclhrdsnioateqj", volleyBody)},
		{"words of 47 letters, gpt-4.1", bodyOf("gpt-4.1", `\tqzjxkvbwpfmgyuclhrdsnioateqjzxwvkbqpfmgyulchdrsn`, volleyBody)},
		{"prose, gpt-4.1", bodyOf("gpt-4.1", "The committee met on Tuesday, as it had every week. ", volleyBody)},
		{"tabs, gpt-4o-mini", bodyOf("gpt-4o-mini", `\t`, volleyBody)},
		{"escapes, gpt-4.1", bodyOf("gpt-4.1", `\u00e9`, volleyBody)},
		{"Chinese, gpt-4.1", bodyOf("gpt-4.1", "委员会每周二开会讨论预算", volleyBody)},
		{"tool arguments", strings.Replace(strings.Replace(bodyOf("gpt-4o-mini", `a\n`, volleyBody-100), `"role":"user","content":"`, `"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"`, 1), `"}`, `"}}]}`, 1)},
		{"objects", strings.Replace(bodyOf("gpt-4o-mini", "a", 1<<10), `"messages"`, `"x":[`+strings.Repeat(`{"a":1},`, volleyBody/8)+`1],"messages"`, 1)},
		{"numbers", strings.Replace(bodyOf("gpt-4o-mini", "a", 1<<10), `"messages"`, `"x":[`+strings.Repeat("1,", volleyBody/2)+`1],"messages"`, 1)},
	}
})

// BenchmarkDeniedBody measures the CPU time of the proxy's process that one body of
// 49 MB costs, of a tenant without budget.
func BenchmarkDeniedBody(b *testing.B) {
	withoutRaces(b)
	w := newWorld(b, simulator.Config{}, monthly(ample))
	poor := w.addTenant("poor", `budgets: [{name: none, window: forever, limit_usd: "0.000001"}]`)
	w.writePolicy(1, monthly(ample))
	r := w.start("replica0")
	for _, row := range deniedBodies() {
		b.Run(row.name, func(b *testing.B) {
			head := message{key: "Bearer " + poor, framing: fmt.Sprint("Content-Length: ", len(row.body))}.raw("")
			before := r.cpu()
			for b.Loop() {
				if got := w.shoot(b, r, head, row.body); got.status != 402 && got.status != 400 {
					b.Errorf("got %d %.300q", got.status, got.body)
				}
			}
			b.ReportMetric((r.cpu()-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// BenchmarkNeighbour measures the median time of small requests of a tenant, alone
// and during volleys of another without budget, as a ratio.
func BenchmarkNeighbour(b *testing.B) {
	withoutRaces(b)
	w := newWorld(b, simulator.Config{}, monthly(ample))
	poor := w.addTenant("poor", `budgets: [{name: none, window: forever, limit_usd: "0.000001"}]`)
	w.writePolicy(1, monthly(ample))
	r := w.start("replica0")
	for _, row := range deniedBodies() {
		b.Run(row.name, func(b *testing.B) {
			head := message{key: "Bearer " + poor, framing: fmt.Sprint("Content-Length: ", len(row.body))}.raw("")
			for b.Loop() {
				quiet := w.median(r)
				over := w.volleys(b, r, head, row.body)
				busy := w.median(r)
				over()
				b.ReportMetric(quiet.Seconds()*1000, "quiet-ms")
				b.ReportMetric(busy.Seconds()*1000, "busy-ms")
				b.ReportMetric(float64(busy)/float64(quiet), "ratio")
			}
		})
	}
}

// volleys sends a request again and again on six connections until over is called.
func (w *world) volleys(t testing.TB, r *replica, head, body string) (over func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var volleys sync.WaitGroup
	for range 6 {
		volleys.Go(func() {
			for ctx.Err() == nil {
				w.shoot(t, r, head, body)
			}
		})
	}
	return func() { cancel(); volleys.Wait() }
}

// median is that of 200 small calls with acme's key, one after the other.
func (w *world) median(r *replica) time.Duration {
	w.t.Helper()
	client := newClient(w.t)
	times := make([]time.Duration, 200)
	for i := range times {
		start := time.Now()
		got, err := w.send(context.Background(), client, r, request{cap: 5})
		if err != nil || got.status != 200 {
			w.t.Fatalf("%d %s, %v", got.status, got.body, err)
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// cpu is the processor time that the proxy's process has taken, by the kernel's
// count in hundredths of a second.
func (r *replica) cpu() time.Duration {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := int64(0)
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
