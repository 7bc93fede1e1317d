package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestImageThatIsLeftIsChargedWhole: an image is billed once it has begun, also at an upstream that stops billing a text
// when its connection is closed.
func TestImageThatIsLeftIsChargedWhole(t *testing.T) {
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"type":"image_generation.partial_image","b64_json":"eA=="}`+"\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	w := newWorld(t, setting{upstreams: []http.Handler{up}, tenant: ampleBudget + "\non_disconnect: cancel", upstream: ", cancel_stops_billing: true"})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	body := `{"model":"gpt-image-2","prompt":"a cat","size":"1024x1024","quality":"low","stream":true,"partial_images":1}`
	resp, err := w.client.Do(request(ctx, w.front.URL+"/v1/images/generations", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	hangUp()
	if s := w.settled(1)[0]; s.Basis != audit.BasisUnknown || s.Charge != s.Hold || s.Hold < (196+100)*30_000 {
		t.Errorf("settled %+v", s)
	}
}
