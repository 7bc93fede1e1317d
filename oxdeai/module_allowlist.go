package oxdeai

import "slices"

// decideAllowlists collects every list that the intent misses. Names are compared as they came. An intent that names
// no asset passes the list of assets; that is the protocol, which Harden.NameAsset closes.
func decideAllowlists(q *request) (ruling, error) {
	var reasons []Reason
	lists := &q.state.Allowlists
	if misses(lists.ActionTypes, q.intent.get("action_type")) {
		reasons = append(reasons, AllowlistAction)
	}
	asset := q.intent.get("asset")
	named := asset != nil && asset != ""
	if (named || q.harden.NameAsset) && misses(lists.Assets, asset) {
		reasons = append(reasons, AllowlistAsset)
	}
	if misses(lists.Targets, q.intent.get("target")) {
		reasons = append(reasons, AllowlistTarget)
	}
	return denied(reasons...)
}

// misses tells whether a list restricts and does not contain v.
func misses(list []string, v Value) bool {
	s, ok := v.(string)
	return len(list) > 0 && (!ok || !slices.Contains(list, s))
}

func encodeAllowlists(e *encoder, s *State) {
	e.raw(`{"action_types":`)
	encodeList(e, normalList(s.Allowlists.ActionTypes), (*encoder).text)
	e.raw(`,"assets":`)
	encodeList(e, normalList(s.Allowlists.Assets), (*encoder).text)
	e.raw(`,"targets":`)
	encodeList(e, normalList(s.Allowlists.Targets), (*encoder).text)
	e.raw("}")
}

// normalList returns the list without repetitions, in UTF-16 order.
func normalList(list []string) []string {
	if len(list) < 2 {
		return list
	}
	out := slices.Clone(list)
	slices.SortFunc(out, compareUTF16)
	return slices.Compact(out)
}

func resetAllowlists(s *State) { s.Allowlists = Allowlists{} }

func loadAllowlists(s *State, o *Object) (err error) {
	a := &s.Allowlists
	if a.ActionTypes, err = loadList(o, "action_types"); err != nil {
		return err
	}
	if a.Assets, err = loadList(o, "assets"); err != nil {
		return err
	}
	a.Targets, err = loadList(o, "targets")
	return err
}

func loadList(o *Object, name string) ([]string, error) {
	v, ok := o.Get(name)
	if !ok {
		return nil, nil
	}
	list, ok := readStrings(v)
	if !ok {
		return nil, invalid("allowlists." + name)
	}
	return normalList(list), nil
}
