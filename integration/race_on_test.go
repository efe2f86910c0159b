//go:build race

package integration

// raceDetector reports whether the race detector is on. It needs more memory and allows about 8,000
// goroutines.
const raceDetector = true
