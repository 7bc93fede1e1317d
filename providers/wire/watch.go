package wire

import "strings"

// Paths say what a Document looks for in JSON text. A path names a member by the members
// that it lies in, from the top, with dots between them: "response.usage". It does not
// reach into arrays; of a document that is a list it begins at each element. No path may
// lie in another one.
type Paths struct {
	Keep    []string        // values that are kept
	Output  []string        // values whose strings are output
	Numbers []string        // values whose strings and digits are output
	Labels  map[string]bool // members in there whose strings are not
	Words   []string        // noted wherever a string is one of them
}

// Watch returns what a Document needs to find these.
func (p Paths) Watch() *Watch {
	w := &Watch{root: &node{}, labels: p.Labels, words: p.Words, kept: map[string]int{}}
	for i, path := range p.Keep {
		w.kept[path] = i
		n := w.root.at(path)
		n.keeps, n.slot = true, i
	}
	for _, path := range p.Output {
		w.root.at(path).output = true
	}
	for _, path := range p.Numbers {
		n := w.root.at(path)
		n.output, n.numbers = true, true
	}
	return w
}

// Watch is what documents of one kind are looked through for. It may serve many at once.
type Watch struct {
	root   *node
	kept   map[string]int // the slot of each path
	labels map[string]bool
	words  []string
}

// node is a member that a path goes through or ends at.
type node struct {
	name            string
	members         []*node // few: to compare them is cheaper than to look one up
	keeps           bool    // its value, in slot
	slot            int
	output, numbers bool
}

// maxPath is the most members of a path.
const maxPath = 4

// at makes the node at the end of a path.
func (n *node) at(path string) *node {
	for name := range strings.SplitSeq(path, ".") {
		next := n.member(name)
		if next == nil {
			next = &node{name: name}
			n.members = append(n.members, next)
		}
		n = next
	}
	return n
}

// member is the node of a member, nil without one.
func (n *node) member(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// ends reports whether a path ends here.
func (n *node) ends() bool { return n.keeps || n.output }
