// Package oxdeai is the OxDeAI protocol, version C (core 1.7.0): deterministic economic containment of agents, and
// the artifacts that prove it.
//
// An Engine decides an Intent against a State. The same intent, state and options give the same decision, the same
// hashes and the same signatures on every machine: no clock, random source or floating-point sum takes part. Whatever
// cannot be decided is denied. An allowed intent yields an Authorization that binds the intent, the state it was
// decided on and the state after it; every decision of the rules goes to a chained AuditLog; a State travels as a
// Snapshot. The Verify functions check those artifacts without the engine, from bytes and public keys alone.
//
// The package knows no HTTP server and imports nothing of this project.
//
// # Where to start
//
//	decide    DecodeIntent, DecodeState, NewEngine; Engine.Evaluate moves a state, Engine.EvaluatePure leaves it alone
//	keep      AuditLog with an AuditSink (FileSink, MemorySink), StateStore (FileStore, MemoryStore), Engine.Commit, Engine.Restore
//	travel    Engine.Export, Snapshot, Engine.Import; Envelope is a snapshot with its events, SignEnvelope signs it
//	delegate  CreateDelegation hands a part of an authorization on, within a Scope
//	verify    VerifyAuthorization, VerifyDelegationChain, VerifySnapshot, VerifyAuditEvents, VerifyEnvelope, VerifyReplay; whom to
//	          believe is a Trust of key sets (ParseKeySets), and a Verifier binds one
//	enforce   PEP decides whether one action may run now, and ConsumedIDs lets each authorization through once
//	tools     CheckIntent, CheckEvent and CheckAuthorization compare with the published schemas
//	values    Parse, Canonical, Hash; Value and Object are what every artifact is made of
//
// A verdict depends on the arguments alone: now is always given, in Unix seconds. Whatever can grow has a limit, named Max and
// what it bounds; what could not be read back is not written.
//
// # Wire format
//
// Every artifact is canonical JSON: UTF-8, no spaces, names and strings in NFC, names sorted by their UTF-8 bytes,
// integers only, and integers of unlimited size as strings of digits. A member called ts is an integer wherever it
// stands. Hashes are SHA-256 in lowercase hex.
//
//	intent hash     hash of the binding members of the intent, as they came
//	state hash      hash of {engineVersion, formatVersion, modules, policyId}, modules holding the hash of each module's payload
//	snapshot        the same object with the payloads themselves
//	authorization   signed over OXDEAI_AUTH_V1 LF canonical bytes, by Ed25519 (base64) or HMAC-SHA256 (hex)
//	envelope        {formatVersion 1, snapshot (base64), events, issuer?, alg?, kid?, signature?}, under OXDEAI_ENVELOPE_V1
//	delegation      the whole object without its signature, under OXDEAI_DELEGATION_V1
//	audit head      SHA-256 of the head before in hex, LF, and the canonical bytes of the event; the first head is GenesisHash
//
// # Where it is stricter than the reference
//
// The bytes are those of the reference. Some of its decisions are not safe, so the zero value of the options does not
// reproduce them: an authorization is released once only, and an intent with a negative amount, a negative depth or
// an unknown type is denied. Compat brings each of them back. The parser refuses a byte order mark, broken UTF-8 and
// repeated names, the lifetime of an authorization is a whole number of seconds, and names that a language gives to
// every object are absent here. The check of an issued authorization also looks at the expiry that the engine signed, and a
// state with a missing part is not healed by an import.
//
// Two weaknesses are in the protocol's own golden data, so a default engine has them: a list of assets does not bind an
// intent without one, and a nonce is forgotten in its window when more come than the state keeps. Harden closes them.
//
// The verifiers are closed in the same way, with options called Accept and what they accept: strict mode takes no
// HMAC without a secret, and by default no retired key, no signature without its domain, no unsigned envelope, no
// snapshot that the last checkpoint does not name, no audit log without a head to compare, and no delegation that
// somebody other than the delegator signed. A scope of a parent that is no object is refused, and an enforcement point
// takes no delegation without a scope and no text that is not in NFC; elsewhere an id that is not counts as used.
//
// A snapshot has no place for the set of released authorizations. It stays in the State, in State.Encode and in the
// second file of a FileStore; a host that moves a bare snapshot to another state loses it.
package oxdeai
