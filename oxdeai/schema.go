package oxdeai

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// Issue is one finding of a schema check. Path starts with $, Code is one of REQUIRED, TYPE, ENUM, VALUE, FORMAT,
// ADDITIONAL.
type Issue struct {
	Path    string
	Code    string
	Message string
}

// sortIssues orders issues by path, code and message, each in UTF-16 order.
func sortIssues(issues []Issue) {
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(compareUTF16(a.Path, b.Path), compareUTF16(a.Code, b.Code), compareUTF16(a.Message, b.Message))
	})
}

// compareUTF16 compares two strings by their UTF-16 code units. That differs from the byte order only where a
// character above U+FFFF, which starts with a surrogate, meets one from U+E000 on.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		r, n := utf8.DecodeRuneInString(a)
		q, m := utf8.DecodeRuneInString(b)
		if r != q {
			return cmp.Compare(utf16Rank(r), utf16Rank(q))
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

// utf16Rank maps a code point to a number with the order of its UTF-16 code units: the last part of the basic plane
// goes behind all other planes.
func utf16Rank(r rune) rune {
	if r >= 0xE000 && r <= 0xFFFF {
		return r + 0x200000
	}
	return r
}

// Issue codes of the schema checks.
const (
	issueRequired   = "REQUIRED"
	issueType       = "TYPE"
	issueEnum       = "ENUM"
	issueValue      = "VALUE"
	issueFormat     = "FORMAT"
	issueAdditional = "ADDITIONAL"
)

// fieldRule says what one member must be.
type fieldRule struct {
	name    string
	valid   func(Value) bool
	code    string
	message string
}

// anyRule is for a member that may be anything.
func anyRule(name string) fieldRule {
	return fieldRule{name: name, valid: func(Value) bool { return true }}
}

func textRule(name string) fieldRule {
	return fieldRule{name, isText, issueType, "must be non-empty string"}
}

func stringRule(name string) fieldRule {
	return fieldRule{name, isString, issueType, "must be string"}
}

func timeRule(name string) fieldRule {
	return fieldRule{name, isTime, issueType, "must be non-negative integer"}
}

func enumRule(name, message string, allowed ...string) fieldRule {
	return fieldRule{name, func(v Value) bool {
		s, ok := v.(string)
		return ok && slices.Contains(allowed, s)
	}, issueEnum, message}
}

// checkSchema lists what is wrong with an object that must have all required members and may have the others. The
// issues are not sorted. A nil object has no members.
func checkSchema(o *Object, required, optional []fieldRule) []Issue {
	var issues []Issue
	for i := range required {
		if _, found := o.Get(required[i].name); !found {
			issues = append(issues, Issue{Path: "$", Code: issueRequired, Message: "missing " + required[i].name})
		}
	}
	if o == nil {
		return issues
	}
	for _, m := range o.Members {
		rule := cmp.Or(findRule(required, m.Name), findRule(optional, m.Name))
		switch {
		case rule == nil:
			issues = append(issues, Issue{Path: "$." + m.Name, Code: issueAdditional, Message: "unknown field"})
		case !rule.valid(m.Value):
			issues = append(issues, Issue{Path: "$." + m.Name, Code: rule.code, Message: rule.message})
		}
	}
	return issues
}

func findRule(rules []fieldRule, name string) *fieldRule {
	for i := range rules {
		if rules[i].name == name {
			return &rules[i]
		}
	}
	return nil
}

func isString(v Value) bool {
	_, ok := v.(string)
	return ok
}

func isText(v Value) bool {
	_, ok := textField(v)
	return ok
}

func isStringList(v Value) bool {
	list, ok := v.([]Value)
	for _, e := range list {
		ok = ok && isString(e)
	}
	return ok
}
