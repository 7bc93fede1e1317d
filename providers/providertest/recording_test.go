package providertest

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestContributingShowsARecording: the line that CONTRIBUTING.md shows has every member of
// a recording, and no other.
func TestContributingShowsARecording(t *testing.T) {
	page, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	shown, _, ok := strings.Cut(rest, "\n```")
	if !ok {
		t.Fatal("CONTRIBUTING.md shows no recording")
	}
	d := json.NewDecoder(strings.NewReader(shown))
	d.DisallowUnknownFields()
	r := new(Recording)
	if err := d.Decode(r); err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal([]byte(shown), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(all)).Decode(&want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("shown: %s\nall:   %s", shown, all)
	}
}
