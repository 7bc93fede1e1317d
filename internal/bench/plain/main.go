// Command plain is the yardstick: the least that a reverse proxy in Go can do.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// main takes an address to listen on and a URL to forward to.
func main() {
	upstream, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 1024 // or it would dial anew for most requests
	transport.MaxIdleConns = 0
	log.Fatal(http.ListenAndServe(os.Args[1], &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
	}))
}
