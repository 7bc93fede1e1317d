package policy

import "reflect"

// Fields returns every field of the policy file as its path, as in
// "tenants.budgets.name".
func Fields() []string { return fieldsOf(reflect.TypeFor[fileDoc](), "") }

func fieldsOf(t reflect.Type, path string) []string {
	var all []string
	for _, f := range reflect.VisibleFields(t) {
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		all = append(all, path+name)
		if holder, ok := reflect.Zero(f.Type).Interface().(interface{ element() reflect.Type }); ok {
			all = append(all, fieldsOf(holder.element(), path+name+".")...)
		}
	}
	return all
}

// WindowAt returns the window of a period that holds now.
var WindowAt = Period.at

// LoadZone returns a zone of the embedded database.
var LoadZone = loadZone

// ZoneNames lists the embedded database.
func ZoneNames() []string {
	archive, err := zoneArchive()
	if err != nil {
		panic(err)
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	return names
}
