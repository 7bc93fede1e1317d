package providers

import (
	"maps"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// vocabulary are the names that mean something in one kind of object, by their
// folds. Servers in Go, C or .NET read another spelling of such a name as the name,
// and others do not, so that the cap that was checked would not be the cap that is
// obeyed. A name that only looks like one of them is refused.
type vocabulary map[string]string

func vocabularyOf(list ...string) vocabulary {
	v := vocabulary{}
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
func (v vocabulary) mistakable(name string) string {
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

// check refuses a name at a place if some server may read it as another.
func (v vocabulary) check(place, name string) error {
	known := v.mistakable(name)
	if known == "" {
		return nil
	}
	if len(name) > maxFoldBytes { // by what follows the zero byte
		name = strings.ToValidUTF8(name[:maxFoldBytes], "")
	}
	return parseErrorf(under(place, name), "%s: some servers read the member %+q as %s and others do not; send %s alone, spelled so",
		orBody(place), name, known, known)
}

// under is the path of a member.
func under(place, name string) string {
	if place == "" {
		return name
	}
	return place + "." + name
}

// level is one kind of object whose members mean something.
type level[P objects] struct {
	members map[string]reader[P]
	other   reader[P]  // of every name that is not there
	known   vocabulary // the names that are
}

// objects is a parser: it reads objects, as a scanner does.
type objects interface {
	object(place string, member func(name string) error) error
}

// reader reads the value of one member.
type reader[P objects] func(p P, name string) error

func levelOf[P objects](other reader[P], members map[string]reader[P]) *level[P] {
	return &level[P]{members, other, vocabularyOf(slices.Collect(maps.Keys(members))...)}
}

// object reads the object that comes next at a place.
func (l *level[P]) object(p P, place string) error {
	return p.object(place, func(name string) error { return l.member(p, place, name) })
}

// member reads the value of a member.
func (l *level[P]) member(p P, place, name string) error {
	if read, ok := l.members[name]; ok {
		return read(p, name)
	}
	if err := l.known.check(place, name); err != nil {
		return err
	}
	return l.other(p, name)
}

// data are members under which names are the client's own: schemas, and the
// arguments of tools.
var data = map[string]bool{"arguments": true, "input": true, "parameters": true, "schema": true, "definition": true}

// inner is the vocabulary of what lies under a member: the same under a name that is
// in it, none under any other.
func (v vocabulary) inner(place, name string) (vocabulary, error) {
	if v == nil {
		return nil, nil
	}
	if v[names.Fold(name)] == name && !data[name] {
		return v, nil
	}
	return nil, v.check(place, name)
}

// checked reads any value in whose objects names are of one vocabulary.
func (s *scanner) checked(place string, v vocabulary) error {
	kind := s.peek()
	if v == nil || kind != '{' && kind != '[' {
		_, err := s.skip()
		return err
	}
	if kind == '[' {
		return s.array(place, func() error { return s.checked(place, v) })
	}
	return s.object(place, func(name string) error {
		inner, err := v.inner(place, name)
		if err != nil {
			return err
		}
		return s.checked(place, inner)
	})
}
