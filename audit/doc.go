// Package audit writes receipts: a signed, chained log of every decision,
// charge and ledger event, which a stranger can verify offline.
//
// A receipt that Append has returned is durable, and nobody without the key
// can alter, drop, reorder, repeat or forge one without Verify finding it. A
// tail cut off at a seal is found against a checkpoint kept elsewhere.
//
// # Wire format
//
// The log is a directory of JSON Lines files, 000001.jsonl and up. Every line
// is canonical JSON (RFC 8785) with these fields and no others:
//
//	{"body":{...},"chain":"<32 hex>","kind":"decision","n":7,"prev":"<64 hex>","v":1}
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
// docs/receipt-format.md is the full definition, with test vectors.
package audit
