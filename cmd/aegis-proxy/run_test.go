package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// child is the program that scripts start with aegis-proxy run. It does what its
// arguments say, one after the other:
//
//	chat=MODEL/CAP     asks at OPENAI_BASE_URL, with OPENAI_API_KEY, and prints the status
//	message=MODEL/CAP  the same at ANTHROPIC_BASE_URL, with ANTHROPIC_AUTH_TOKEN
//	content=MODEL/CAP  the same at GOOGLE_GEMINI_BASE_URL, with GEMINI_API_KEY
//	env=NAME           prints a variable, or that it is not there
//	args               prints the arguments
//	trap=SIGNAL        has aegis-proxy told of a signal, and prints what comes of it
//	serve              answers one request at LISTEN, and goes on
//	leave=ARGUMENTS    leaves a program behind, in a session of its own, with these arguments,
//	                   between commas; what it prints goes to the file LEFT
//	begun              lets the program that left this one behind go on
//	hang=MODEL/CAP     asks for a stream that never ends, and is begun when that is
//	interrupts         waits for one, then counts those that come until run passes a hangup on
//	stop               stops itself
//	terminal           prints which of its files are terminals
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
		case "content":
			ask(os.Getenv("GOOGLE_GEMINI_BASE_URL")+"/v1beta/models/"+model+":generateContent", os.Getenv("GEMINI_API_KEY"),
				fmt.Sprintf(`{"contents":[{"parts":[{"text":"Say hello."}]}],"generationConfig":{"maxOutputTokens":%s}}`, most))
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
		case "leave":
			leave(strings.Split(value, ","))
		case "begun":
			_, _ = os.NewFile(3, "begun").Write([]byte{1})
		case "hang":
			hang(model, most)
		case "interrupts":
			countInterrupts()
		case "stop":
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case "terminal":
			for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
				fmt.Printf("%v ", term.IsTerminal(int(f.Fd())))
			}
			fmt.Println()
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

// leave starts a program that goes on when we have ended, and returns when it says that it
// has begun.
func leave(args []string) {
	out, err := os.OpenFile(os.Getenv("LEFT"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	read, write, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	write.Close()
	_, _ = read.Read(make([]byte, 1))
}

// hang asks for a stream that never ends, tells who left us when it has begun, and reads
// on until somebody ends it.
func hang(model, most string) {
	req, err := http.NewRequest(http.MethodPost, os.Getenv("OPENAI_BASE_URL")+"/chat/completions",
		strings.NewReader(fmt.Sprintf(`{"model":%q,"max_completion_tokens":%s,"stream":true,"messages":[{"role":"user","content":"Say hello."}]}`, model, most)))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	req.Header.Set("X-Simulate", "hang-mid-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println("status", resp.StatusCode)
	begun := os.NewFile(3, "begun")
	_, _ = begun.Write([]byte{1})
	_, err = io.Copy(io.Discard, resp.Body)
	fmt.Println("cut:", err != nil)
}

// countInterrupts prints how many interrupts came of one. A hangup that we send run comes
// back to us behind those that run passes on.
func countInterrupts() {
	interrupts, hangups := make(chan os.Signal, 8), make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	signal.Notify(hangups, syscall.SIGHUP)
	fmt.Println("listening")
	<-interrupts
	_ = syscall.Kill(os.Getppid(), syscall.SIGHUP)
	<-hangups
	fmt.Println("interrupts:", 1+len(interrupts))
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
