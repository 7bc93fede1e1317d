package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// entry is one value of the policy file and the name it stands under. The
// zero value was not given.
type entry struct {
	field string
	node  *yaml.Node
}

func (e *entry) given() bool { return e.node != nil }

func (e *entry) slot() *entry { return e }

// scalar is a single value, kept as its text: amounts never pass through a
// float.
type scalar struct{ entry }

// words is a list of single values, or one of them.
type words struct{ entry }

// section is a mapping of the fields of T.
type section[T any] struct{ entry }

// list is a list of such mappings, read one at a time.
type list[T any] struct{ entry }

// named is a mapping from names to such mappings.
type named[T any] struct{ entry }

func (section[T]) element() reflect.Type { return reflect.TypeFor[T]() }
func (list[T]) element() reflect.Type    { return reflect.TypeFor[T]() }
func (named[T]) element() reflect.Type   { return reflect.TypeFor[T]() }

// reader takes a YAML document apart and collects what is wrong with it.
type reader struct {
	file     string
	problems problems
	layouts  map[reflect.Type]layout
}

// layout is where the fields of a document type are, by their YAML names.
type layout struct {
	names []string
	index map[string][]int
}

// parse returns the one document of data, or nil after a problem.
func (r *reader) parse(data []byte) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		r.syntax(err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err == io.EOF {
		r.at(1, 1, "the file is empty; `aegis-proxy init` writes one to start from")
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		r.at(second.Line, second.Column, "a policy is one document; remove the \"---\" and what follows")
	} else if err != io.EOF {
		r.syntax(err)
	}
	if len(doc.Content) == 0 {
		r.at(1, 1, "the file is empty; `aegis-proxy init` writes one to start from")
		return nil
	}
	return doc.Content[0]
}

func (r *reader) syntax(err error) {
	var e *yaml.LoadError
	if errors.As(err, &e) {
		r.at(e.Mark.Line, e.Mark.Column, "not YAML: %s", e.Message)
		return
	}
	r.at(1, 1, "not YAML: %v", err)
}

func (r *reader) at(line, column int, format string, args ...any) {
	r.problems.add(problem{r.file, max(line, 1), max(column, 1), fmt.Sprintf(format, args...)})
}

// reject records what is wrong with a node.
func (r *reader) reject(n *yaml.Node, format string, args ...any) {
	r.at(n.Line, n.Column, format, args...)
}

// refuse records what is wrong with an entry, after its name.
func (r *reader) refuse(e *entry, format string, args ...any) {
	r.reject(e.node, e.field+": "+format, args...)
}

// fields reads a mapping into the entries of a document type, and refuses
// names that the type does not have or that are given twice. It reports
// whether there is a mapping.
func (r *reader) fields(n *yaml.Node, what string, into any) bool {
	if n.Kind != yaml.MappingNode {
		r.reject(n, "%s must be a mapping of fields, as in \"name: value\"", what)
		return false
	}
	v := reflect.ValueOf(into).Elem()
	known := r.layout(v.Type())
	for key, value := range r.pairs(n) {
		if index, ok := known.index[key.Value]; ok {
			*v.FieldByIndex(index).Addr().Interface().(interface{ slot() *entry }).slot() = entry{key.Value, value}
			continue
		}
		names := known.names
		if open, ok := into.(opener); ok {
			e := open.other(key.Value)
			switch {
			case e != nil && e.given():
				r.reject(key, "%s is already given as %s; remove one", key.Value, e.field)
				continue
			case e != nil:
				*e = entry{key.Value, value}
				continue
			}
			names = slices.Concat(names, open.others())
		}
		r.reject(key, "%s", unknownField(key.Value, what, names))
	}
	return true
}

// opener is a document type that has fields beside those of its struct.
type opener interface {
	// other is the entry of a field, nil if there is none of that name. Two names may be
	// those of one field.
	other(name string) *entry
	others() []string
}

// isMapping refuses what is none.
func (r *reader) isMapping(e *entry) bool {
	if e.node.Kind != yaml.MappingNode {
		r.refuse(e, "must be a mapping from names to values")
	}
	return e.node.Kind == yaml.MappingNode
}

