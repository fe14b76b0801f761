//go:build race

package stamp_test

const raceDetector = true
