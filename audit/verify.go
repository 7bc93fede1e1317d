package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// FindingKind is what is wrong with a log.
type FindingKind string

const (
	Malformed   FindingKind = "malformed"   // a line that is not a receipt in canonical form
	Altered     FindingKind = "altered"     // a line that is not the one its successor or a checkpoint names
	Missing     FindingKind = "missing"     // numbers of the chain that are nowhere
	Reordered   FindingKind = "reordered"   // a line that comes after its successor
	Duplicated  FindingKind = "duplicated"  // a number that was there before
	Truncated   FindingKind = "truncated"   // a tail that a checkpoint names is gone, or the last line is torn
	Unsealed    FindingKind = "unsealed"    // lines at the end of a chain that no seal covers
	WrongKey    FindingKind = "wrong-key"   // a seal by a key that the chain did not announce
	UnknownKey  FindingKind = "unknown-key" // a seal by a key that the verifier was not given
	BadSeal     FindingKind = "bad-seal"    // a signature that does not match
	Conflicting FindingKind = "conflicting" // two receipts of one ledger event that may not both be
)

// findingOrder is the order of a report.
var findingOrder = []FindingKind{
	Malformed, Altered, Missing, Reordered, Duplicated, Truncated, Unsealed, WrongKey, UnknownKey, BadSeal, Conflicting,
}

// Finding is the first trouble of its kind, and how often there was more.
type Finding struct {
	Kind   FindingKind
	File   string
	Line   int64 // from 1; 0 if the trouble is with no line
	Reason string
	Count  int64
}

// String is the finding on one line.
func (f Finding) String() string {
	at, more := "", ""
	switch {
	case f.Line > 0:
		at = fmt.Sprintf("%s:%d: ", f.File, f.Line)
	case f.File != "":
		at = f.File + ": "
	}
	if f.Count > 1 {
		more = fmt.Sprintf(" (and %d more)", f.Count-1)
	}
	return fmt.Sprintf("%s%s: %s%s", at, f.Kind, f.Reason, more)
}

// Progress is how far Verify has come.
type Progress struct{ Lines, Bytes int64 }

// VerifyOptions say what a log is held against.
type VerifyOptions struct {
	Keys Keys // the trusted keys; a chain may announce more

	// Checkpoints are what the first lines of any of the chains must be.
	Checkpoints []Checkpoint

	// Unproven are those of the checkpoints that none of the keys has signed. A
	// key that their chain announces must have.
	Unproven []SignedCheckpoint

	// Prefixes stand for lines that were moved away, if a checkpoint vouches
	// for them. Where the lines are there, it must be theirs.
	Prefixes []*Prefix

	// ChainsAlone leaves out what receipts say of each other: two of one event,
	// gaps, and one id for two counts of denials. Looking takes memory for each
	// of them.
	ChainsAlone bool

	// Progress, if set, is called about every megabyte.
	Progress func(Progress)
}

// ChainReport is what there is of one chain.
type ChainReport struct {
	Chain       string
	First, Last int64 // numbers
	Hash        Hash  // of the line with the highest number
	Receipts    int64 // decisions, settlements and events
	Sealed      int64 // of them, how many a valid seal covers

	Unseen int64     // lines 1 to Unseen are vouched for by a checkpoint, and were not looked at
	Root   tlog.Hash // of the Merkle tree over lines 1 to Last, if there is one and no finding
}

// Checkpoint is the chain as it was verified, to be kept elsewhere.
func (c ChainReport) Checkpoint() Checkpoint {
	return Checkpoint{Chain: c.Chain, N: c.Last, Root: c.Root}
}

// Gap is a run of event numbers of one tenant that no receipt has. One
// replica's log alone has gaps wherever another replica served the tenant.
type Gap struct {
	Tenant   string
	Epoch    string
	From, To int64
}

// maxGaps bounds the gaps that a report lists.
const maxGaps = 1000

// Report is what Verify found. A log is sound if there are no findings; the
// logs of all replicas together are complete if there are no gaps either.
type Report struct {
	Lines    int64
	Bytes    int64
	Chains   []ChainReport // in order of appearance
	Findings []Finding     // the first of each kind
	Unproven []Checkpoint  // that no key has signed which was given, or announced in their chains
	Gaps     []Gap         // by tenant and epoch, at most 1,000
	GapCount int64
}

// OK reports whether nothing was found. Gaps do not count.
func (r Report) OK() bool { return len(r.Findings)+len(r.Unproven) == 0 }

// Verify checks that the sources hold whole, sealed chains, and that no two
// receipts speak of the same ledger event. Sources of one chain must come in
// order. The error is about reading or the context, never about what was
// found.
func Verify(ctx context.Context, sources []Source, opts VerifyOptions) (Report, error) {
	return verifyLogs(ctx, [][]Source{sources}, &verifier{opts: opts, leaf: leafOf}, func(Receipt) {})
}

// VerifyEach is Verify that also hands every receipt on, in the order of Merge
// and read only once. Whether they are to be believed only the report tells.
// Each of several files is opened twice, streams are read once. Merkle trees are made only if there are
// checkpoints or prefixes to hold them against: the report's roots are zero
// without, and every line is hashed once instead of twice.
func VerifyEach(ctx context.Context, sources []Source, opts VerifyOptions, take func(Receipt)) (Report, error) {
	v := &verifier{opts: opts}
	if len(opts.Checkpoints)+len(opts.Prefixes) > 0 {
		v.leaf = leafOf
	}
	return verifyLogs(ctx, groupByChain(sources), v, take)
}

