package oxdeai

// decideKillSwitch denies everything while the switch is on, for all or for this agent. It also blocks releases.
func decideKillSwitch(q *request) (ruling, error) {
	if q.state.KillSwitch.Global || q.state.KillSwitch.Agents[q.agent] {
		return denied(KillSwitchOn)
	}
	return allowed(nil)
}

func encodeKillSwitch(e *encoder, s *State) {
	e.raw(`{"agents":`)
	encodeMap(e, s.KillSwitch.Agents, (*encoder).bool)
	e.raw(`,"global":`)
	if s.oddGlobal != nil {
		e.value(s.oddGlobal)
	} else {
		e.bool(s.KillSwitch.Global)
	}
	e.raw("}")
}

func resetKillSwitch(s *State) {
	s.KillSwitch = KillSwitch{Agents: map[string]bool{}}
}

func loadKillSwitch(s *State, o *Object) (err error) {
	if s.KillSwitch.Global, err = readField(o, "global", "kill_switch.global", readBool); err != nil {
		return err
	}
	s.KillSwitch.Agents, err = readMap(o, "agents", "kill_switch.agents", readBool)
	return err
}
