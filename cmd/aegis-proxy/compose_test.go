package main

import (
	"net"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// service is what the tests look at of one in docker-compose.yml.
type service struct {
	Image       string
	Command     yaml.Node // a list of ours, or another program's text
	Environment map[string]string
}

// ourServices are those that run this program, by name.
func ourServices(t *testing.T) map[string]service {
	t.Helper()
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for name, s := range file.Services {
		if s.Image != "aegis-proxy" {
			delete(file.Services, name)
		}
	}
	return file.Services
}

// commandOf is the service's command with its flags read.
func commandOf(t *testing.T, s service) *cobra.Command {
	t.Helper()
	var args []string
	if err := s.Command.Decode(&args); err != nil {
		t.Fatal(err)
	}
	cmd, flags, err := newRoot().Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestComposeRunsCommandsThatExist, with flags that they have.
func TestComposeRunsCommandsThatExist(t *testing.T) {
	services := ourServices(t)
	for _, s := range services {
		if cmd := commandOf(t, s); !cmd.Runnable() {
			t.Errorf("%s cannot be run", cmd.CommandPath())
		}
	}
	if len(services) != 4 {
		t.Errorf("%d services, want 4", len(services))
	}
}

// TestComposePassesTheAdminToken: each replica gets the one of whoever starts it,
// since without one an admin listener off loopback lets nobody throw a switch.
func TestComposePassesTheAdminToken(t *testing.T) {
	replicas := 0
	for name, s := range ourServices(t) {
		cmd := commandOf(t, s)
		if cmd.Name() != "serve" {
			continue
		}
		replicas++
		host, _, err := net.SplitHostPort(cmd.Flag("admin-listen").Value.String())
		if err != nil || net.ParseIP(host).IsLoopback() {
			t.Errorf("%s: operators reach %q: %v", name, host, err)
		}
		variable := variableOf(cmd.Flag("admin-token"))
		if got, want := s.Environment[variable], "${"+variable+":-}"; got != want {
			t.Errorf("%s: %s is %q, want %q", name, variable, got, want)
		}
	}
	if replicas != 2 {
		t.Errorf("%d replicas, want 2", replicas)
	}
}

// TestComposePassesTheKeysOfTheFirstPolicy: init finds no key in its container, so the
// policy that it writes reads these variables.
func TestComposePassesTheKeysOfTheFirstPolicy(t *testing.T) {
	for _, v := range keyVendors() {
		t.Setenv(v.KeyEnv, "")
	}
	for name, s := range ourServices(t) {
		if commandOf(t, s).Name() != "serve" {
			continue
		}
		for _, v := range firstPolicy("default", [32]byte{}).Vendors {
			if got, want := s.Environment[v.KeyEnv], "${"+v.KeyEnv+":-}"; got != want {
				t.Errorf("%s: %s is %q, want %q", name, v.KeyEnv, got, want)
			}
		}
	}
}
