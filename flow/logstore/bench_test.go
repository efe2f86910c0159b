package logstore

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// BenchmarkCommit commits for a session that publishes. One third of the changes accept new
// publications, one third assign identifiers to earlier publications, and one third complete the
// oldest publications.
func BenchmarkCommit(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		for _, n := range []int{1, 16, 256, 4096} {
			b.Run(fmt.Sprintf("nosync=%v/changes=%d", noSync, n), func(b *testing.B) {
				s := mustOpen(b, newPath(b), &Options{NoSync: noSync})
				mustAttach(b, s)
				m := frames.Message{Topic: "bench/topic", QoS: frames.AtLeastOnce, Payload: make([]byte, 64)}
				lag := uint64(n/3 + 1)
				changes, step := make([]flow.Change, 0, n), uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					changes = changes[:0]
					for range n {
						seq := step/3 + 2*lag
						switch step % 3 {
						case 0:
							changes = append(changes, flow.Change{Kind: flow.Accepted, Seq: seq, Message: m})
						case 1:
							changes = append(changes, flow.Change{Kind: flow.Assigned, Seq: seq - lag, ID: uint16(seq) | 1})
						default:
							changes = append(changes, flow.Change{Kind: flow.Completed, Seq: seq - 2*lag})
						}
						step++
					}
					if err := s.Commit(changes); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(step)/b.Elapsed().Seconds(), "changes/s")
			})
		}
	}
}
