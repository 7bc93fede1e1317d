package openai

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

const listsPage = "../../docs/lists.md"

// names are those of a list, in order.
func (l *list) names() []string {
	var names []string
	for name := range l.whole {
		if l.under[name] {
			name += ".*"
		}
		names = append(names, "`"+name+"`")
	}
	slices.Sort(names)
	return names
}

func words(l *list) string { return strings.Join(l.names(), " ") }

// providersByHost are the plain names of each host, in order.
func providersByHost() [][]string {
	byHost := map[*host][]string{}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		byHost[hosts[name]] = append(byHost[hosts[name]], name)
	}
	return slices.SortedFunc(maps.Values(byHost), slices.Compare)
}

func writeHosts(b *strings.Builder) {
	b.WriteString("| `provider` | members | else |\n|---|---|---|\n")
	row := func(names string, h *host) {
		var other []string
		for _, kind := range []call.ExtraKind{call.ExtraPart, call.ExtraTier, call.ExtraBeta} {
			if list := h.free[kind]; len(list.whole) > 0 {
				other = append(other, kind.String()+" "+words(&list))
			}
		}
		for _, kind := range []call.ExtraKind{call.ExtraMember, call.ExtraTier} {
			for _, name := range slices.Sorted(maps.Keys(h.costly[kind])) {
				why := h.costly[kind][name]
				if why == whyThoughts {
					why += h.thoughts.orCovered()
				}
				other = append(other, fmt.Sprintf("not %s `%s`: %s", kind, name, why))
			}
		}
		for _, pattern := range h.agents {
			other = append(other, "not models `"+pattern+"`: they run other models or tools by themselves")
		}
		if h.thoughts != nil {
			other = append(other, h.thoughts.list())
		}
		if h.gateway {
			other = append(other, "a gateway")
		}
		free := h.free[call.ExtraMember]
		fmt.Fprintf(b, "| %s | %s | %s |\n", names, words(&free), strings.Join(other, "; "))
	}
	for _, names := range providersByHost() {
		row("`"+strings.Join(names, "` `")+"`", hosts[names[0]])
	}
	row("any other", unknownHost)
}

func writeReasons(b *strings.Builder, kind string, reasons map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(b, "| %s | `%s` | %s |\n", kind, name, reasons[name])
	}
}

// tables are what the page says of the lists.
func tables() string {
	var b strings.Builder
	b.WriteString("### Everywhere\n\n| kind | names |\n|---|---|\n")
	for kind, list := range everywhere {
		if len(list.whole) > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", call.ExtraKind(kind), words(&list))
		}
	}
	b.WriteString("\n### By provider\n\n")
	writeHosts(&b)
	b.WriteString("\n### What is known to cost\n\n| kind | name | why |\n|---|---|---|\n")
	for _, kind := range []call.ExtraKind{call.ExtraMember, call.ExtraPart, call.ExtraTool} {
		writeReasons(&b, kind.String(), costly[kind])
	}
	b.WriteString("\n### What goes nowhere\n\n| kind | name | why |\n|---|---|---|\n")
	writeReasons(&b, "members", never)
	fmt.Fprintf(&b, "| members | `key`, `token`, `auth`, `sig`, `signature`, `code` and what ends as `%s` do, in any case and with any of `-_.` between | it may hold a credential |\n", strings.Join(wire.SecretEnds, "` `"))
	b.WriteString("\n### Headers\n\n| headers | |\n|---|---|\n")
	for _, row := range []struct {
		list headers
		what string
	}{
		{billedHeaders, "denied, unless `allow` has them"},
		{betaHeaders, "each of their values is a beta"},
		{gatewayHeaders, "what a gateway gets, beside those that `allow` has"},
	} {
		var names []string
		for _, begin := range row.list.begins {
			names = append(names, "`"+begin+"*`")
		}
		for name := range row.list.whole {
			names = append(names, "`"+name+"`")
		}
		slices.Sort(names)
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(names, " "), row.what)
	}
	return b.String()
}

// TestListsPage: docs/lists.md has the lists as they are.
func TestListsPage(t *testing.T) {
	providertest.Page(t, listsPage, "<!-- lists: go test ./providers/openai -run TestListsPage -update -->\n\n", "\n<!-- end of lists -->", tables())
}

// TestListsAreSound: no host is listed twice, and nothing is free and costly at one.
func TestListsAreSound(t *testing.T) {
	for name, h := range hosts {
		if wire.Squeezed(name) != name {
			t.Errorf("%s is never found", name)
		}
		for kind, free := range h.free {
			for listed := range free.whole {
				if why := h.costly[call.ExtraKind(kind)][listed]; why != "" {
					t.Errorf("%s: %s is free, and costs: %s", name, listed, why)
				}
				if why := forbidden(listed); call.ExtraKind(kind) == call.ExtraMember && why != "" {
					t.Errorf("%s: %s is free, and goes nowhere: %s", name, listed, why)
				}
			}
		}
	}
	for listed := range everywhere[call.ExtraMember].whole {
		if costly[call.ExtraMember][listed] != "" || forbidden(listed) != "" {
			t.Errorf("%s is free everywhere, and costs", listed)
		}
	}
}

// list says it in the page of the lists.
func (t *thoughts) list() string {
	s := "not models `" + strings.Join(t.models, "` `") + "`"
	if len(t.silent) > 0 {
		s += " (but `" + strings.Join(t.silent, "` `") + "`)"
	}
	return s + fmt.Sprintf(" unless `%s` is `%s`: they think beyond the output cap", t.off, t.value) + t.orCovered()
}
