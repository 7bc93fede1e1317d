package openai

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Limits of a form.
const (
	maxParts     = 128      // of one form
	maxFields    = 64 << 10 // bytes of one field that is no file
	maxPartBytes = 1 << 10  // of the head of a part
)

// takesForms reports whether an operation's body may be a form.
func (e Endpoint) takesForms() bool { return e == EditImages || e.wantsForm() }

// wantsForm reports whether it has to be one.
func (e Endpoint) wantsForm() bool { return e == Transcriptions || e == Translations }

// boundaryOf is the boundary of a form, by the head of its request.
func boundaryOf(contentTypes []string) (boundary string, isForm bool, err error) {
	if len(contentTypes) == 0 || !strings.Contains(strings.ToLower(contentTypes[0]), "multipart/") {
		return "", false, nil
	}
	kind, params, err := mime.ParseMediaType(contentTypes[0])
	boundary = params["boundary"]
	if err != nil || len(contentTypes) > 1 || kind != "multipart/form-data" || !plainBoundary(boundary) || strings.Contains(contentTypes[0], "*") {
		return "", false, wire.Errorf("", "the Content-Type of a form has to be multipart/form-data with one boundary of 1 to 70 letters, digits and signs of RFC 2046, in its plain form")
	}
	return boundary, true, nil
}

// plainBoundary reports whether all servers read a boundary alike: it has the characters of RFC
// 2046, section 5.1.1, but for blanks. A backslash some servers leave out, and others keep.
func plainBoundary(boundary string) bool {
	return 0 < len(boundary) && len(boundary) <= 70 && !strings.ContainsFunc(boundary, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("'()+_,-./:=?", c)
	})
}

// parseForm reads a form as the JSON object that it stands for: each field is a member, and
// one that ends in [], or comes twice under such a name, an element of a list. Files are
// measured. The form is read strictly, so that no other reader sees other parts in it.
func parseForm(e Endpoint, boundary string, body []byte) (*Request, error) {
	f := form{fields: map[string]*field{}}
	if err := f.split(body, boundary); err != nil {
		return nil, err
	}
	object, err := f.object()
	if err != nil {
		return nil, err
	}
	r := &Request{Endpoint: e, body: object, form: body, modelAt: f.model, n: 1, bestOf: 1, prompts: 1}
	for _, file := range f.files {
		if err := r.bring(file); err != nil {
			return nil, err
		}
	}
	if err := r.parse(); err != nil {
		return nil, err
	}
	r.copied += int64(len(object))
	return r, nil
}

// bring measures a file.
func (r *Request) bring(f file) error {
	name, _, _ := strings.Cut(f.name, "[")
	switch {
	case r.Endpoint == EditImages && (name == "image" || name == "mask"):
		return r.give(sizeOfFile(f.data))
	case r.Endpoint.wantsForm() && f.name == "file" && !r.sound.brought:
		r.sound.recorded, r.sound.brought = lasting(f.data), true
		return nil
	}
	return wire.Errorf(f.name, "the form has a file named %q, which this operation has not, or once alone", f.name)
}

// form is what a form has.
type form struct {
	names  []string // of the fields, in order
	fields map[string]*field
	files  []file
	parts  int
	model  modelField
}

// modelField is where a form names the model.
type modelField struct {
	value  wire.Span
	length wire.Span // of what its head says of the value's length; empty where it says nothing
}

// named are the edits by which a form of this field names another model.
func (m *modelField) named(model string) []wire.Splice {
	splices := []wire.Splice{wire.Replace(m.value, model)}
	if m.length.End > 0 {
		splices = append(splices, wire.Replace(m.length, strconv.Itoa(len(model))))
	}
	return splices
}

type field struct {
	values []string
	listed bool // its name has brackets
}

type file struct {
	name string
	data []byte
}

var lineEnd = []byte("\r\n")

// split takes the parts of a form.
func (f *form) split(body []byte, boundary string) error {
	mark := []byte("--" + boundary)
	rest, found := bytes.CutPrefix(body, mark)
	if !found {
		return errForm("does not begin with its boundary")
	}
	mark = slices.Concat(lineEnd, mark)
	for {
		if end, closed := bytes.CutPrefix(rest, []byte("--")); closed {
			if len(bytes.TrimSpace(end)) > 0 {
				return errForm("goes on behind its end")
			}
			return nil
		}
		part, ok := bytes.CutPrefix(rest, lineEnd)
		if !ok {
			return errForm("has a boundary that does not end its line")
		}
		end := bytes.Index(part, mark)
		if end < 0 {
			return errForm("does not end with its boundary")
		}
		if bytes.Contains(part[:end], mark[len(lineEnd):]) { // others take it for one behind a lone LF or CR
			return errForm("has its boundary inside of a part")
		}
		if err := f.part(part[:end], len(body)-len(part)); err != nil {
			return err
		}
		rest = part[end+len(mark):]
	}
}

func errForm(what string) error { return wire.Errorf("", "the form %s", what) }

