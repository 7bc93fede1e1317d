package pricing

// Load builds a table from other files than the built-in ones.
var Load = load
