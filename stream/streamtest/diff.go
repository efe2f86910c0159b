package streamtest

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// describe formats a packet on one line: its type and its nonzero fields.
func describe(p frames.Packet) string {
	if p == nil {
		return "no packet"
	}
	var parts []string
	for _, f := range flatten("", reflect.ValueOf(p)) {
		if !f.zero {
			parts = append(parts, f.name+":"+f.text)
		}
	}
	return fmt.Sprintf("%v{%s}", p.Type(), strings.Join(parts, " "))
}

// diff lists the fields in which two packets of one type differ.
func diff(want, got frames.Packet) string {
	var b strings.Builder
	w, g := flatten("", reflect.ValueOf(want)), flatten("", reflect.ValueOf(got))
	at := make(map[string]field, len(w))
	for _, f := range w {
		at[f.name] = f
	}
	for _, f := range g {
		was, ok := at[f.name]
		delete(at, f.name)
		if !ok {
			was.text = "none"
		}
		if !ok && !f.zero || ok && was.full != f.full {
			fmt.Fprintf(&b, "\n\t%s: wanted %s, got %s%s", f.name, was.text, f.text, offset(was.full, f.full))
		}
	}
	for _, f := range w {
		if _, missing := at[f.name]; missing && !f.zero {
			fmt.Fprintf(&b, "\n\t%s: wanted %s, got none", f.name, f.text)
		}
	}
	if b.Len() == 0 {
		fmt.Fprintf(&b, "\n\tfields agree, the bytes do not: wanted %s", describe(want))
	}
	return b.String()
}

// offset formats the position of the first byte that differs in two values, if one is too long to
// be shown whole.
func offset(a, b string) string {
	if len(a) <= shown && len(b) <= shown {
		return ""
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return fmt.Sprintf(" (the first difference is at byte %d; lengths %d and %d)", i, len(a), len(b))
}

// shown is the number of bytes of a value that a report shows.
const shown = 80

// field is a leaf of a packet's struct.
type field struct {
	name string
	full string // the whole value, for comparison
	text string // quoted and truncated, for reading
	zero bool
}

// flatten lists the leaves of a struct. Fields of embedded structs keep their own names; fields of
// other structs have a dotted prefix. A nil pointer has no leaves.
func flatten(prefix string, v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		t, f := v.Type().Field(i), v.Field(i)
		name := prefix + t.Name
		if !t.IsExported() || t.Type == reflect.TypeFor[frames.Type]() {
			continue // the Kind of an Ack: the report already shows the packet type
		}
		optional := f.Kind() == reflect.Pointer
		if optional {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		switch {
		case f.Kind() != reflect.Struct || f.Type() == reflect.TypeFor[time.Time]():
			x := leaf(name, f)
			x.zero = x.zero && !optional // a property that is present with the value 0
			out = append(out, x)
		case t.Anonymous:
			out = append(out, flatten(prefix, f)...)
		default:
			out = append(out, flatten(name+".", f)...)
		}
	}
	return out
}

func leaf(name string, v reflect.Value) field {
	f := field{name: name, zero: v.IsZero()}
	quoted := true
	switch x := v.Interface().(type) {
	case []byte:
		f.full, f.zero = string(x), len(x) == 0
	case string:
		f.full = x
	default:
		f.full, quoted = fmt.Sprintf("%+v", x), false
	}
	cut := f.full
	if len(cut) > shown {
		cut = cut[:shown]
	}
	if f.text = cut; quoted {
		f.text = fmt.Sprintf("%q", cut)
	}
	if len(f.full) > shown {
		f.text += fmt.Sprintf("... (%d bytes)", len(f.full))
	}
	return f
}
