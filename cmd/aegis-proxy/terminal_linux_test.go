package main

import (
	"bufio"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// openTerminal opens a terminal: what is written to keyboard is typed at it.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}

// runAt starts run at a terminal, in a session of its own.
func runAt(t *testing.T, terminal *os.File, args ...string) *exec.Cmd {
	t.Helper()
	upstream := httptest.NewServer(simulator.New(simulator.Config{}))
	t.Cleanup(upstream.Close)
	cmd := exec.Command("aegis-proxy", append([]string{"run", "--budget", "1", "--data", t.TempDir(), "--"}, args...)...)
	cmd.Env = append(os.Environ(), "OPENAI_API_KEY=sk-real", "OPENAI_BASE_URL="+upstream.URL+"/v1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return cmd
}

// awaitLine reads a terminal up to a line that has a text.
func awaitLine(t *testing.T, screen *bufio.Scanner, text string) {
	t.Helper()
	for screen.Scan() {
		if strings.Contains(screen.Text(), text) {
			return
		}
	}
	t.Fatalf("the terminal never shows %q: %v", text, screen.Err())
}

// TestTerminal: the terminal is the program's, and what is typed there it gets once, also
// where its input comes from elsewhere.
func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input bool // from the terminal
		shows string
	}{
		{"all of it", true, "true true true"},
		{"input from a file", false, "false true true"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			keyboard, terminal := openTerminal(t)
			cmd := runAt(t, terminal, "child", "terminal", "interrupts", "exit=3")
			if !row.input {
				cmd.Stdin = nil
				cmd.SysProcAttr.Ctty = 1
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			terminal.Close() // so that the screen ends with who has it
			screen := bufio.NewScanner(keyboard)
			awaitLine(t, screen, row.shows)
			awaitLine(t, screen, "listening")
			if _, err := keyboard.Write([]byte{3}); err != nil { // Ctrl-C
				t.Fatal(err)
			}
			awaitLine(t, screen, "interrupts: 1")
			awaitLine(t, screen, "aegis: run: spent 0.00 USD of 1.00 USD")
			awaitLine(t, screen, "aegis: receipts:")
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("%v, want the program's own code", err)
			}
		})
	}
}

// TestStop: where the program stops, run stops, so that its shell gets the terminal back;
// what continues run continues the program, which has its proxy again.
func TestStop(t *testing.T) {
	t.Parallel()
	keyboard, terminal := openTerminal(t)
	cmd := runAt(t, terminal, "child", "stop", "chat=gpt-4o-mini/20")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close() // so that the screen ends with who has it
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("run did not stop: %v %v", status, err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	screen := bufio.NewScanner(keyboard)
	awaitLine(t, screen, "status 200")
	awaitLine(t, screen, "aegis: receipts:")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
