package main

import (
	"fmt"
	"slices"
	"strings"
)

// others lists the contenders that are not millrace.
var others = []contender{paho, pahoV5, atWat, libmosquitto}

// contenders returns all contenders, in the order of the tables.
func contenders() []contender {
	return slices.Concat(ours, oursV5, oursLogged, oursBolted, others, limits)
}

// peers returns the names of the contenders that are not millrace.
func peers() []string { return names(others) }

func names(list []contender) []string {
	var names []string
	for _, c := range list {
		names = append(names, c.name)
	}
	return names
}

// isOurs reports whether the contender is millrace in one of the ways that have targets.
func isOurs(name string) bool {
	return slices.Contains(names(ours), name) || slices.Contains(names(oursLogged), name)
}

func isPeer(name string) bool { return slices.Contains(peers(), name) }

// withPeers returns the contenders without the peers that the flag -peers does not name. The flag
// is a list of names, separated by commas, or "none". The owner of a repository, such as at-wat, is
// a name too. If the flag is empty, all peers take part.
func withPeers(all []contender, flag string) ([]contender, error) {
	if flag == "" {
		return all, nil
	}
	var wanted []string
	if flag != "none" {
		wanted = strings.Split(flag, ",")
	}
	for i, name := range wanted {
		if wanted[i] = peerOf(strings.TrimSpace(name)); !isPeer(wanted[i]) {
			return nil, fmt.Errorf("-peers: there is no peer %q; the peers are %s", wanted[i], strings.Join(peers(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c contender) bool {
		return isPeer(c.name) && !slices.Contains(wanted, c.name)
	}), nil
}

// peerOf returns the name of the peer with the given owner, or the name itself.
func peerOf(name string) string {
	for _, peer := range peers() {
		if owner, _, found := strings.Cut(peer, "/"); found && owner == name {
			return peer
		}
	}
	return name
}
