package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestEveryContenderOfATrialExists(t *testing.T) {
	all := names(contenders())
	for _, quick := range []bool{true, false} {
		for _, p := range trials(quick) {
			for _, name := range p.who {
				if !slices.Contains(all, name) {
					t.Errorf("%s: there is no contender %q", p.Name, name)
				}
			}
			for _, goal := range p.targets {
				if goal.of != "" && !slices.Contains(all, goal.of) {
					t.Errorf("%s: a target compares with %q", p.Name, goal.of)
				}
			}
		}
	}
	for i, name := range all {
		if slices.Index(all, name) != i {
			t.Errorf("there are two contenders %q", name)
		}
	}
}

func TestAFullRunHasTenRoundsOfEveryTrial(t *testing.T) {
	if r := new(settings).runner(); r.rounds != 10 {
		t.Errorf("%d rounds", r.rounds)
	}
	for _, p := range trials(false) {
		if p.rounds != 0 {
			t.Errorf("%s has at most %d rounds", p.Name, p.rounds)
		}
	}
}

func TestAWayWithAStoreTakesPartInDurableScenariosOnly(t *testing.T) {
	for _, c := range slices.Concat(oursLogged, oursBolted) {
		if _, err := c.connect(&scenario{Kind: publish, Dir: t.TempDir()}, "test"); !errors.Is(err, errUnsupported) {
			t.Errorf("%s publishes without its store: %v", c.name, err)
		}
	}
	for _, c := range slices.Concat(ours, oursV5) {
		if _, err := c.connect(&scenario{Kind: durable}, "test"); !errors.Is(err, errUnsupported) {
			t.Errorf("%s is durable without a store: %v", c.name, err)
		}
	}
}

func TestTheRowsOfADurablePublisherNameWayAndStore(t *testing.T) {
	_, results := runs(t, settings{only: "^durable QoS 1, 64 B, window 16$|, one goroutine$", peers: atWat.name})
	var got []string
	for _, r := range results {
		if r.Failed != "" || len(r.Rounds) != 1 {
			t.Errorf("%+v", r)
		}
		way, _, _ := strings.Cut(r.Scenario, " ")
		got = append(got, way+": "+r.Contender)
	}
	want := []string{
		"publish: Publish", "publish: Publish 5", "publish: at-wat/mqtt-go",
		"durable: PublishBatches, logstore", "durable: PublishFrom, logstore", "durable: Publishes, logstore",
		"durable: PublishBatches, boltstore", "durable: PublishFrom, boltstore", "durable: Publishes, boltstore",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rows are %q, want %q", got, want)
	}
}
