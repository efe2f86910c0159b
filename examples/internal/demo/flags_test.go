package demo

import (
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestAFlagOutsideOfItsLimitsIsRefused(t *testing.T) {
	defer func(all *flag.FlagSet) { flag.CommandLine = all }(flag.CommandLine)
	for args, want := range map[string]string{
		"":                "",
		"-every 1ns":      "",
		"-every 0":        `invalid value "0" for flag -every: must be above 0`,
		"-every -2s":      `invalid value "-2s" for flag -every: must be above 0`,
		"-every fast":     `invalid value "fast" for flag -every: time: invalid duration "fast"`,
		"-cut 0":          "",
		"-cut -3s":        `invalid value "-3s" for flag -cut: must be at least 0`,
		"-workers 1":      "",
		"-workers 99":     "",
		"-workers 0":      `invalid value "0" for flag -workers: must be between 1 and 99`,
		"-workers 100":    `invalid value "100" for flag -workers: must be between 1 and 99`,
		"-workers -topic": `invalid value "-topic" for flag -workers: strconv.Atoi: parsing "-topic": invalid syntax`,
	} {
		flag.CommandLine = flag.NewFlagSet("example", flag.ContinueOnError)
		flag.CommandLine.SetOutput(io.Discard)
		every := Interval("every", 2*time.Second, "`interval`")
		cut := Time("cut", time.Minute, "`time`")
		workers := Count("workers", 8, 1, 99, "`number`")
		var got string
		if err := flag.CommandLine.Parse(strings.Fields(args)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
		if args == "" && (*every != 2*time.Second || *cut != time.Minute || *workers != 8) {
			t.Errorf("defaults: %v, %v, %d", *every, *cut, *workers)
		}
		if args == "-cut 0" && *cut != 0 {
			t.Errorf("%s: got %v", args, *cut)
		}
	}
}

// A flag of package flag has no limits.
func TestEveryFlagOfAnExampleForANumberHasLimits(t *testing.T) {
	unlimited := regexp.MustCompile(`flag\.(Duration|Int|Int64|Uint|Uint64|Float64)(Var)?\(`)
	found := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found += strings.Count(string(text), "demo.Interval(")
		if m := unlimited.Find(text); m != nil {
			t.Errorf("%s: %s...) defines a flag without limits; use Interval, Time or Count", path, m)
		}
		return nil
	})
	if err != nil || found < 10 {
		t.Errorf("%d flags with limits were found, %v", found, err)
	}
}
