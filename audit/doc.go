// Package audit writes receipts: a signed, chained log of every decision,
// charge and ledger event, which a stranger can verify offline.
//
// A receipt that Append has returned is durable, and nobody without the key
// can alter, drop, reorder, repeat or forge one without Verify finding it. A
// tail cut off at a seal, or a history rewritten by whoever has the key, is
// found against a checkpoint kept elsewhere; one receipt can be proved to a
// stranger who sees no other.
//
// # Wire format
//
// The log is a directory of JSON Lines files, 000001.jsonl and up. Every line
// is canonical JSON (RFC 8785) with these fields and no others:
//
//	{"body":{...},"chain":"<32 hex>","kind":"decision","n":7,"prev":"<64 hex>","v":3}
//
//	body   what the receipt says; its fields depend on kind
//	chain  the random id of this directory's chain: one for each replica
//	kind   decision, settlement, event, seal, start or rotate
//	n      the line's number in the chain, from 1 without a gap
//	prev   SHA-256 of the line before, without its newline; 64 zeros for n = 1
//	v      the version of this format
//
// Amounts (nano-USD for money) are decimal strings, because a JSON number is
// a double; counts, tokens and milliseconds are numbers below 2^53. Optional
// fields are left out when empty. All hex is lowercase.
//
// A line is signed by the next seal in its chain: a seal's sig is over
//
//	aegis-receipt-seal-v1 LF alg LF kid LF chain LF n LF prev LF
//
// with its own chain, n and prev, and so over every line before it. One seal
// ends each batch that was committed together. The first line is a start
// line; it names the key. A rotate line announces another key and binds once
// a seal of the old key covers it.
//
// # Transparency log
//
// The lines of a chain are the leaves of a Merkle tree as in RFC 6962. A
// checkpoint is a C2SP signed note of the tree's size and root:
//
//	aegis-proxy/<chain> LF <number of lines> LF <root, base64> LF
//
// A Proof that a line is in the log is a C2SP tlog-proof with the line as its
// extra data, and a Consistency between two states is what C2SP tlog-witness
// has logs send.
//
// The writer knows nothing of the tree, so that it costs no request anything.
// OpenTree computes it when somebody asks: of the open segment from its lines,
// and of each closed one from 000001.hashes beside it, which holds the hashes
// of all complete subtrees that end there. Such a file is made on first use,
// from lines whose links were checked, and read only if its own SHA-256, its
// segment's size and its neighbours fit. While the segment is there it is a
// cache, which Verify holds against the lines. When Archive has moved the
// segment it stands for it, and only a checkpoint can vouch for it. It takes
// 64 bytes for each line, less than a tenth of what a receipt does.
//
// docs/receipt-format.md is the full definition, with test vectors.
package audit
