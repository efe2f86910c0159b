package main

import "slices"

// others lists the contenders that are not millrace.
var others = []contender{paho, pahoV5, atWat, libmosquitto}

// contenders returns all contenders, in the order of the tables.
func contenders() []contender { return slices.Concat(ours, oursV5, others, limits) }

// peers returns the names of the contenders that are not millrace.
func peers() []string {
	var names []string
	for _, c := range others {
		names = append(names, c.name)
	}
	return names
}

func isOurs(name string) bool {
	return slices.ContainsFunc(ours, func(c contender) bool { return c.name == name })
}
