package stream

import "testing"

func TestAGateTellsWhoWaits(t *testing.T) {
	var g gate
	for range 2 {
		first, second, third := g.wait(), g.wait(), g.passed()
		if isClosed(first) || isClosed(third) {
			t.Fatal("a closed gate lets through")
		}
		g.set(true)
		<-first
		<-second
		<-third
		<-g.passed()
		if g.wait() != nil {
			t.Error("who comes to an open gate waits")
		}
		g.set(false)
	}
}
