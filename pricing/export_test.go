package pricing

import "io/fs"

// Load builds a table from other files than the built-in ones.
func Load(files fs.FS) (*Table, error) { return load(files, limitsFile) }
