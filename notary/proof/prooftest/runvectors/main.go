// Command runvectors verifies the test vectors of a folder and prints each one's report as
// a line of JSON, in the order of the index:
//
//	go run ./notary/proof/prooftest/runvectors <folder>
//
// It builds for js/wasm too, which is how the tests compare reports across platforms.
package main

import (
	"errors"
	"fmt"
	"os"

	"stele/notary/proof/prooftest/vectors"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runvectors:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: runvectors <folder>")
	}
	set, err := vectors.Load(args[0])
	if err != nil {
		return err
	}
	for _, v := range set.Index.Vectors {
		r, err := set.Report(v)
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("%s\n", r.JSON()); err != nil {
			return err
		}
	}
	return nil
}
