package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"
)

// A condition is one line of the table at the head of a report: a circumstance that the figures
// depend on.
type condition struct{ Name, Value string }

// unknown is the value of a condition that the system does not report.
const unknown = "unknown"

// conditions returns the circumstances at the start of a report with these contenders.
func conditions(who []contender, rounds int, now time.Time) []condition {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	list := []condition{
		{"processor", fmt.Sprintf("%s, %d CPUs", cpuModel(file("/proc/cpuinfo")), runtime.NumCPU())},
		{"system", system(file("/etc/os-release"), file("/proc/sys/kernel/osrelease"))},
		{"Go", runtime.Version()},
		{"commit", commit(info.Settings, git)},
		{"date", now.Format(time.DateTime + " MST")},
		{"rounds", roundsText(rounds)},
		{"load average", loadAverage(file("/proc/loadavg"))},
	}
	for _, c := range who {
		if c.version != nil {
			list = append(list, condition{c.name, c.version(info)})
		}
	}
	if mosquittoPath() != "" {
		list = append(list, condition{"mosquitto", mosquittoVersion()})
	}
	return list
}

// conditionsAfter returns the circumstances at the end of a report that began with load.
func conditionsAfter(l load) []condition {
	list := []condition{{"load average at the end", loadAverage(file("/proc/loadavg"))}}
	others := unknown
	if part, ok := l.others(); ok {
		others = foreign(part)
	}
	return append(list, condition{"CPUs used by other processes", others})
}

func writeConditions(w io.Writer, list []condition) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range list {
		fmt.Fprintf(t, "%s\t%s\n", c.Name, c.Value)
	}
	t.Flush()
}

// file returns the text of a file, or "" if it cannot be read.
func file(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

// field returns the value of the first line "name<separator>value" in text, without quotes.
func field(text, name, separator string) string {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, separator)
		if ok && strings.TrimSpace(key) == name {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

func known(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

// cpuModel returns the name of the processor from /proc/cpuinfo of Linux.
func cpuModel(cpuinfo string) string {
	for _, name := range []string{"model name", "Model", "cpu model", "Hardware"} { // it depends on the architecture
		if model := field(cpuinfo, name, ":"); model != "" {
			return model
		}
	}
	return unknown
}

// system returns the name of the operating system, from the texts of /etc/os-release and
// /proc/sys/kernel/osrelease.
func system(release, kernel string) string {
	text := runtime.GOOS + "/" + runtime.GOARCH
	if name := field(release, "PRETTY_NAME", "="); name != "" {
		text += ", " + name
	}
	if kernel = strings.TrimSpace(kernel); kernel != "" {
		text += ", kernel " + kernel
	}
	return text
}

// loadAverage returns the three averages from /proc/loadavg.
func loadAverage(text string) string {
	parts := strings.Fields(text)
	return known(strings.Join(parts[:min(3, len(parts))], " "))
}

// foreign describes the share of the CPUs that other processes used.
func foreign(part float64) string {
	text := fmt.Sprintf("%.0f%%", 100*part)
	if part > 0.05 {
		text += ": too much, the figures mean little"
	}
	return text
}

func roundsText(n int) string {
	text := fmt.Sprint(n)
	if n < roundsForInterval {
		text += fmt.Sprintf(", too few for intervals of %.0f%%", 100*confidence)
	}
	return text
}

// commit returns the revision of the source from the build information, or else from git in the
// working folder: "go run" leaves it out of the build information.
func commit(settings []debug.BuildSetting, git func(args ...string) string) string {
	var revision, modified string
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value
		}
	}
	if revision == "" {
		revision = git("rev-parse", "HEAD")
		modified = fmt.Sprint(git("status", "--porcelain") != "")
	}
	if revision != "" && modified == "true" {
		revision += ", with changes"
	}
	return known(revision)
}

// git returns the output of git, or "" if it fails.
func git(args ...string) string {
	text, err := exec.Command("git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// ofModule returns the function that finds the version of a module in the build information.
func ofModule(path string) func(*debug.BuildInfo) string {
	return func(info *debug.BuildInfo) string {
		for _, m := range info.Deps {
			if m.Path == path {
				if m.Replace != nil {
					m = m.Replace
				}
				return known(m.Version)
			}
		}
		return unknown
	}
}
