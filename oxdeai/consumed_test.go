package oxdeai

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestConsumedIDs(t *testing.T) {
	t.Parallel()
	c := ConsumedIDs{limit: 2}
	for _, step := range []struct {
		name        string
		id          string
		expiry, now int64
		fresh       bool
		err         error
	}{
		{"first", "a", 100, 10, true, nil},
		{"again", "a", 100, 10, false, nil},
		{"again, after its end", "a", 100, 200, false, nil},
		{"second", "b", 200, 10, true, nil},
		{"full", "c", 300, 10, false, ErrTooManyIDs},
		{"full, but a used id is told apart", "b", 200, 10, false, nil},
		{"full, a has ended", "c", 300, 100, true, nil},
		{"a is forgotten, the clock goes back", "a", 100, 50, false, nil},
		{"full again", "d", 300, 150, false, ErrTooManyIDs},
		{"no second sweep in one second", "d", 300, 150, false, ErrTooManyIDs},
		{"b has ended", "d", 300, 200, true, nil},
	} {
		if fresh, err := c.Consume(step.id, step.expiry, step.now); fresh != step.fresh || !errors.Is(err, step.err) {
			t.Errorf("%s: fresh %v, error %v", step.name, fresh, err)
		}
	}
}

func TestConsumedIDsOneWinner(t *testing.T) {
	t.Parallel()
	var c ConsumedIDs
	var wins atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if fresh, err := c.Consume("id", 100, 1); fresh && err == nil {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d callers used the id", wins.Load())
	}
}
