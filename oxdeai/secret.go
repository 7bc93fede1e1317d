package oxdeai

import (
	"fmt"
	"io"
	"log/slog"
)

// Options and AuthorizationOptions hold secrets. However they are printed or logged, only what is said here shows. An
// Engine keeps its secret and its key in functions, which print as addresses.

// String returns the policy version and the algorithm. The secret and the private key stay out.
func (o Options) String() string {
	return fmt.Sprintf("oxdeai.Options{PolicyVersion: %q, AuthorizationSigningAlg: %q}", o.PolicyVersion, o.AuthorizationSigningAlg)
}

// GoString is String.
func (o Options) GoString() string { return o.String() }

// Format writes String for every verb, also for those that would not ask for it.
func (o Options) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue is String.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// String returns who and what is expected. The secret stays out.
func (o AuthorizationOptions) String() string {
	return fmt.Sprintf("oxdeai.AuthorizationOptions{ExpectedIssuer: %q, ExpectedAudience: %q, ExpectedPolicyID: %q}",
		o.ExpectedIssuer, o.ExpectedAudience, o.ExpectedPolicyID)
}

// GoString is String.
func (o AuthorizationOptions) GoString() string { return o.String() }

// Format writes String for every verb, also for those that would not ask for it.
func (o AuthorizationOptions) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue is String.
func (o AuthorizationOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }
