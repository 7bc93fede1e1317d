// Package house checks the shape of the project: who may import whom, and how
// long a file or a function may grow.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/aegis-proxy/aegis-proxy/"
	root         = "../.."
	maxFileLines = 600
	maxFuncLines = 60
)

// dialect stands for every package right below providers that rooms does not list.
const dialect = "providers/*"

// rooms says for each package which of ours it may import. What is not listed
// may import anything.
var rooms = map[string][]string{
	"audit":                  {"call"},
	"budget":                 {},
	"budget/embedded":        {"budget"},
	"budget/redis":           {"budget"},
	"call":                   {},
	"oxdeai":                 {},
	"pricing":                {"call", "internal/names", "pricing/internal/source", "pricing/internal/table"},
	"providers":              {"call", "providers/wire"},
	"providers/wire":         {"internal/names"},
	"providers/bill":         {"providers/wire"},
	"providers/dialects":     {"providers", dialect},
	dialect:                  {"call", "internal/names", "providers", "providers/agents", "providers/bill", "providers/wire"},
	"providers/agents":       {"call", "providers"},
	"providers/providertest": {"call", "providers", "tokenizer"},
	"tokenizer":              {"internal/names"},
	"internal/names":         {},
	"policy":                 {"budget", "call", "internal/names", "pricing"},
	"gate":                   {"audit", "budget", "call", "internal/names", "oxdeai", "policy", "pricing"},
	"internal/admission":     {"audit", "call", "gate", "internal/names", "policy", "pricing", "providers", "providers/agents", "tokenizer"},
	"client":                 {"call", "gate", "internal/admission", "policy", "providers", "providers/dialects"},
	"proxy":                  {"audit", "call", "gate", "internal/admission", "policy", "providers"},
	"admin":                  {"budget", "call", "policy", "pricing"},
	"report":                 {"audit", "budget", "call", "gate"},
}

// guests says which packages alone may import a library.
var guests = map[string][]string{
	"github.com/redis/go-redis/v9": {"budget/redis"},
	"net/http":                     {"proxy", "client", "internal/admission", "admin", "cmd/aegis-proxy", "internal/simulator", "internal/bench", "internal/bench/plain", "internal/bench/upstream"},
}

// source is one Go file outside tests.
type source struct {
	path string // from the root
	file *ast.File
	fset *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, root+"/test/") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		list = append(list, source{strings.TrimPrefix(filepath.ToSlash(path), root+"/"), file, fset})
		return err
	})
	if err != nil || len(list) == 0 {
		t.Fatalf("%d files: %v", len(list), err)
	}
	return list
}

func (s source) room() string { return filepath.ToSlash(filepath.Dir(s.path)) }

func (s source) imports() []string {
	var list []string
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		list = append(list, path)
	}
	return list
}

// listed is how rooms lists a package: by its name, or as a dialect.
func listed(room string) string {
	if _, named := rooms[room]; !named && filepath.ToSlash(filepath.Dir(room)) == "providers" {
		return dialect
	}
	return room
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		allowed, limits := rooms[listed(s.room())]
		for _, path := range s.imports() {
			ours, isOurs := strings.CutPrefix(path, module)
			if limits && isOurs && !slices.Contains(allowed, listed(ours)) {
				t.Errorf("%s imports %s; %s may import only %v", s.path, ours, s.room(), allowed)
			}
			if hosts, limited := guests[path]; limited && limits && !slices.Contains(hosts, s.room()) {
				t.Errorf("%s imports %s, which is for %v", s.path, path, hosts)
			}
		}
	}
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		lines := s.fset.File(s.file.Pos()).LineCount()
		if lines > maxFileLines {
			t.Errorf("%s has %d lines, want at most %d", s.path, lines, maxFileLines)
		}
		for _, declaration := range s.file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			begin, end := s.fset.Position(f.Pos()).Line, s.fset.Position(f.End()).Line
			if end-begin+1 > maxFuncLines {
				t.Errorf("%s:%d: %s has %d lines, want at most %d", s.path, begin, f.Name.Name, end-begin+1, maxFuncLines)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		said[s.room()] = said[s.room()] || s.file.Doc != nil
	}
	for room, ok := range said {
		if !ok {
			t.Errorf("package %s has no comment", room)
		}
	}
}
