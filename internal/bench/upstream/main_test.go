package main

import (
	"bytes"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

func TestRecordedStreamsHaveFiftyChunks(t *testing.T) {
	sim := simulator.New(simulator.Config{})
	for name, row := range map[string]struct {
		body   string
		events int // chunks, usage where asked for, [DONE]
	}{
		"usage not asked for": {stream, 50 + 1},
		"usage asked for":     {streamUsage, 50 + 1 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := events(record(sim, row.body))
			if len(got) != row.events {
				t.Errorf("%d events, want %d", len(got), row.events)
			}
			if last := got[len(got)-1]; !bytes.Equal(last, []byte("data: [DONE]\n\n")) {
				t.Errorf("last event %q", last)
			}
		})
	}
}
