package mqtt_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream"
)

// aliases are the types that mqtt.go takes from other packages.
var aliases = map[string]reflect.Type{
	"Version":         reflect.TypeFor[mqtt.Version](),
	"QoS":             reflect.TypeFor[mqtt.QoS](),
	"Message":         reflect.TypeFor[mqtt.Message](),
	"Filter":          reflect.TypeFor[mqtt.Filter](),
	"Properties":      reflect.TypeFor[mqtt.Properties](),
	"UserProperty":    reflect.TypeFor[mqtt.UserProperty](),
	"Server":          reflect.TypeFor[mqtt.Server](),
	"Exchange":        reflect.TypeFor[mqtt.Exchange](),
	"Redirect":        reflect.TypeFor[mqtt.Redirect](),
	"Farewell":        reflect.TypeFor[mqtt.Farewell](),
	"OptionsV5":       reflect.TypeFor[mqtt.OptionsV5](),
	"RefusalError":    reflect.TypeFor[mqtt.RefusalError](),
	"LimitError":      reflect.TypeFor[mqtt.LimitError](),
	"VersionError":    reflect.TypeFor[mqtt.VersionError](),
	"DisconnectError": reflect.TypeFor[mqtt.DisconnectError](),
	"ReasonCode":      reflect.TypeFor[mqtt.ReasonCode](),
	"Attempt":         reflect.TypeFor[mqtt.Attempt](),
	"Delivery":        reflect.TypeFor[mqtt.Delivery](),
	"Batch":           reflect.TypeFor[mqtt.Batch](),
	"Publishing":      reflect.TypeFor[mqtt.Publishing](),
	"Receipt":         reflect.TypeFor[mqtt.Receipt](),
	"Receipts":        reflect.TypeFor[mqtt.Receipts](),
	"Reply":           reflect.TypeFor[mqtt.Reply](),
	"State":           reflect.TypeFor[mqtt.State](),
	"Stats":           reflect.TypeFor[mqtt.Stats](),
	"Timings":         reflect.TypeFor[mqtt.Timings](),
	"Histogram":       reflect.TypeFor[mqtt.Histogram](),
	"Observer":        reflect.TypeFor[mqtt.Observer](),
	"Published":       reflect.TypeFor[mqtt.Published](),
	"Delivered":       reflect.TypeFor[mqtt.Delivered](),
	"Acked":           reflect.TypeFor[mqtt.Acked](),
	"Attempted":       reflect.TypeFor[mqtt.Attempted](),
	"Event":           reflect.TypeFor[mqtt.Event[int]](),
	"Store":           reflect.TypeFor[mqtt.Store](),
	"Full":            reflect.TypeFor[mqtt.Full](),
	"Retry":           reflect.TypeFor[mqtt.Retry](),
	"ConnectError":    reflect.TypeFor[mqtt.ConnectError](),
	"RefusedError":    reflect.TypeFor[mqtt.RefusedError](),
	"DowngradedError": reflect.TypeFor[mqtt.DowngradedError](),
	"PoisonError":     reflect.TypeFor[mqtt.PoisonError](),
	"HTTPError":       reflect.TypeFor[mqtt.HTTPError](),
	"OptionError":     reflect.TypeFor[mqtt.OptionError](),
	"InvalidError":    reflect.TypeFor[mqtt.InvalidError](),
	"ProtocolError":   reflect.TypeFor[mqtt.ProtocolError](),
	"TooLargeError":   reflect.TypeFor[mqtt.TooLargeError](),
	"OwnerError":      reflect.TypeFor[mqtt.OwnerError](),

	"SubscriptionInfo": reflect.TypeFor[mqtt.SubscriptionInfo](),
}

// go doc shows neither the fields nor the methods of an alias, so its comment lists them.
func TestCommentOfAnAliasListsItsFieldsAndMethods(t *testing.T) {
	specs := typesOf(t, "mqtt.go")
	for name, spec := range specs {
		if spec.Assign.IsValid() && aliases[name] == nil {
			t.Errorf("the alias %s is not in the table of this test", name)
		}
	}
	for name, of := range aliases {
		for _, member := range members(of) {
			if !regexp.MustCompile(`\b` + member + `\b`).MatchString(specs[name].Doc.Text()) {
				t.Errorf("the comment of %s does not name %s", name, member)
			}
		}
	}
}

func TestEveryFieldOfOptionsIsDocumented(t *testing.T) {
	var text strings.Builder
	for _, field := range typesOf(t, "mqtt.go")["Options"].Type.(*ast.StructType).Fields.List {
		text.WriteString(field.Doc.Text())
	}
	// The compiler compares the fields with those of stream.Options: Open converts one to the
	// other.
	for _, field := range reflect.VisibleFields(reflect.TypeFor[mqtt.Options]()) {
		if !regexp.MustCompile(`(?m)^(\w+ and )?` + field.Name + `\b`).MatchString(text.String()) {
			t.Errorf("no comment begins with %s", field.Name)
		}
	}
}

func TestTheFaceHasEveryMethodOfTheSession(t *testing.T) {
	for face, inner := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[*mqtt.Client]():       reflect.TypeFor[*stream.Session](),
		reflect.TypeFor[*mqtt.Subscription](): reflect.TypeFor[*stream.Subscription](),
	} {
		for i := range inner.NumMethod() {
			if name := inner.Method(i).Name; !hasMethod(face, name) {
				t.Errorf("%v has no method %s", face, name)
			}
		}
	}
}

func hasMethod(of reflect.Type, name string) bool {
	_, ok := of.MethodByName(name)
	return ok
}

// typesOf returns the declarations of types in file, with their comments.
func typesOf(t *testing.T, file string) map[string]*ast.TypeSpec {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	specs := make(map[string]*ast.TypeSpec)
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			if spec.Doc == nil {
				spec.Doc = decl.Doc
			}
			specs[spec.Name.Name] = spec
		}
	}
	return specs
}

// members returns the names of the exported fields and methods of a type and its pointer, except
// the methods that every error has.
func members(of reflect.Type) (names []string) {
	if of.Kind() == reflect.Struct {
		for _, field := range reflect.VisibleFields(of) {
			if field.IsExported() && !field.Anonymous {
				names = append(names, field.Name)
			}
		}
	}
	if of.Kind() != reflect.Interface {
		of = reflect.PointerTo(of)
	}
	for i := range of.NumMethod() {
		if name := of.Method(i).Name; name != "Error" && name != "Unwrap" {
			names = append(names, name)
		}
	}
	return names
}
