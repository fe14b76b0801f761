//go:build fewrounds

package keystore

// Iterations is the number of rounds in programs that are built with the tag fewrounds. Tests start hundreds of
// programs, each of which opens eight keys. Keys that such a program makes are weakly encrypted: nothing that is
// shipped has the tag (TestShippedRounds).
const Iterations = 1_000