// part takes one part, which begins at so many bytes of the body.
func (f *form) part(part []byte, at int) error {
	if f.parts++; f.parts > maxParts {
		return errForm(fmt.Sprintf("has more than %d parts", maxParts))
	}
	head, data, found := bytes.Cut(part, []byte("\r\n\r\n"))
	if !found || len(head) > maxPartBytes {
		return errForm(fmt.Sprintf("has a part without a head of at most %d bytes", maxPartBytes))
	}
	name, isFile, err := partName(string(head), len(data))
	switch {
	case err != nil:
		return err
	case isFile:
		f.files = append(f.files, file{name, data})
		return nil
	case len(data) > maxFields:
		return wire.Errorf(name, "the form's field %q is longer than %d bytes", name, maxFields)
	}
	if name == "model" {
		end := at + len(part)
		f.model = modelField{wire.Span{Start: end - len(data), End: end}, lengthIn(head, at)}
	}
	return f.add(name, string(data))
}

// lengthIn is where a head that begins at so many bytes of the body says how long its part is.
func lengthIn(head []byte, at int) (said wire.Span) {
	for line := range bytes.SplitSeq(head, lineEnd) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		end := at + len(line)
		if bytes.EqualFold(key, []byte("Content-Length")) {
			return wire.Span{Start: end - len(bytes.TrimLeft(value, " \t")), End: end}
		}
		at = end + len(lineEnd)
	}
	return said
}

// partName reads the head of a part. A field that is said to be anything but plain text in UTF-8 some
// servers take for a file, or read otherwise; and some read as much of a part as its head says that
// it has.
func partName(head string, length int) (name string, isFile bool, err error) {
	kind := ""
	for line := range strings.SplitSeq(head, "\r\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "content-disposition":
			if name != "" {
				return "", false, errForm("has a part with two names")
			}
			if name, isFile, err = disposition(value); err != nil {
				return "", false, err
			}
		case "content-type":
			if kind != "" {
				return "", false, errForm("has a part with two content types")
			}
			kind = value
		case "content-length":
			if value != strconv.Itoa(length) {
				return "", false, errForm("has a part of another length than it says")
			}
		case "content-transfer-encoding":
			if !slices.Contains([]string{"binary", "8bit", "7bit"}, strings.ToLower(value)) {
				return "", false, errForm("has a part in a transfer encoding")
			}
		default:
			return "", false, errForm(fmt.Sprintf("has a part with the header %.40q", key))
		}
	}
	switch {
	case name == "":
		return "", false, errForm("has a part without a name")
	case !isFile && !plainText(kind):
		return "", false, wire.Errorf(name, "the form's field %.40q is not said to be plain text in UTF-8", name)
	}
	return name, isFile, nil
}

// disposition reads the name of a part. Not all servers read one in its extended form.
func disposition(value string) (name string, isFile bool, err error) {
	kind, params, err := mime.ParseMediaType(value)
	plain := strings.ReplaceAll(strings.ToLower(value), "filename", "")
	if err != nil || kind != "form-data" || params["name"] == "" || strings.Contains(plain, "name*") {
		return "", false, errForm("has a part whose Content-Disposition is not form-data with one plain name")
	}
	isFile = strings.Contains(strings.ToLower(value), "filename")
	if isFile && params["filename"] == "" { // others take it for a field
		return "", false, errForm("has a file without a name of its own")
	}
	return params["name"], isFile, nil
}

// plainText reports whether a content type is none, or that of plain text in UTF-8.
func plainText(kind string) bool {
	if kind == "" {
		return true
	}
	media, params, err := mime.ParseMediaType(kind)
	return err == nil && media == "text/plain" && (params["charset"] == "" || strings.EqualFold(params["charset"], "utf-8"))
}

// add takes a field.
func (f *form) add(name, value string) error {
	base, _, listed := strings.Cut(name, "[")
	known := f.fields[base]
	if known == nil {
		known = &field{listed: listed}
		f.fields[base] = known
		f.names = append(f.names, base)
	} else if !listed || !known.listed {
		return wire.Errorf(base, "the form has the field %q twice", base)
	}
	known.values = append(known.values, value)
	return nil
}

// Fields whose JSON is no string.
var (
	numberFields = []string{"n", "partial_images"}
	flagFields   = []string{"stream"}
)

// object is the form as the JSON object that it stands for.
func (f *form) object() ([]byte, error) {
	object := []byte{'{'}
	for i, name := range f.names {
		if i > 0 {
			object = append(object, ',')
		}
		var err error
		if object, err = jsontext.AppendQuote(object, name); err != nil {
			return nil, errForm("has a name that is no UTF-8")
		}
		object = append(object, ':')
		if object, err = f.fields[name].appendJSON(object, name); err != nil {
			return nil, wire.Errorf(name, "the form's field %q is no UTF-8", name)
		}
	}
	return append(object, '}'), nil
}

func (v *field) appendJSON(object []byte, name string) ([]byte, error) {
	if !v.listed {
		return appendField(object, name, v.values[0])
	}
	var err error
	for i, value := range v.values {
		object = append(object, "[,"[min(i, 1)])
		if object, err = appendField(object, name, value); err != nil {
			return nil, err
		}
	}
	return append(object, ']'), nil
}

// appendField appends the value of a field: a number or a flag where it is one and has the
// form of one.
func appendField(object []byte, name, value string) ([]byte, error) {
	number := slices.Contains(numberFields, name) && jsontext.Value(value).Kind() == '0'
	flag := slices.Contains(flagFields, name) && (value == "true" || value == "false")
	if (number || flag) && jsontext.Value(value).IsValid() {
		return append(object, value...), nil
	}
	return jsontext.AppendQuote(object, value)
}
