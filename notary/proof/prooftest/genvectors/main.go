// Command genvectors writes the test vectors of proof verification:
//
//	go run ./notary/proof/prooftest/genvectors [folder]
//
// The folder is notary/proof/testdata/vectors when none is given, and is replaced as a
// whole. Vectors are written only if this program's own verifier agrees with all of them.
// Without a folder the cases of the certificate profile, of which some of the vectors are
// made, are written as well: crypto/pki/testdata/profile/cases.json.
package main

import (
	"errors"
	"fmt"
	"os"

	"stele/notary/proof/prooftest/vectors"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "genvectors:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	dir := "notary/proof/testdata/vectors"
	switch len(args) {
	case 0:
		if _, err := os.Stat("notary/proof"); err != nil {
			return errors.New("run it at the top of the repository, or name a folder")
		}
	case 1:
		dir = args[0]
	default:
		return errors.New("usage: genvectors [folder]")
	}
	set := vectors.Build()
	var bad []error
	for _, v := range set.Index.Vectors {
		if err := set.Check(v); err != nil {
			bad = append(bad, err)
		}
	}
	if err := errors.Join(bad...); err != nil {
		return err
	}
	if err := set.Write(dir); err != nil || len(args) > 0 {
		return err
	}
	cases, err := vectors.EncodeCases(vectors.CertificateCases())
	if err != nil {
		return err
	}
	return os.WriteFile(vectors.CasesFile, cases, 0o644)
}
