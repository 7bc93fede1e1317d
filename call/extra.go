package call

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ExtraKind is where in a request something stands that an API need not know: what each
// of its servers takes is a list, which the operator can extend. The name of a kind is
// its key in a policy.
type ExtraKind uint8

// Kinds of extras, and what the name of one is.
const (
	ExtraMember ExtraKind = iota // the path of a member of the body: top_k, messages.prefix
	ExtraPart                    // the type of a content part
	ExtraTool                    // the type of a tool
	ExtraTier                    // a service tier
	ExtraQuery                   // a query parameter
	ExtraHeader                  // a header, in lower case
	ExtraBeta                    // a value of a header by which betas are asked for
	ExtraKinds
)

// ExtraNames are the names of the kinds.
var ExtraNames = [ExtraKinds]string{"members", "parts", "tools", "tiers", "queries", "headers", "betas"}

// String returns the name of the kind.
func (k ExtraKind) String() string { return ExtraNames[k] }

// Extra is one thing in a request that its dialect does not take as its API's own.
type Extra struct {
	Kind ExtraKind
	Name string
	// Scalar says that it is a member whose whole value is a number, a boolean or a
	// string.
	Scalar bool
}

// MaxAllowBytes is how long a name in an allowance may be, in bytes.
const MaxAllowBytes = 160

// Pattern is the name by which an allowance admits an extra: its own, or where no policy can hold
// that, the longest beginning that one can, with * for all that begin so; "" if there is none.
func (e Extra) Pattern() string {
	name := e.Name
	held := 0
	for held < len(name) {
		c, size := utf8.DecodeRuneInString(name[held:])
		if most := MaxAllowBytes; c == '*' || !unicode.IsPrint(c) || c == utf8.RuneError && size == 1 || held+size > most || held+size == most && held+size < len(name) {
			break
		}
		held += size
	}
	if held == 0 || held == len(name) {
		return name[:held]
	}
	return name[:held] + "*"
}

// IsPattern reports whether an allowance can hold a name: characters that can be printed, and a * at
// the end alone.
func IsPattern(name string) bool {
	plain := strings.TrimSuffix(name, "*")
	return name != "" && len(name) <= MaxAllowBytes && utf8.ValidString(plain) &&
		!strings.ContainsFunc(plain, func(c rune) bool { return c == '*' || !unicode.IsPrint(c) })
}

// Betas says what becomes of values of a beta header that are in no list.
type Betas uint8

// What becomes of them.
const (
	StripBetas Betas = iota // they are taken out, and the answer says so
	DenyBetas               // the request is denied
	PassBetas               // they pass
)

// Allow is what an operator admits at one upstream beyond the lists of its dialect. It
// is the operator's word that nothing of it costs more than price and cap bound.
type Allow struct {
	// Names are the names of each kind; one that ends in * stands for all that begin
	// as it does.
	Names [ExtraKinds][]string
	// Scalars admits every scalar member that nobody knows.
	Scalars bool
	Betas   Betas
}

// Tiers are the names of service tiers in the operator's list. A nil Allow has none.
func (a *Allow) Tiers() []string {
	if a == nil {
		return nil
	}
	return a.Names[ExtraTier]
}

// Has reports whether a name is in the operator's list of its kind. A nil Allow has
// none.
func (a *Allow) Has(kind ExtraKind, name string) bool {
	if a == nil {
		return false
	}
	for _, listed := range a.Names[kind] {
		if begin, all := strings.CutSuffix(listed, "*"); listed == name || all && strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}
