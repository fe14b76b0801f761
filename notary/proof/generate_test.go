//go:build !js

package proof_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"stele/notary/proof/prooftest/vectors"
)

// TestVectorsAreUpToDate makes the vectors anew. Where they are meant to change, run
// go run ./notary/proof/prooftest/genvectors.
func TestVectorsAreUpToDate(t *testing.T) {
	committed, made := loadVectors(t), vectors.Build()
	index, err := made.EncodeIndex()
	if err != nil {
		t.Fatal(err)
	}
	if old, err := os.ReadFile(filepath.Join(vectorsDir, vectors.IndexFile)); err != nil || !bytes.Equal(old, index) {
		t.Errorf("the index differs from what genvectors writes (%v)", err)
	}
	for name, content := range made.Files {
		if !bytes.Equal(committed.Files[name], content) {
			t.Errorf("%s differs from what genvectors writes", name)
		}
	}
	files, err := os.ReadDir(vectorsDir)
	if err != nil || len(files) != len(made.Files)+1 {
		t.Errorf("%d files in %s, %d are made (%v)", len(files), vectorsDir, len(made.Files)+1, err)
	}
}

// TestCertificateCasesAreUpToDate does the same for the cases of the certificate profile.
func TestCertificateCasesAreUpToDate(t *testing.T) {
	made, err := vectors.EncodeCases(vectors.CertificateCases())
	if err != nil {
		t.Fatal(err)
	}
	if old, err := os.ReadFile(filepath.Join("../..", vectors.CasesFile)); err != nil || !bytes.Equal(old, made) {
		t.Errorf("%s differs from what genvectors writes (%v)", vectors.CasesFile, err)
	}
}
