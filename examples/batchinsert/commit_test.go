package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

// commits is an environment variable that says how the child commits: "slow" prints a line and then
// takes its time, "fail" rolls the transaction back.
const commits = "MILLRACE_COMMITS"

// slowness is the duration of a slow commit.
const slowness = 40 * time.Millisecond

func TestMain(m *testing.M) {
	if how := os.Getenv(commits); how != "" {
		sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
			conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 { return commit(how) })
			return nil
		})
	}
	exampletest.Main(m, main)
}

// commit runs within each commit of a child, before SQLite writes it. A result other than 0 rolls
// the transaction back.
func commit(how string) int32 {
	if how == "fail" {
		return 1
	}
	fmt.Println("committing")
	time.Sleep(slowness) // the disk is slow
	return 0
}
