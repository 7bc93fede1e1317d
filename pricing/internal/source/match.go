package source

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// match flattens a clause into the names and patterns of a model.
func match(c clause, m *table.Model) error {
	switch {
	case c.Equals != "":
		m.Names = append(m.Names, c.Equals)
	case c.StartsWith != "":
		m.Prefixes = append(m.Prefixes, wholeModel(c.StartsWith))
	case c.Contains != "":
		m.Infixes = append(m.Infixes, wholeModel(c.Contains))
	case c.EndsWith != "":
		m.Infixes = append(m.Infixes, c.EndsWith)
	case c.Regex != "":
		prefix, err := datedPrefix(c.Regex)
		if err != nil {
			return err
		}
		m.Prefixes = append(m.Prefixes, prefix)
	}
	for _, one := range c.Or {
		if err := match(one, m); err != nil {
			return err
		}
	}
	return nil
}

var (
	partOfRelease = regexp.MustCompile(`[-@](2\d{3}-?)?$`)        // claude-sonnet-4-2025, gpt-5-nano-
	zeroOfRelease = regexp.MustCompile(`^(ft:.*|.*[a-z])-0$`)     // gemini-2.0-flash-0, ft:gpt-4-0; not claude-opus-4-0
	datedRegex    = regexp.MustCompile(`^\^([a-z0-9./\\-]+)-\\d`) // ^gpt-5\.6-sol-\d{4}-\d{2}-\d{2}$
)

// wholeModel cuts the beginning of a date or version off a pattern, so that what remains is the name of a model, which
// the table lets its releases follow. Azure's fine-tuned models keep theirs.
func wholeModel(pattern string) string {
	if strings.HasSuffix(pattern, ".ft-") {
		return pattern
	}
	if zeroOfRelease.MatchString(pattern) {
		return strings.TrimSuffix(pattern, "-0")
	}
	return partOfRelease.ReplaceAllString(pattern, "")
}

// datedPrefix turns the one kind of expression that the source has, a literal name and a date, into a prefix.
func datedPrefix(expression string) (string, error) {
	found := datedRegex.FindStringSubmatch(expression)
	if found == nil {
		return "", fmt.Errorf("match expression %q is not a name and a date", expression)
	}
	return strings.ReplaceAll(found[1], `\`, ""), nil
}

// tidy sorts names and patterns and drops repeats.
func tidy(m *table.Model) {
	for i := range m.Prefixes {
		m.Prefixes[i] = strings.ToLower(m.Prefixes[i])
	}
	for i := range m.Infixes {
		m.Infixes[i] = strings.ToLower(m.Infixes[i])
	}
	for _, list := range []*[]string{&m.Names, &m.Prefixes, &m.Infixes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}
