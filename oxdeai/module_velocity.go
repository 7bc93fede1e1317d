package oxdeai

import "cmp"

// decideVelocity counts the actions of a window that starts with the first of them and does not slide.
func decideVelocity(q *request) (ruling, error) {
	v := &q.state.Velocity
	c, ok := v.Counters[q.agent]
	if !ok || q.now >= c.WindowStart+v.WindowSeconds {
		c = VelocityCounter{WindowStart: q.now}
	}
	c.Count++
	if c.Count > v.MaxActions {
		return denied(VelocityExceeded)
	}
	return allowed(func(w *State) { w.Velocity.Counters = with(w.Velocity.Counters, q.agent, c) })
}

func encodeVelocity(e *encoder, s *State) {
	e.raw(`{"config":{"max_actions":`)
	e.count(s.Velocity.MaxActions)
	e.raw(`,"window_seconds":`)
	e.window(s.Velocity.WindowSeconds)
	e.raw(`},"counters":`)
	encodeMap(e, s.Velocity.Counters, (*encoder).counter)
	e.raw("}")
}

func (e *encoder) counter(c VelocityCounter) {
	e.raw(`{"count":`)
	e.count(c.Count)
	e.raw(`,"window_start":`)
	e.int(c.WindowStart)
	e.raw("}")
}

func resetVelocity(s *State) {
	s.Velocity = Velocity{WindowSeconds: 1, Counters: map[string]VelocityCounter{}}
}

func loadVelocity(s *State, o *Object) error {
	v, _ := o.Get("config")
	config, ok := v.(*Object)
	if !ok {
		return invalid("velocity.config")
	}
	window, err1 := readField(config, "window_seconds", "velocity.config.window_seconds", readWindow)
	actions, err2 := readField(config, "max_actions", "velocity.config.max_actions", readCount)
	counters, err3 := readMap(o, "counters", "velocity.counters", readCounter)
	s.Velocity = Velocity{window, actions, counters}
	return cmp.Or(err1, err2, err3)
}
