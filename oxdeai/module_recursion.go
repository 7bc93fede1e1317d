package oxdeai

// decideRecursion denies an action that is nested deeper than the agent may.
func decideRecursion(q *request) (ruling, error) {
	depth, err := q.intent.depth()
	if err != nil {
		return ruling{}, err
	}
	if depth > q.state.MaxDepth[q.agent] {
		return denied(DepthExceeded)
	}
	return allowed(nil)
}

func encodeRecursion(e *encoder, s *State) {
	e.raw(`{"max_depth":`)
	encodeNumbers(e, s.MaxDepth, (*encoder).count)
	e.raw("}")
}

func resetRecursion(s *State) { s.MaxDepth = map[string]int64{} }

func loadRecursion(s *State, o *Object) (err error) {
	s.MaxDepth, err = readMap(o, "max_depth", "recursion.max_depth", readCount)
	return err
}
