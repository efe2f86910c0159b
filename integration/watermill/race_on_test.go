//go:build race

package watermillmqtt_test

const raceEnabled = true
