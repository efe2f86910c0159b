//go:build race

package integration

// raceDetector says that memory is not what it is without, and that there cannot be
// more than about 8,000 goroutines.
const raceDetector = true
