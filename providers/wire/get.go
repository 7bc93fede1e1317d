package wire

import "github.com/tidwall/gjson"

// Parse reads JSON in place: what it returns shares the memory of text, and is not to be
// kept for longer. Of text that is no JSON it returns something all the same.
func Parse(text []byte) gjson.Result { return gjson.Parse(View(text)) }

// Get returns the first member by that name of an object; of anything else, and where
// there is none, the zero Result. It is not for bodies with two members of one name.
func Get(object gjson.Result, name string) (found gjson.Result) {
	if !object.IsObject() {
		return found
	}
	object.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			found = value
		}
		return key.Str != name
	})
	return found
}
