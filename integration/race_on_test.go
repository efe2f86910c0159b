//go:build race

package integration

// raceDetector is true if the race detector is on. The race detector needs more memory and allows
// about 8,000 goroutines.
const raceDetector = true
