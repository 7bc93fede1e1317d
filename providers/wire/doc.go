// Package wire is the toolkit that dialects are made of. It knows JSON and server-sent
// events, and nothing of any vendor.
//
// A Scanner reads a request's body once and strictly: it refuses what two parsers could
// read differently, and whatever is beyond its limits. A Level says what the members of
// one kind of object mean, and refuses names that some servers would take for one of
// them. Splices change a body and leave every other byte as it was.
//
// A response is read as it passes, leniently and in bounded memory: an Opening tells a
// document from a stream, a Document keeps the values at a few paths of JSON of any size,
// an EventStream cuts a stream into events whatever its line ends are, and a Walk steps
// through an event. How a response is cut into chunks never
// changes what is read of it.
package wire
