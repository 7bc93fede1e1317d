package oxdeai

import (
	"math"
	"math/big"
)

// Value is one JSON value. It holds nil, bool, float64, *big.Int, string, []Value or *Object; every other Go type is
// refused by Canonical with ErrUnsupportedType. A float64 is a JSON number. A *big.Int is an integer without a size
// limit, which the canonical form writes as a string of digits; Parse never makes one.
//
// A Value is not changed after it was made, so it may be shared between goroutines.
type Value any

// Member is one name with its value in an Object.
type Member struct {
	Name  string
	Value Value
}

// Object is a JSON object that keeps its members in the order they were given. A nil *Object is not a valid Value.
type Object struct {
	Members []Member
}

// MaxSafeInteger is 2^53 - 1, the largest integer that a JSON number carries without loss (ECMA-262,
// Number.MAX_SAFE_INTEGER).
const MaxSafeInteger = 1<<53 - 1

// NewObject returns an object with these members in this order. It does not look for two equal names; Canonical does.
func NewObject(members ...Member) *Object {
	return &Object{Members: members}
}

// Get returns the value of the first member with this name, and whether there is one. Names are compared byte by
// byte, so a name that is not a member is absent whatever it is called. It takes time linear in the number of
// members. A nil object has no members.
func (o *Object) Get(name string) (Value, bool) {
	if o == nil {
		return nil, false
	}
	for i := range o.Members {
		if o.Members[i].Name == name {
			return o.Members[i].Value, true
		}
	}
	return nil, false
}

// Text returns the member as a string, and whether it is a string of at least one byte (a "text field" of the
// protocol).
func (o *Object) Text(name string) (string, bool) {
	v, _ := o.Get(name)
	s, ok := v.(string)
	return s, ok && s != ""
}

// Without returns a copy of the object that lacks the member of this name.
func (o *Object) Without(name string) *Object {
	out := &Object{Members: make([]Member, 0, len(o.Members))}
	for _, m := range o.Members {
		if m.Name != name {
			out.Members = append(out.Members, m)
		}
	}
	return out
}

// Int returns n as a JSON number. An n beyond MaxSafeInteger loses precision and is refused by Canonical.
func Int(n int64) Value { return float64(n) }

// Strings returns the list as a JSON array.
func Strings[S ~string](list []S) []Value {
	out := make([]Value, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// isInteger tells whether the value is a JSON number without a fraction: 1.0 and 2^53 are, 0.5 and infinity are not.
func isInteger(v Value) bool {
	f, ok := v.(float64)
	return ok && math.Trunc(f) == f && !math.IsInf(f, 0)
}

// SafeInt returns the value as an integer, and whether it is a JSON number that is an integer within +-MaxSafeInteger.
func SafeInt(v Value) (int64, bool) {
	f, ok := v.(float64)
	if !ok || math.Trunc(f) != f || math.Abs(f) > MaxSafeInteger {
		return 0, false
	}
	return int64(f), true
}

// kindOf names the type of a value for messages.
func kindOf(v Value) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case *big.Int:
		return "bigint"
	case string:
		return "string"
	case []Value:
		return "array"
	case *Object:
		return "object"
	}
	return "unsupported"
}
