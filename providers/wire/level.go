package wire

import (
	"maps"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// Vocabulary are the names that mean something in one kind of object, by their
// folds. Servers in Go, C or .NET read another spelling of such a name as the name,
// and others do not, so that the cap that was checked would not be the cap that is
// obeyed. A name that only looks like one of them is refused.
type Vocabulary map[string]string

// NewVocabulary returns a vocabulary of these names.
func NewVocabulary(list ...string) Vocabulary {
	v := Vocabulary{}
	for _, name := range list {
		v[names.Fold(name)] = name
	}
	return v
}

// maxFoldBytes is the longest spelling of a name that is looked up: three bytes
// for each of the longest name's.
const maxFoldBytes = 3 * 40

// mistakable returns the name that some server may read another name as, or "": one
// that differs from it by case alone, by what follows a zero byte, which ends a
// string in C, or by half surrogate pairs, which may be dropped.
func (v Vocabulary) mistakable(name string) string {
	plain, _, _ := strings.Cut(name, "\x00")
	if strings.Contains(plain, "\ufffd") {
		plain = strings.ReplaceAll(plain, "\ufffd", "")
	}
	if len(plain) > maxFoldBytes {
		return ""
	}
	var room [maxFoldBytes]byte
	known := v[string(names.AppendFold(room[:0], plain))]
	if known == name {
		return ""
	}
	return known
}

// Check refuses a name at a place if some server may read it as another.
func (v Vocabulary) Check(place, name string) error {
	known := v.mistakable(name)
	if known == "" {
		return nil
	}
	if len(name) > maxFoldBytes { // by what follows the zero byte
		name = strings.ToValidUTF8(name[:maxFoldBytes], "")
	}
	return Errorf(Under(place, name), "%s: some servers read the member %+q as %s and others do not; send %s alone, spelled so",
		orBody(place), name, known, known)
}

// Under is the path of a member.
func Under(place, name string) string {
	if place == "" {
		return name
	}
	return place + "." + name
}

// Level is one kind of object whose members mean something.
type Level[P objects] struct {
	Members map[string]Reader[P]
	Known   Vocabulary // their names
	other   Reader[P]  // of every other name
}

// objects is a parser: it reads objects, as a scanner does.
type objects interface {
	Object(place string, member func(name string) error) error
	Null() (bool, error)
}

// Reader reads the value of one member.
type Reader[P objects] func(p P, name string) error

// NewLevel returns a level with these members; other reads the value of every name that
// is not among them.
func NewLevel[P objects](other Reader[P], members map[string]Reader[P]) *Level[P] {
	return &Level[P]{members, NewVocabulary(slices.Collect(maps.Keys(members))...), other}
}

// Object reads the object that comes next at a place.
func (l *Level[P]) Object(p P, place string) error {
	return p.Object(place, func(name string) error { return l.Member(p, place, name) })
}

// Optional is Object, or reads null.
func (l *Level[P]) Optional(p P, place string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	return l.Object(p, place)
}

// Member reads the value of a member.
func (l *Level[P]) Member(p P, place, name string) error {
	if read, ok := l.Members[name]; ok {
		return read(p, name)
	}
	if err := l.Known.Check(place, name); err != nil {
		return err
	}
	return l.other(p, name)
}

// data are members under which names are the client's own: schemas, and the
// arguments of tools.
var data = map[string]bool{"arguments": true, "input": true, "parameters": true, "schema": true, "definition": true}

// Inner is the vocabulary of what lies under a member: the same under a name that is
// in it, none under one whose inside is the client's own. listed says that the name is
// in the vocabulary, or that there is none.
func (v Vocabulary) Inner(place, name string) (inner Vocabulary, listed bool, err error) {
	if v == nil {
		return nil, true, nil
	}
	if v[names.Fold(name)] != name {
		return nil, false, v.Check(place, name)
	}
	if data[name] {
		return nil, true, nil
	}
	return v, true, nil
}

// Checked reads any value in whose objects names are of one vocabulary; other reads the
// value of a name that is not in it.
func (s *Scanner) Checked(place string, v Vocabulary, other func(name string) error) error {
	kind := s.Peek()
	if v == nil || kind != '{' && kind != '[' {
		_, err := s.Skip()
		return err
	}
	if kind == '[' {
		return s.Array(place, func() error { return s.Checked(place, v, other) })
	}
	return s.Object(place, func(name string) error {
		inner, listed, err := v.Inner(place, name)
		switch {
		case err != nil:
			return err
		case !listed:
			return other(name)
		}
		return s.Checked(place, inner, other)
	})
}
