// Package agents holds the coding agents, SDKs and frameworks of today against the proxy:
// the real programs, at versions that lock files pin, in a network of loopback alone. It
// promises that for each of those that every test run has a denial is one request and a readable
// sentence, that a held call is served when the hold ends, and that a tool call that was
// open when its stream was stopped never runs. docs/clients.md has what all of them do.
package agents
