package audit

// Reasons of a start line.
const (
	ReasonCreated  = "created"  // the chain's first line
	ReasonOpened   = "opened"   // the log was opened again, its tail whole
	ReasonRepaired = "repaired" // a torn tail was cut off
)

// Seal signs every line before it in its chain.
type Seal struct {
	Alg string // AlgEd25519 or AlgHMAC
	Kid string // the key's id
	Sig string // lowercase hex
}

// Start is written whenever a log is opened.
type Start struct {
	Alg      string
	At       int64 // this machine's clock, milliseconds of the Unix epoch
	CutBytes int64 // repaired: the length of CutFile
	CutFile  string
	Kid      string // the key of the seals to come
	Reason   string
	Software string
}

// Rotate announces the key of the seals to come, once the next seal, still by
// the old key, covers it.
type Rotate struct {
	Alg    string
	At     int64
	Kid    string
	Public string // Ed25519 only: the raw public key, lowercase hex
}
