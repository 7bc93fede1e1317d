package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// child is the program that scripts start with aegis-proxy run. It does what its
// arguments say, one after the other:
//
//	chat=MODEL/CAP     asks at OPENAI_BASE_URL, with OPENAI_API_KEY, and prints the status
//	message=MODEL/CAP  the same at ANTHROPIC_BASE_URL, with ANTHROPIC_AUTH_TOKEN
//	env=NAME           prints a variable, or that it is not there
//	args               prints the arguments
//	trap=SIGNAL        has aegis-proxy told of a signal, and prints what comes of it
//	serve              answers one request at LISTEN, and goes on
//	exit=CODE
//	die=SIGNAL
func child() {
	for _, arg := range os.Args[1:] {
		verb, value, _ := strings.Cut(arg, "=")
		model, most, _ := strings.Cut(value, "/")
		switch verb {
		case "chat":
			ask(os.Getenv("OPENAI_BASE_URL")+"/chat/completions", os.Getenv("OPENAI_API_KEY"),
				fmt.Sprintf(`{"model":%q,"max_completion_tokens":%s,"messages":[{"role":"user","content":"Say hello."}]}`, model, most))
		case "message":
			ask(os.Getenv("ANTHROPIC_BASE_URL")+"/v1/messages", os.Getenv("ANTHROPIC_AUTH_TOKEN"),
				fmt.Sprintf(`{"model":%q,"max_tokens":%s,"messages":[{"role":"user","content":"Say hello."}]}`, model, most))
		case "env":
			text, set := os.LookupEnv(value)
			if !set {
				text = "not set"
			}
			fmt.Printf("%s: %s\n", value, text)
		case "args":
			fmt.Printf("args: %q\n", os.Args[1:])
		case "trap":
			trap(value)
		case "serve":
			serveOnce()
		case "exit":
			code, _ := strconv.Atoi(value)
			os.Exit(code)
		case "die":
			code, _ := strconv.Atoi(value)
			signal.Reset(syscall.Signal(code))
			_ = syscall.Kill(os.Getpid(), syscall.Signal(code))
			select {}
		}
	}
}

// ask posts a body and prints the status, and what denied it.
func ask(url, key, body string) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(resp.Body)
	fmt.Printf("status %d\n", resp.StatusCode)
	if resp.StatusCode != http.StatusOK {
		fmt.Println(text.String())
	}
}

// serveOnce waits for a request.
func serveOnce() {
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	came := make(chan struct{})
	server := &http.Server{}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		close(came)
	})
	go server.Serve(listener)
	<-came
	_ = server.Shutdown(context.Background())
}

// trap has its parent told of a signal, and prints which one comes of it.
func trap(number string) {
	code, _ := strconv.Atoi(number)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.Signal(code))
	_ = syscall.Kill(os.Getppid(), syscall.Signal(code))
	fmt.Println("got", <-signals)
}
