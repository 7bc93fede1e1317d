package policy

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// modelIndex finds the first entry that matches a model's name without trying all
// of them: an operator may list thousands of whole names.
type modelIndex struct {
	whole    map[string]int // the first entry with that name, folded
	patterns []int          // entries with a *, in order
}

func indexOf(models []*Model) modelIndex {
	x := modelIndex{whole: map[string]int{}}
	for i, m := range models {
		if strings.Contains(m.Match, "*") {
			x.patterns = append(x.patterns, i)
			continue
		}
		name := names.Fold(m.Match)
		if _, taken := x.whole[name]; !taken {
			x.whole[name] = i
		}
	}
	return x
}

// find returns the first of the models that the index is of, or nil.
func (x *modelIndex) find(models []*Model, name string) *Model {
	first, found := x.whole[names.Fold(name)]
	for _, i := range x.patterns {
		if found && i > first {
			break
		}
		if names.Match(models[i].Match, name) {
			return models[i]
		}
	}
	if !found {
		return nil
	}
	return models[first]
}
