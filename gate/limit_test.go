package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type limitKey struct{}

// TestLimited: it is a context.WithTimeout of the request's values alone, to
// those who wait, those who only look, and contexts made from it.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		request, hangUp := context.WithCancel(context.WithValue(t.Context(), limitKey{}, "value"))
		defer hangUp()
		looked, waited := limit(request, time.Second), limit(request, time.Second)
		defer looked.stop()
		defer waited.stop()
		derived, cancel := context.WithCancel(waited)
		defer cancel()
		hangUp()
		for _, c := range []context.Context{looked, waited, derived} {
			if at, ok := c.Deadline(); !ok || !at.Equal(time.Now().Add(time.Second)) || c.Value(limitKey{}) != "value" || c.Err() != nil {
				t.Errorf("before: deadline %v, value %v, %v", at, c.Value(limitKey{}), c.Err())
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if looked.waited() != nil {
			t.Error("looking started a timer")
		}
		for _, c := range []context.Context{looked, waited, derived} {
			if !errors.Is(c.Err(), context.DeadlineExceeded) {
				t.Errorf("after: %v", c.Err())
			}
			<-c.Done()
		}
	})
}
