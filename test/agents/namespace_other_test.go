//go:build !linux

package agents

// isolate does nothing where there are no network namespaces: there the clients could
// reach their vendors, with a key that is none of these.
func isolate() (code int, done bool, err error) { return 0, false, nil }