// pairs yields the names and values of a mapping that can be used, and
// refuses the others.
func (r *reader) pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if !r.plain(key, "a field's name") || !r.plain(value, key.Value) {
				continue
			}
			if key.Kind != yaml.ScalarNode {
				r.reject(key, "a field's name must be a single word")
				continue
			}
			if line, twice := seen[key.Value]; twice {
				r.reject(key, "%s is already given on line %d; remove one", key.Value, line)
				continue
			}
			seen[key.Value] = key.Line
			if !yield(key, value) {
				return
			}
		}
	}
}

// plain refuses the YAML that a policy has no use for, and fields left empty,
// which a reader could take for "no limit".
func (r *reader) plain(n *yaml.Node, what string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		r.reject(n, "%s: aliases are not read here; share rules between tenants by a plan", what)
	case n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle != 0:
		r.reject(n, "%s: remove the tag %q", what, n.Tag)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		r.reject(n, "%s has no value; give it one or remove it", what)
	default:
		return true
	}
	return false
}

// text returns a scalar's text, and whether there is one.
func (r *reader) text(s *scalar) (string, bool) {
	if !s.given() {
		return "", false
	}
	if s.node.Kind != yaml.ScalarNode {
		r.refuse(&s.entry, "must be a single value")
		return "", false
	}
	return s.node.Value, true
}

// each returns the single values of a list, which may be written without
// brackets if it is only one.
func (r *reader) each(w *words) []scalar {
	switch {
	case !w.given():
		return nil
	case w.node.Kind == yaml.ScalarNode:
		return []scalar{{w.entry}}
	case w.node.Kind != yaml.SequenceNode:
		r.refuse(&w.entry, "must be a list, as in [a, b]")
		return nil
	}
	all := make([]scalar, 0, len(w.node.Content))
	for _, n := range w.node.Content {
		if r.plain(n, w.field) {
			all = append(all, scalar{entry{w.field, n}})
		}
	}
	return all
}

// read returns the fields of a section; none if it was not given.
func (s *section[T]) read(r *reader) (fields T) {
	if s.given() {
		r.fields(s.node, s.field, &fields)
	}
	return fields
}

// read yields the elements of a list with the node of each.
func (l *list[T]) read(r *reader) iter.Seq2[*yaml.Node, *T] {
	return func(yield func(*yaml.Node, *T) bool) {
		if !l.given() {
			return
		}
		if l.node.Kind != yaml.SequenceNode {
			r.refuse(&l.entry, "must be a list, each element behind a \"- \"")
			return
		}
		for _, n := range l.node.Content {
			if !r.plain(n, l.field) {
				continue
			}
			fields := new(T)
			if r.fields(n, "each of "+l.field, fields) && !yield(n, fields) {
				return
			}
		}
	}
}

// read yields the names of a mapping with the fields of each.
func (m *named[T]) read(r *reader) iter.Seq2[scalar, *T] {
	return func(yield func(scalar, *T) bool) {
		if !m.given() {
			return
		}
		if m.node.Kind != yaml.MappingNode {
			r.refuse(&m.entry, "must be a mapping from names to rules")
			return
		}
		for key, value := range r.pairs(m.node) {
			fields := new(T)
			if r.fields(value, key.Value, fields) && !yield(scalar{entry{m.field, key}}, fields) {
				return
			}
		}
	}
}

func (r *reader) layout(t reflect.Type) layout {
	if known, ok := r.layouts[t]; ok {
		return known
	}
	known := layout{index: map[string][]int{}}
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("yaml"); name != "" {
			known.names = append(known.names, name)
			known.index[name] = f.Index
		}
	}
	slices.Sort(known.names)
	r.layouts[t] = known
	return known
}

// literalKeys are names under which people write a key into the file itself.
var literalKeys = []string{"api_key", "apikey", "key", "secret", "token", "password"}

func unknownField(name, what string, known []string) string {
	if slices.Contains(literalKeys, strings.ToLower(name)) {
		if slices.Contains(known, "api_key_env") {
			return "no key belongs in this file; name its environment variable in api_key_env, or its file in api_key_file"
		}
		if slices.Contains(known, "sha256") {
			return "no key belongs in this file; give its SHA-256 in sha256, as `aegis-proxy keys new` prints it"
		}
	}
	said := fmt.Sprintf("unknown field %s in %s", quote(name), what)
	if near := names.Nearest(name, known); near != "" {
		return said + "; did you mean " + near + "?"
	}
	if len(known) > mostListed {
		return said + "; docs/configuration.md has the fields that there are"
	}
	return said + "; it knows " + strings.Join(known, ", ")
}

// mostListed is how many known names are read at a glance.
const mostListed = 12
