package pricing

import (
	"errors"
	"fmt"
	"slices"
)

// MaxCost is the largest cost in nano-USD: 2^53-1, about 9 million USD. Above it a Redis script, whose numbers are
// doubles, could not compare exactly.
const MaxCost = 1<<53 - 1

// MaxTokens bounds every token count. No model reads a trillion tokens, and below it no sum of counts overflows.
const MaxTokens = 1_000_000_000_000

// Errors of pricing. Test with errors.Is.
var (
	// ErrNoPrice: the table has no price for what was asked, so its cost is unknown. Never zero.
	ErrNoPrice = errors.New("no price")
	// ErrOverflow: the cost is above MaxCost, or a token count above MaxTokens.
	ErrOverflow = errors.New("cost overflows")
	// ErrUsage: token counts that cannot be: negative, or parts greater than their whole.
	ErrUsage = errors.New("impossible token counts")
)

// Usage is what one request used, in tokens. Cached, CacheWrite and Audio are parts of Input; Reasoning and AudioOutput
// are parts of Output. Audio may overlap Cached.
type Usage struct {
	Input, Cached, CacheWrite, Audio, Output, Reasoning, AudioOutput int64
}

// Bound is the most that one request can use: so many tokens in and out, and whether the request, or a default of its
// provider, can write to a cache or carry audio in either direction.
type Bound struct {
	Input, Output     int64
	CacheWrite, Audio bool
}

// Price is what one model costs at one instant. It is a small value that is safe to copy, and never changes. The zero
// Price prices nothing: its methods return ErrNoPrice.
type Price struct {
	schedule   *schedule
	longWrites bool
}

// schedule is one price list of a model, compiled: no absent prices, tiers by rising threshold.
type schedule struct {
	entry      string // "provider/id" of the entry, for people
	own        bool   // an override's
	from       int64  // unix second of its first day
	start, end int64  // seconds of the UTC day
	request    int64  // pico-USD per request
	tiers      []rates
}

// rates are pico-USD per token for requests of more than over input tokens.
type rates struct {
	over                                                int64
	input, cached, write, longWrite, audio, cachedAudio int64
	output, reasoning, audioOutput                      int64
	billsOutput                                         bool
	tellsAudio                                          bool // the list has a rate of its own for audio output
}

// Entry names the table's entry, as "provider/model id", for people to read.
func (p Price) Entry() string {
	if p.schedule == nil {
		return ""
	}
	return p.schedule.entry
}

// Own reports whether the price is the operator's, from an override, and not the
// table's.
func (p Price) Own() bool { return p.schedule != nil && p.schedule.own }

// TellsAudioOutput reports whether the price list says what audio output costs. Where it does not, Worst and Cost take
// the rate of text, which is far below any provider's for audio.
func (p Price) TellsAudioOutput() bool {
	return p.schedule != nil && !slices.ContainsFunc(p.schedule.tiers, func(r rates) bool { return !r.tellsAudio })
}

// LongCacheWrites is the same price for a request that asks for the longer-lived cache (Anthropic's one-hour writes,
// which cost more than the five-minute ones): Cost then charges cache writes at that rate. Worst covers it either way.
func (p Price) LongCacheWrites() Price {
	p.longWrites = true
	return p
}

// Worst is the most that a request within b can cost, in nano-USD, rounded up once: for every usage u within b,
// Cost(u) <= Worst(b). It assumes the dearest rate that b can cause: of the context tiers that b.Input reaches, of plain
// and cached input, of cache writes and audio only where b has them. The price of an embedding model (no output price)
// is ErrNoPrice for a bound with output.
func (p Price) Worst(b Bound) (int64, error) {
	if p.schedule == nil {
		return 0, ErrNoPrice
	}
	if err := checkTokens(b.Input, b.Output); err != nil {
		return 0, err
	}
	var worst int64
	for i := range p.schedule.tiers {
		tier := &p.schedule.tiers[i]
		if i > 0 && b.Input <= tier.over {
			break
		}
		if b.Output > 0 && !tier.billsOutput {
			return 0, p.noOutputPrice()
		}
		sum := p.worstInput(i, b)
		sum.add(b.Output, tier.dearestOutput(b.Audio))
		cost, err := sum.nanoUSD()
		if err != nil {
			return 0, err
		}
		worst = max(worst, cost)
	}
	return worst, nil
}

// worstInput is the request's fee and the most that its input can cost within tier i. An input that stays in a tier is
// no longer than the next tier's threshold.
func (p Price) worstInput(i int, b Bound) picoSum {
	tiers := p.schedule.tiers
	tokens := b.Input
	if i+1 < len(tiers) {
		tokens = min(tokens, tiers[i+1].over)
	}
	var sum picoSum
	sum.add(1, p.schedule.request)
	sum.add(tokens, tiers[i].dearestInput(b))
	return sum
}

