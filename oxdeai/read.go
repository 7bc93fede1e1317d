package oxdeai

import "fmt"

// The readers of one value in a snapshot or a state. Each returns false for a value of the wrong type or out of range.

func readBool(v Value) (bool, bool) {
	b, ok := v.(bool)
	return b, ok
}

// readCount reads an integer >= 0.
func readCount(v Value) (int64, bool) {
	n, ok := SafeInt(v)
	return n, ok && n >= 0
}

// readWindow reads a window in seconds, which is an integer > 0.
func readWindow(v Value) (int64, bool) {
	n, ok := SafeInt(v)
	return n, ok && n > 0
}

func readStrings(v Value) ([]string, bool) {
	return readList(v, func(v Value) (string, bool) {
		s, ok := v.(string)
		return s, ok
	})
}

func readNonce(v Value) (NonceRecord, bool) {
	o, ok := v.(*Object)
	if !ok {
		return NonceRecord{}, false
	}
	nonce, _ := o.Get("nonce")
	ts, _ := o.Get("ts")
	text, isText := nonce.(string)
	at, isInt := SafeInt(ts)
	return NonceRecord{text, at}, isText && isInt
}

func readCall(v Value) (ToolCall, bool) {
	o, ok := v.(*Object)
	if !ok {
		return ToolCall{}, false
	}
	tool, _ := o.Get("tool")
	ts, _ := o.Get("ts")
	name, isText := tool.(string)
	at, isInt := SafeInt(ts)
	return ToolCall{at, name, isText}, isInt && (isText || tool == nil)
}

func readCounter(v Value) (VelocityCounter, bool) {
	o, ok := v.(*Object)
	if !ok {
		return VelocityCounter{}, false
	}
	start, _ := o.Get("window_start")
	count, _ := o.Get("count")
	at, ok1 := SafeInt(start)
	n, ok2 := readCount(count)
	return VelocityCounter{at, n}, ok1 && ok2
}

// readExpiry reads an active authorization, which is an object with the time of its expiry.
func readExpiry(v Value) (int64, bool) {
	o, ok := v.(*Object)
	if !ok {
		return 0, false
	}
	at, _ := o.Get("expires_at")
	return SafeInt(at)
}

func readList[T any](v Value, read func(Value) (T, bool)) ([]T, bool) {
	list, ok := v.([]Value)
	if !ok {
		return nil, false
	}
	out := make([]T, len(list))
	for i, v := range list {
		if out[i], ok = read(v); !ok {
			return nil, false
		}
	}
	return out, true
}

// readMap reads the member called name, a map from agents. An absent or null member is empty. Path names the member
// in the error.
func readMap[T any](o *Object, name, path string, read func(Value) (T, bool)) (map[string]T, error) {
	v, _ := o.Get(name)
	if v == nil {
		return map[string]T{}, nil
	}
	m, ok := v.(*Object)
	if !ok {
		return nil, invalid(path)
	}
	return readEntries(m, path, read)
}

func readEntries[T any](o *Object, path string, read func(Value) (T, bool)) (map[string]T, error) {
	out := make(map[string]T, len(o.Members))
	for _, e := range o.Members {
		t, ok := read(e.Value)
		if !ok {
			return nil, invalid(path + "." + e.Name)
		}
		out[e.Name] = t
	}
	return out, nil
}

// readMaps reads a map of maps, such as the limits of each tool for each agent.
func readMaps[T any](o *Object, name, path string, read func(Value) (T, bool)) (map[string]map[string]T, error) {
	return readMap(o, name, path, func(v Value) (map[string]T, bool) {
		inner, ok := v.(*Object)
		if !ok {
			return nil, false
		}
		m, err := readEntries(inner, path, read)
		return m, err == nil
	})
}

// readField reads a member that has to be there.
func readField[T any](o *Object, name, path string, read func(Value) (T, bool)) (T, error) {
	v, _ := o.Get(name)
	t, ok := read(v)
	if !ok {
		return t, invalid(path)
	}
	return t, nil
}

func invalid(path string) error { return fmt.Errorf("%w: invalid %s", ErrImport, path) }
