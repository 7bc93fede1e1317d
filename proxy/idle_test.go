package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleWatch cuts an upstream that is waited for longer than the limit, and
// no other.
func TestIdleWatch(t *testing.T) {
	const limit = time.Second
	for name, test := range map[string]struct {
		use  func(w *idleWatch)
		want time.Duration // when it is cut; 0: never
	}{
		"nothing comes":                   {func(w *idleWatch) { w.wait() }, limit},
		"something comes, then nothing":   {func(w *idleWatch) { w.wait(); time.Sleep(limit / 2); w.rest(); w.wait() }, 3 * limit / 2},
		"the client takes its time":       {func(w *idleWatch) { w.wait(); w.rest(); time.Sleep(9 * limit); w.rest() }, 0},
		"it comes late after a long rest": {func(w *idleWatch) { w.rest(); time.Sleep(5 * limit / 2); w.wait() }, 7 * limit / 2},
		"over":                            {func(w *idleWatch) { w.wait(); w.stop() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, cut := time.Now(), time.Duration(0)
				w := watchIdle(limit, func() { cut = time.Since(begun) })
				test.use(w)
				time.Sleep(10 * limit)
				w.stop()
				synctest.Wait()
				if cut != test.want {
					t.Errorf("cut after %v, want %v", cut, test.want)
				}
			})
		})
	}
}
