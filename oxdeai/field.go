package oxdeai

// textField gives a text field of the protocol: a string that is not empty.
func textField(v Value) (string, bool) {
	s, ok := v.(string)
	return s, ok && s != ""
}

// isTime says whether v is a whole number of seconds, not negative. It may be beyond MaxSafeInteger, which Canonical refuses.
func isTime(v Value) bool {
	f, ok := v.(float64)
	return ok && f >= 0 && isInteger(v)
}

// integerMember gives a member that is a whole number.
func integerMember(o *Object, name string) (float64, bool) {
	v, _ := o.Get(name)
	f, ok := v.(float64)
	return f, ok && isInteger(v)
}
