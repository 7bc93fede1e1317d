// Package call is what a call to a model is made of: its facts, which a dialect fills in,
// rules look at and receipts tell; what it needs of its tenant's allowance; the units that
// providers bill, what it used of each, and what it can use at most. It stands below
// the other packages and imports none of them.
//
// Units are disjoint: a token that was read from a cache is counted as
// CachedInput and not as Input too, so that a cost is a sum of products and no
// dialect's nesting of parts leaves its package. A new dimension of price is one
// row of Table, and the dialect that reports it.
package call

import (
	"iter"
	"math/bits"
)

// Unit is one thing that is billed by its number: a kind of token, an image, a
// web search. It is an index into Table.
type Unit uint8

// Units. Tokens whose modality nobody tells are Input or Output.
const (
	Input Unit = iota
	CachedInput
	CacheWrite
	CacheWrite1h
	CacheWrite12h
	AudioInput
	CachedAudioInput
	AudioCacheWrite
	ImageInput
	CachedImageInput
	VideoInput
	CachedVideoInput

	Output
	Reasoning
	AudioOutput
	ImageOutput
	VideoOutput
	Citation

	CharactersIn
	CharactersOut
	ImagesIn
	ImagesOut
	PixelsIn
	PixelsOut
	AudioTimeIn
	AudioTimeOut
	VideoTimeIn
	VideoTimeOut
	ComputeTime
	Pages
	AnnotatedPages

	Requests
	Queries
	Messages
	Searches
	MapSearches
	FileSearches
	ToolCalls
	CodeSessions
	Credits

	// Units is how many there are.
	Units
)

// Row is what holds for a unit.
type Row struct {
	// Name is the unit's in price files, in the policy's price:, in receipts and
	// metrics.
	Name string
	// Per is for how many a price is written, as in USD per 1,000,000 tokens. Time
	// is counted in milliseconds and priced by the second.
	Per int64
	// Input counts towards the context tier.
	Input bool
	// Scaled prices are multiplied by a region's factor; fees are not.
	Scaled bool
	// Free without a price: only the fee of a request, which most models do not have.
	Free bool
	// Else are the units whose dearest price holds where this one has none. Of those,
	// one with a price of its own goes before one without. Without any the unit has no
	// price, and what used it cannot be charged.
	Else []Unit
}

const (
	million  = 1_000_000
	thousand = 1_000
	second   = 1_000 // milliseconds
)

// Table has a row for each unit.
var Table = [Units]Row{
	Input:            {Name: "input", Per: million, Input: true, Scaled: true},
	CachedInput:      {Name: "cached_input", Per: million, Input: true, Scaled: true, Else: []Unit{Input}},
	CacheWrite:       {Name: "cache_write", Per: million, Input: true, Scaled: true, Else: []Unit{Input}},
	CacheWrite1h:     {Name: "cache_write_1h", Per: million, Input: true, Scaled: true, Else: []Unit{CacheWrite}},
	CacheWrite12h:    {Name: "cache_write_12h", Per: million, Input: true, Scaled: true, Else: []Unit{CacheWrite1h}},
	AudioInput:       {Name: "audio_input", Per: million, Input: true, Scaled: true, Else: []Unit{Input}},
	CachedAudioInput: {Name: "cached_audio_input", Per: million, Input: true, Scaled: true, Else: []Unit{AudioInput, CachedInput}},
	AudioCacheWrite:  {Name: "audio_cache_write", Per: million, Input: true, Scaled: true, Else: []Unit{AudioInput, CacheWrite}},
	ImageInput:       {Name: "image_input", Per: million, Input: true, Scaled: true, Else: []Unit{Input}},
	CachedImageInput: {Name: "cached_image_input", Per: million, Input: true, Scaled: true, Else: []Unit{ImageInput, CachedInput}},
	VideoInput:       {Name: "video_input", Per: million, Input: true, Scaled: true, Else: []Unit{Input}},
	CachedVideoInput: {Name: "cached_video_input", Per: million, Input: true, Scaled: true, Else: []Unit{VideoInput, CachedInput}},

	Output:      {Name: "output", Per: million, Scaled: true},
	Reasoning:   {Name: "reasoning", Per: million, Scaled: true, Else: []Unit{Output}},
	AudioOutput: {Name: "audio_output", Per: million, Scaled: true},
	ImageOutput: {Name: "image_output", Per: million, Scaled: true},
	VideoOutput: {Name: "video_output", Per: million, Scaled: true},
	Citation:    {Name: "citation", Per: million, Scaled: true},

	CharactersIn:   {Name: "characters_in", Per: million, Scaled: true},
	CharactersOut:  {Name: "characters_out", Per: million, Scaled: true},
	ImagesIn:       {Name: "images_in", Per: 1, Scaled: true},
	ImagesOut:      {Name: "images_out", Per: 1, Scaled: true},
	PixelsIn:       {Name: "pixels_in", Per: million, Scaled: true},
	PixelsOut:      {Name: "pixels_out", Per: million, Scaled: true},
	AudioTimeIn:    {Name: "audio_seconds_in", Per: second, Scaled: true},
	AudioTimeOut:   {Name: "audio_seconds_out", Per: second, Scaled: true},
	VideoTimeIn:    {Name: "video_seconds_in", Per: second, Scaled: true},
	VideoTimeOut:   {Name: "video_seconds_out", Per: second, Scaled: true},
	ComputeTime:    {Name: "compute_seconds", Per: second, Scaled: true},
	Pages:          {Name: "pages", Per: 1, Scaled: true},
	AnnotatedPages: {Name: "annotated_pages", Per: 1, Scaled: true},

	Requests:     {Name: "requests", Per: thousand, Free: true},
	Queries:      {Name: "queries", Per: thousand},
	Messages:     {Name: "messages", Per: thousand},
	Searches:     {Name: "searches", Per: thousand},
	MapSearches:  {Name: "map_searches", Per: thousand},
	FileSearches: {Name: "file_searches", Per: thousand},
	ToolCalls:    {Name: "tool_calls", Per: thousand},
	CodeSessions: {Name: "code_sessions", Per: 1},
	Credits:      {Name: "credits", Per: 1},
}

// String is the unit's name.
func (u Unit) String() string { return Table[u].Name }

var byName = func() map[string]Unit {
	names := make(map[string]Unit, Units)
	for u := range Units {
		names[Table[u].Name] = u
	}
	return names
}()

// ByName finds a unit by its name.
func ByName(name string) (u Unit, ok bool) {
	u, ok = byName[name]
	return u, ok
}

// Kinds is a set of units.
type Kinds uint64

// Of is the set of some units.
func Of(units ...Unit) Kinds {
	var k Kinds
	for _, u := range units {
		k |= 1 << u
	}
	return k
}

// Plain are the kinds of tokens that every call may use.
const Plain Kinds = 1<<Input | 1<<CachedInput | 1<<Output | 1<<Reasoning

// Writes are the units of what is written to a cache, by how long it lives.
const Writes Kinds = 1<<CacheWrite | 1<<CacheWrite1h | 1<<CacheWrite12h

// Has reports whether the set has a unit.
func (k Kinds) Has(u Unit) bool { return k>>u&1 == 1 }

// All are the set's units, in Table's order.
func (k Kinds) All() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for k != 0 {
			var u Unit
			if u, k = k.Next(); !yield(u) {
				return
			}
		}
	}
}

// Next is the first unit of a set that is not empty, and the set without it.
func (k Kinds) Next() (u Unit, rest Kinds) {
	return Unit(bits.TrailingZeros64(uint64(k)) % int(Units)), k & (k - 1)
}
