package mqtt_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lastRow is the number of the last row of practice of MQTT 5. The rows V1 to V90 are the corner
// cases in which brokers and other clients were seen to fail. Tests name the rows that they are
// for.
const lastRow = 90

func TestEachRowOfPracticeHasATest(t *testing.T) {
	named := make(map[int][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || path == "rows_test.go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, group := range f.Comments {
			for _, n := range rowsIn(group.Text()) {
				named[n] = append(named[n], path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= lastRow; n++ {
		if len(named[n]) == 0 {
			t.Errorf("no test names V%d", n)
		}
	}
}

var rowNumber = regexp.MustCompile(`\bV([1-9][0-9]?)\b(?: to V([1-9][0-9]?)\b)?`)

// rowsIn returns the numbers of the rows in a comment, such as "V1, V3 to V5".
func rowsIn(comment string) (rows []int) {
	for _, m := range rowNumber.FindAllStringSubmatch(comment, -1) {
		first, _ := strconv.Atoi(m[1])
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		for n := first; n <= min(last, lastRow); n++ {
			rows = append(rows, n)
		}
	}
	return rows
}

func TestRowsAreReadFromAComment(t *testing.T) {
	for comment, want := range map[string][]int{
		"V1: a broker.":         {1},
		"V3, V9 to V11 and V90": {3, 9, 10, 11, 90},
		"V311, V0, xV1, V1x":    nil,
		"V89\nto V95":           {89},
		"V89 to V95, V91":       {89, 90},
	} {
		if got := rowsIn(comment); !slices.Equal(got, want) {
			t.Errorf("%q has the rows %v, want %v", comment, got, want)
		}
	}
}
