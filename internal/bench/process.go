package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// startTimeout bounds how long a process may take until it accepts.
	startTimeout = 10 * time.Second

	// tick is the unit of CPU time in /proc, the same on every Linux.
	tick = time.Second / 100

	// maxOutputBytes of a process are kept, to be shown if it ends early.
	maxOutputBytes = 4096
)

// process is a child that listens.
type process struct {
	address string
	ready   time.Duration // from its start until it accepted a connection
	command *exec.Cmd
	ended   chan struct{} // closed after Wait
}

// start runs a program and waits until it accepts connections at the address.
func start(ctx context.Context, address, program string, arguments ...string) (*process, error) {
	out := &head{}
	p := &process{address: address, command: exec.CommandContext(ctx, program, arguments...), ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = out, out
	p.command.Env = append(os.Environ(), "OPENAI_API_KEY=sk-bench-upstream")
	began := time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // it is killed in the end; out says why it ended before
		close(p.ended)
	}()
	if err := p.awaitListening(began.Add(startTimeout)); err != nil {
		p.end()
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(p.command.Args, " "), err, out.Bytes())
	}
	p.ready = time.Since(began)
	return p, nil
}

func (p *process) awaitListening(deadline time.Time) error {
	for time.Now().Before(deadline) {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("ended before it listened on %s", p.address)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return fmt.Errorf("does not listen on %s after %v", p.address, startTimeout)
}

// end kills the process and waits until it is gone.
func (p *process) end() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}

// cpu is the user and system time that the process has spent.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0, fmt.Errorf("CPU time is read from /proc, so this needs Linux: %w", err)
	}
	return parseCPU(string(stat))
}

// parseCPU reads the members utime and stime, the 14th and 15th. The second,
// the program's name, is in parentheses and may hold spaces.
func parseCPU(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc stat has %d fields after the name: %q", len(fields), stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * tick, nil
}

// resident is the process's resident memory in bytes.
func (p *process) resident() (int64, error) {
	statm, err := os.ReadFile(p.proc("statm"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc statm is %q", statm)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

func (p *process) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", p.command.Process.Pid, file)
}

// freeAddress is one that nobody listens on at this moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// head keeps the beginning of what is written. Reading it is safe only after
// the process ended.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	room := max(0, maxOutputBytes-h.Len())
	h.Buffer.Write(p[:min(room, len(p))])
	return len(p), nil
}