// Cost is what u costs in nano-USD, rounded up once. The whole request is charged at the tier of its input. Where audio
// and cached tokens must overlap, because they do not fit side by side, only that overlap has the cached audio rate.
func (p Price) Cost(u Usage) (int64, error) {
	if p.schedule == nil {
		return 0, ErrNoPrice
	}
	if err := u.check(); err != nil {
		return 0, err
	}
	tier := p.schedule.tier(u.Input)
	if u.Output > 0 && !tier.billsOutput {
		return 0, p.noOutputPrice()
	}
	write := tier.write
	if p.longWrites {
		write = tier.longWrite
	}
	audio := min(u.Audio, u.Input-u.Cached-u.CacheWrite)
	cachedAudio := min(u.Audio-audio, u.Cached)
	writtenAudio := u.Audio - audio - cachedAudio

	var sum picoSum
	sum.add(1, p.schedule.request)
	sum.add(u.Input-u.Cached-u.CacheWrite-audio, tier.input)
	sum.add(u.Cached-cachedAudio, tier.cached)
	sum.add(u.CacheWrite-writtenAudio, write)
	sum.add(audio, tier.audio)
	sum.add(cachedAudio, tier.cachedAudio)
	sum.add(writtenAudio, max(write, tier.audio))
	sum.add(u.Output-u.Reasoning-u.AudioOutput, tier.output)
	sum.add(u.Reasoning, tier.reasoning)
	sum.add(u.AudioOutput, tier.audioOutput)
	return sum.nanoUSD()
}

// OutputWithin is the largest output in tokens with which a request bounded by b (whose Output it ignores) costs at most
// room nano-USD: 0 if not even its input fits, MaxTokens if output is free.
func (p Price) OutputWithin(b Bound, room int64) int64 {
	b.Output = 0
	if cost, err := p.Worst(b); err != nil || cost > room {
		return 0
	}
	room = min(room, MaxCost)
	tokens := int64(MaxTokens)
	for i := range p.schedule.tiers {
		tier := &p.schedule.tiers[i]
		if i > 0 && b.Input <= tier.over {
			break
		}
		if !tier.billsOutput {
			return 0
		}
		sum := p.worstInput(i, b)
		tokens = min(tokens, sum.tokensWithin(room, tier.dearestOutput(b.Audio)))
	}
	return tokens
}

func (p Price) noOutputPrice() error {
	return fmt.Errorf("%w: %s has no price for output tokens: give it one in the policy's prices", ErrNoPrice, p.schedule.entry)
}

func (s *schedule) tier(input int64) *rates {
	i := len(s.tiers) - 1
	for i > 0 && input <= s.tiers[i].over {
		i--
	}
	return &s.tiers[i]
}

func (r *rates) dearestInput(b Bound) int64 {
	dearest := max(r.input, r.cached)
	if b.CacheWrite {
		dearest = max(dearest, r.write, r.longWrite)
	}
	if b.Audio {
		dearest = max(dearest, r.audio, r.cachedAudio)
	}
	return dearest
}

func (r *rates) dearestOutput(audio bool) int64 {
	dearest := max(r.output, r.reasoning)
	if audio {
		dearest = max(dearest, r.audioOutput)
	}
	return dearest
}

func (u Usage) check() error {
	if err := checkTokens(u.Input, u.Cached, u.CacheWrite, u.Audio, u.Output, u.Reasoning, u.AudioOutput); err != nil {
		return err
	}
	if u.Cached+u.CacheWrite > u.Input || u.Audio > u.Input {
		return fmt.Errorf("%w: the parts of %d input tokens are more", ErrUsage, u.Input)
	}
	if u.Reasoning+u.AudioOutput > u.Output {
		return fmt.Errorf("%w: the parts of %d output tokens are more", ErrUsage, u.Output)
	}
	return nil
}

func checkTokens(counts ...int64) error {
	for _, n := range counts {
		if n < 0 {
			return fmt.Errorf("%w: %d", ErrUsage, n)
		}
		if n > MaxTokens {
			return fmt.Errorf("%w: %d tokens are more than %d", ErrOverflow, n, int64(MaxTokens))
		}
	}
	return nil
}

// holds says whether the schedule applies at a unix second.
func (s *schedule) holds(unix int64) bool {
	second := unix % secondsPerDay
	if second < 0 {
		second += secondsPerDay
	}
	return unix >= s.from && s.start <= second && second < s.end
}

const secondsPerDay = 24 * 60 * 60
