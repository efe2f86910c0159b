package main

import (
	"fmt"
	"regexp"
)

// scenarios returns all that are run, those of a quick run only when quick.
func scenarios(quick bool) []scenario {
	var list []scenario
	add := func(inQuick bool, s scenario) {
		if quick && !inQuick {
			return
		}
		s.Clients, s.Filters = max(s.Clients, 1), max(s.Filters, 1)
		if s.Name == "" {
			s.Name = s.describe()
		}
		list = append(list, s)
	}
	for _, k := range []kind{publish, receive} {
		for q := range byte(3) {
			for _, size := range []int{64, 1024} {
				for _, w := range []int{1, 16, 100, 1000} {
					if q == 0 && w != 1000 || size != 64 && w < 100 {
						continue
					}
					core := size == 64 && (w == 100 || w == 1000 && q == 1 || w == 1 && q == 1 && k == publish) || q == 0
					add(core, scenario{Kind: k, QoS: q, Payload: size, Window: w})
				}
			}
		}
	}
	add(false, scenario{Kind: publish, QoS: 1, Payload: 64 << 10, Window: 100})
	return list
}

// describe names a scenario by what sets it apart.
func (s *scenario) describe() string {
	name := fmt.Sprintf("%v QoS %d, %s", s.Kind, s.QoS, size(s.Payload))
	if s.QoS > 0 && (s.Kind == publish || s.Kind == receive || s.Kind == durable) {
		name += fmt.Sprintf(", window %d", s.Window)
	}
	if s.Clients > 1 {
		name += fmt.Sprintf(", %d clients", s.Clients)
	}
	return name
}

func size(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

// contenders returns all clients.
func contenders() []contender {
	var list []contender
	list = append(list, ours...)
	list = append(list, paho)
	list = append(list, limits...)
	return list
}

// chosen returns those whose name matches.
func chosen[T any](all []T, name func(*T) string, pattern *regexp.Regexp) []T {
	var list []T
	for i := range all {
		if pattern.MatchString(name(&all[i])) {
			list = append(list, all[i])
		}
	}
	return list
}
