package main

import (
	"bytes"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

func TestRecordedStreamsHaveAsManyEvents(t *testing.T) {
	sim := simulator.New(simulator.Config{})
	for name, row := range map[string]struct {
		path, body string
		events     int // chunks, usage where asked for, [DONE]
		last       string
	}{
		"usage not asked for": {chatPath, stream, 50 + 1, "data: [DONE]"},
		"usage asked for":     {chatPath, streamUsage, 50 + 1 + 1, "data: [DONE]"},
		"messages":            {messagesPath, messages, 52, "event: message_stop"},
		"responses":           {responsesPath, responses, 52, "event: response.incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			got := events(record(sim, row.path, row.body))
			if len(got) != row.events {
				t.Errorf("%d events, want %d", len(got), row.events)
			}
			if last := got[len(got)-1]; !bytes.HasPrefix(last, []byte(row.last)) {
				t.Errorf("last event %q", last)
			}
		})
	}
}
