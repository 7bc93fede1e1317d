package gate

// SetMax changes how many endings an outbox takes.
func (o *Outbox) SetMax(n int) { o.max = n }

// Waiting is how many calls of a tenant stand in line.
func (g *Gate) Waiting(tenant string) int {
	g.line.mu.Lock()
	defer g.line.mu.Unlock()
	return len(g.line.queues[tenant])
}
