package gate

// SetMax changes how many endings an outbox takes.
func (o *Outbox) SetMax(n int) { o.max = n }
