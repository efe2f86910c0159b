package main

import "slices"

// others holds the clients other than millrace.
var others = []contender{paho, pahoV5, atWat, libmosquitto}

// contenders returns all contenders, in the order of the tables.
func contenders() []contender { return slices.Concat(ours, others, limits) }

// peers returns the names of the clients other than millrace.
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
