package stream

import "testing"

func TestAGateTellsWhoWaits(t *testing.T) {
	var g gate
	for range 2 {
		first, second := g.wait(), g.wait()
		select {
		case <-first:
			t.Fatal("a closed gate lets through")
		default:
		}
		g.set(true)
		<-first
		<-second
		if g.wait() != nil {
			t.Error("who comes to an open gate waits")
		}
		g.set(false)
	}
}
