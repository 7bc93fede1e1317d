package providers

import "github.com/aegis-proxy/aegis-proxy/call"

// Bound is the most that a call can use, before its texts are counted: then it stands in the
// facts of the call.
type Bound struct {
	Input  Input
	Output Output
	// Service is the service tier that is asked for, as it is sent, of at most
	// MaxTierBytes; "" for none.
	Service string
	// Services are the service tiers, beside the standard one, that it may be served at and
	// that may be dearer.
	Services []string
	// Region is call.AnyRegion where the provider's account chooses it, and "" where it
	// makes nothing dearer.
	Region string
	// Beside is what it can use beside Input and Output: see call.Facts.
	Beside []call.Line
	// Free says that it costs nothing there, whatever is in it, and leaves nothing behind.
	Free bool
	// Stripped are the names of tools, of those in its facts, that Send takes out.
	Stripped []string
}

// Input is what a call reads.
type Input struct {
	call.Part
	// Exact says that the provider counts Texts as the model's published tokenizer does,
	// if it has one. Else they are bounded by their bytes.
	Exact bool
	// Contexts is how many inputs it is, each with the model's context to itself.
	Contexts int64
	// Rereads is how often the model may read it again, at most call.MaxRereads: once after
	// each call of a tool that runs at the provider.
	Rereads int64
}

// Output is what a call writes, for each choice: at most Cap, in tokens, and the Part, which
// no cap bounds. Its Texts can be billed beside the cap, such as a predicted output. The zero
// Output is none.
type Output struct {
	call.Part
	Cap int64
	// Choices is how many outputs the call pays for: so many rounds, where each round of
	// hosted tools has the whole cap.
	Choices int64
	// Rereads is how often a token of the cap may be read as input by later rounds, at
	// most call.MaxRereads.
	Rereads int64
	// Fit says how the cap was come by, and so whether it may yield to what the input
	// leaves of the context.
	Fit Fit
	// Least is the least cap that the call can be sent with, because of LeastFor, a member of
	// its body, or "" where the API takes no lower one; 0: any.
	Least    int64
	LeastFor string
}

// Fit says how an output cap was come by.
type Fit uint8

const (
	// Asked: the client asked for it. It stays, or is lowered.
	Asked Fit = iota
	// Implied: the API takes an absent cap for it, so it is sent as it is.
	Implied
	// Guessed: nobody asked for it. It may be fitted beside the input.
	Guessed
	// Enforced: the same, where the provider is known to end an answer where the model's
	// context ends, so that no cap need be sent to bound it.
	Enforced
	// Kept: nobody asked for it, and it cannot be fitted: nobody knows which of several
	// inputs is how long.
	Kept
)