func verifyLogs(ctx context.Context, logs [][]Source, v *verifier, take func(Receipt)) (Report, error) {
	for _, c := range v.opts.Checkpoints {
		if err := c.Validate(); err != nil {
			return Report{}, err
		}
	}
	v.logs, v.spoke = logs, map[string]bool{}
	v.chains, v.found, v.denials = map[string]*chainState{}, map[FindingKind]*Finding{}, denialsIDs{}
	m := startMerge(ctx, logs, v.opts.Keys, v.leaf)
	defer m.scan.stop()
	for _, l := range m.logs {
		l.verify.verifier = v
	}
	for {
		line, err := m.next()
		if err != nil {
			return Report{}, err
		}
		if line == nil {
			return v.report(), nil
		}
		if line.err == nil {
			take(line.Receipt)
		}
	}
}

// verifier keeps what was found in all logs.
type verifier struct {
	opts    VerifyOptions
	leaf    leafHash // nil: no trees
	chains  map[string]*chainState
	order   []*chainState
	events  eventSet
	denials denialsIDs
	found   map[FindingKind]*Finding
	done    Progress
	told    int64 // bytes at the last call of opts.Progress

	logs  [][]Source
	spoke map[string]bool // names of sources that had lines
}

func (v *verifier) find(kind FindingKind, file string, line int64, format string, args ...any) {
	if f := v.found[kind]; f != nil {
		f.Count++
		return
	}
	v.found[kind] = &Finding{kind, file, line, fmt.Sprintf(format, args...), 1}
}

func (v *verifier) progress(b *block) {
	v.done.Bytes += int64(len(b.raw) - 1)
	if v.opts.Progress != nil && v.done.Bytes-v.told >= 1<<20 {
		v.told = v.done.Bytes
		v.opts.Progress(v.done)
	}
}

// logVerifier takes the lines of one log in order. Without a verifier it
// lets everything pass.
type logVerifier struct {
	*verifier

	// Of the source being read:
	source  string
	current *chainState
	skipped int64 // malformed lines since the last good one
}

// block takes the parsed lines of one block.
func (v *logVerifier) block(b *block) {
	if v.verifier == nil {
		return
	}
	if len(b.parsed) > 0 && !v.spoke[b.source] {
		v.spoke[b.source] = true
	}
	if b.source != v.source {
		v.source, v.current, v.skipped = b.source, nil, 0
	}
	for i := range b.parsed {
		v.line(&b.parsed[i])
	}
	v.progress(b)
}

func (v *logVerifier) line(p *parsedLine) {
	v.done.Lines++
	if p.err != nil {
		kind := Malformed
		if p.err == errTorn {
			kind = Truncated
		}
		v.find(kind, v.source, p.Line, "%v", p.err)
		v.skipped++
		return
	}
	c := v.chainOf(p)
	if c == nil {
		v.find(Altered, v.source, p.Line, "line of chain %s within chain %s", p.Chain, v.current.id)
		v.skipped++
		return
	}
	counts := c.line(p, v.skipped)
	v.current, v.skipped = c, 0
	if !counts || v.opts.ChainsAlone {
		return
	}
	if id, ok := p.EventID(); ok {
		v.events.add(id, p)
	}
	v.denials.add(v.verifier, p)
}

// chainOf is the state of the line's chain. In the middle of a source a new
// chain can only begin with its first line; nil if it does not.
func (v *logVerifier) chainOf(p *parsedLine) *chainState {
	if v.current != nil && v.current.id == p.Chain {
		return v.current
	}
	if v.current != nil && p.N != 1 {
		return nil
	}
	c := v.chains[p.Chain]
	if c == nil {
		c = newChainState(v.verifier, p.Chain)
		v.chains[p.Chain] = c
		v.order = append(v.order, c)
	}
	return c
}

// checkEmpty finds logs without a line: every log begins with one. Of several
// files of a log one may be empty, as a crash leaves it.
func (v *verifier) checkEmpty() {
	spoke, names := map[int]bool{}, map[int]string{}
	for i, src := range slices.Concat(v.logs...) {
		log := src.log
		if log == 0 {
			log = -1 - i // alone, or a part of what another stream began
		}
		spoke[log] = spoke[log] || v.spoke[src.Name] || src.once && v.done.Lines > 0
		names[log] = src.Name
	}
	if len(names) == 0 {
		v.find(Missing, "", 0, "no receipts are there")
	}
	for _, log := range slices.Sorted(maps.Keys(names)) {
		if !spoke[log] {
			v.find(Missing, names[log], 0, "no receipts are there")
		}
	}
}

// unproven are the checkpoints that no key of their chains has signed either.
func (v *verifier) unproven() (list []Checkpoint) {
	for _, signed := range v.opts.Unproven {
		announced := Keys{}
		if c := v.chains[signed.Checkpoint.Chain]; c != nil {
			announced = c.announced
		}
		if _, err := OpenCheckpoint(signed.Note, announced); err != nil {
			list = append(list, signed.Checkpoint)
		}
	}
	return list
}

func (v *verifier) report() Report {
	r := Report{Lines: v.done.Lines, Bytes: v.done.Bytes}
	for _, c := range v.order {
		c.end()
		r.Chains = append(r.Chains, c.report)
	}
	for _, c := range v.opts.Checkpoints {
		if v.chains[c.Chain] == nil {
			v.find(Truncated, "", 0, "chain %s of the checkpoint is not there", c.Chain)
		}
	}
	v.checkEmpty()
	v.checkHashFiles()
	r.Unproven = v.unproven()
	v.events.check(v)
	r.Gaps, r.GapCount = v.events.gaps()
	for _, kind := range findingOrder {
		if f := v.found[kind]; f != nil {
			r.Findings = append(r.Findings, *f)
		}
	}
	if v.opts.Progress != nil {
		v.opts.Progress(v.done)
	}
	return r
}
