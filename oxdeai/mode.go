package oxdeai

// Mode says how much a verifier demands. The zero value demands the most.
type Mode uint8

const (
	// ModeStrict demands trusted key sets and an audit log with a state checkpoint.
	ModeStrict Mode = iota
	// ModeBestEffort demands neither. It suits tools that look at artifacts and let nothing pass.
	ModeBestEffort
	// ModeUnset is what peers of the protocol do when a caller names no mode: key sets are optional, checkpoints are demanded.
	ModeUnset
)
