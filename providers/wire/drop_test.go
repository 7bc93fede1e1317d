package wire_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// TestDrop: whichever entries are taken out of a list or an object, the others are left, and
// what is left is JSON.
func TestDrop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gone := rapid.SliceOfN(rapid.Bool(), 1, 6).Draw(t, "gone")
		list, object := "[ ", "{ "
		var at []wire.Span
		var members wire.Members
		var out, kept []int
		var names []string
		for i, drop := range gone {
			if i > 0 {
				list, object = list+" , ", object+" ,"
			}
			start := len(list)
			list += fmt.Sprint(i)
			at = append(at, wire.Span{Start: start, End: len(list)})
			name := fmt.Sprintf("m%d", i)
			start = len(object)
			object += `"` + name + `" : ` + fmt.Sprint(i)
			members = append(members, wire.Member{Name: name, At: wire.Span{Start: start, End: start + len(name) + 2}, Value: wire.Span{Start: len(object) - 1, End: len(object)}})
			if drop {
				out, names = append(out, i), append(names, name)
			} else {
				kept = append(kept, i)
			}
		}
		list, object = list+" ]", object+" }"
		var left []int
		if err := json.Unmarshal(wire.Apply([]byte(list), wire.Drop(at, out)).Join(), &left); err != nil || len(left)+len(kept) > 0 && !reflect.DeepEqual(left, kept) {
			t.Errorf("of %s without %v is left %v: %v", list, out, left, err)
		}
		var rest map[string]int
		text := wire.Apply([]byte(object), members.Drop(append(names, "none")...)).Join()
		if err := json.Unmarshal(text, &rest); err != nil || len(rest) != len(kept) || strings.Count(string(text), ":") != len(kept) {
			t.Errorf("of %s without %v is left %s: %v", object, names, text, err)
		}
	})
}
