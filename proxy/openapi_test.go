package proxy_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// schema is as much of a JSON Schema as is compared with the code.
type schema struct {
	Ref        string            `yaml:"$ref"`
	Type       any               `yaml:"type"`
	Additional *bool             `yaml:"additionalProperties"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
}

type content struct {
	Content map[string]struct {
		Schema schema `yaml:"schema"`
	} `yaml:"content"`
}

type operation struct {
	OperationID string  `yaml:"operationId"`
	RequestBody content `yaml:"requestBody"`
	Responses   map[string]struct {
		Ref     string `yaml:"$ref"`
		content `yaml:",inline"`
	} `yaml:"responses"`
}

type openAPI struct {
	OpenAPI    string                          `yaml:"openapi"`
	Paths      map[string]map[string]operation `yaml:"paths"`
	Components struct {
		Schemas   map[string]schema  `yaml:"schemas"`
		Responses map[string]content `yaml:"responses"`
	} `yaml:"components"`
}

func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc openAPI
	if err := yaml.Load(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// named returns a schema that is referred to.
func (d openAPI) named(t *testing.T, c content) schema {
	t.Helper()
	name, ok := strings.CutPrefix(c.Content["application/json"].Schema.Ref, "#/components/schemas/")
	s, known := d.Components.Schemas[name]
	if !ok || !known {
		t.Fatalf("no schema %q", name)
	}
	return s
}

func sameNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: docs/openapi.yaml has %v, the code %v", what, got, want)
	}
}

func TestOpenAPIHasTheRoutes(t *testing.T) {
	doc, routes := readOpenAPI(t), proxy.Routes()
	var paths []string
	for verb, route := range routes {
		path := "/aegis/v1/" + verb
		paths = append(paths, path)
		methods := slices.Collect(maps.Keys(doc.Paths[path]))
		sameNames(t, path, methods, []string{"post"})
		body := doc.named(t, doc.Paths[path]["post"].RequestBody)
		sameNames(t, path+" members", slices.Collect(maps.Keys(body.Properties)), route.Members)
		sameNames(t, path+" required", body.Required, route.Required)
		if body.Additional == nil || *body.Additional {
			t.Errorf("%s: unknown members are refused, but docs/openapi.yaml does not say so", path)
		}
	}
	sameNames(t, "paths", slices.Collect(maps.Keys(doc.Paths)), paths)
}

func TestOpenAPIHasTheAnswers(t *testing.T) {
	doc := readOpenAPI(t)
	for name, answer := range proxy.Answers {
		var all, required []string
		shape := reflect.TypeOf(answer)
		for i := range shape.NumField() {
			member, options, _ := strings.Cut(shape.Field(i).Tag.Get("json"), ",")
			all = append(all, member)
			if options != "omitempty" {
				required = append(required, member)
			}
		}
		s := doc.Components.Schemas[name]
		sameNames(t, name, slices.Collect(maps.Keys(s.Properties)), all)
		sameNames(t, name+" required", s.Required, required)
	}
	for verb, want := range map[string]string{"authorize": "Leave", "extend": "Extended", "settle": "Ended", "release": "Ended"} {
		got := doc.named(t, doc.Paths["/aegis/v1/"+verb]["post"].Responses["200"].content)
		if !reflect.DeepEqual(got, doc.Components.Schemas[want]) {
			t.Errorf("%s is not answered with %s", verb, want)
		}
	}
}

func TestOpenAPIHasTheErrors(t *testing.T) {
	doc := readOpenAPI(t)
	text := dialects.All().Default().Deny(providers.Operation{}, providers.Head{}, &call.Denial{Code: "c", Message: "m", Param: "p", Budget: "b", Format: policy.USD, ResetsAt: 1, LargestCap: 1}).Body
	var body struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	s := doc.Components.Schemas["Error"].Properties["error"]
	sameNames(t, "error", slices.Collect(maps.Keys(s.Properties)), slices.Collect(maps.Keys(body.Error)))
	details := body.Error["aegis"].(map[string]any)
	sameNames(t, "details", slices.Collect(maps.Keys(s.Properties["aegis"].Properties)), slices.Collect(maps.Keys(details)))
}

// documented fails the test if docs/openapi.yaml does not tell of an answer.
func (d openAPI) documented(t *testing.T, path string, status int, body string) {
	t.Helper()
	response, ok := d.Paths[path]["post"].Responses[strconv.Itoa(status)]
	if !ok {
		t.Errorf("%s answers %d, of which docs/openapi.yaml does not tell", path, status)
		return
	}
	c := response.content
	if name, shared := strings.CutPrefix(response.Ref, "#/components/responses/"); shared {
		c = d.Components.Responses[name]
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	s := d.named(t, c)
	for name := range members {
		if _, ok := s.Properties[name]; !ok {
			t.Errorf("%s %d: member %s is not in docs/openapi.yaml", path, status, name)
		}
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			t.Errorf("%s %d: member %s is required and missing", path, status, name)
		}
	}
}
