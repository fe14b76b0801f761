// Package vectors holds the test vectors of proof verification: bundles, good and bad, each
// with the trust roots to check it against, the document, the verdict, and for bad ones the
// step that must refuse it and why. Other implementations are measured by them.
//
// They are made by package prooftest from fixed seeds, so making them again gives the same
// bytes; the files are written by genvectors.
package vectors

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// Format is the value of the index's first key.
const Format = "stele/vectors/v1"

// IndexFile is the name of the index in the folder of the vectors.
const IndexFile = "vectors.json"

// Vector is one line of the index.
type Vector struct {
	Name     string         `json:"name"`
	About    string         `json:"about"`
	Trust    string         `json:"trust"`              // file name
	Bundle   string         `json:"bundle"`             // file name
	Document string         `json:"document,omitempty"` // file name; absent where no file is given
	Digest   string         `json:"digest,omitempty"`   // SM3, where there is a digest and no file
	Verdict  proof.Verdict  `json:"verdict"`
	Step     proof.StepName `json:"step,omitempty"`   // of an invalid one: the first step that failed
	Reason   string         `json:"reason,omitempty"` // and its reason
	// Warnings are the codes of the report's warnings, in order.
	Warnings []string `json:"warnings,omitempty"`
	// AnchoredAt is the time that the report leads with, where the vector is about it.
	AnchoredAt string `json:"anchoredAt,omitempty"`
	// Standing is the state of the record's standing, AsOf since when it is known, where the vector is
	// about them.
	Standing string `json:"standing,omitempty"`
	AsOf     string `json:"asOf,omitempty"`
}

// Index is the content of [IndexFile].
type Index struct {
	Format  string   `json:"format"`
	Vectors []Vector `json:"vectors"`
}

// Set is all vectors with their files.
type Set struct {
	Index Index
	Files map[string][]byte // by name, without the index
}

// Report verifies one vector natively.
func (s *Set) Report(v Vector) (*proof.Report, error) {
	trust, err := proof.ParseTrust(s.Files[v.Trust])
	if err != nil {
		return nil, fmt.Errorf("vector %s: %w", v.Name, err)
	}
	var file *proof.File
	switch {
	case v.Document != "":
		content, ok := s.Files[v.Document]
		if !ok {
			return nil, fmt.Errorf("vector %s: no document %s", v.Name, v.Document)
		}
		file = &proof.File{SM3: sm.Sum(content), Size: int64(len(content))}
	case v.Digest != "":
		d, err := sm.ParseDigest(v.Digest)
		if err != nil {
			return nil, fmt.Errorf("vector %s: %w", v.Name, err)
		}
		file = &proof.File{SM3: d, Size: -1}
	}
	return proof.VerifyFile(trust, file, s.Files[v.Bundle]), nil
}

// Check reports whether a vector gets the verdict, step and reason that the index says.
func (s *Set) Check(v Vector) error {
	r, err := s.Report(v)
	if err != nil {
		return err
	}
	step, _ := r.FailedStep()
	if r.Verdict != proof.Invalid {
		step = proof.Step{} // an altered document fails its step, which is the verdict already
	}
	if r.Verdict != v.Verdict || step.Name != v.Step || step.Reason != v.Reason {
		return fmt.Errorf("vector %s: %s %s %s, expected %s %s %s: %s", v.Name, r.Verdict, step.Name, step.Reason,
			v.Verdict, v.Step, v.Reason, r.Summary)
	}
	var codes []string
	for _, w := range r.Warnings {
		codes = append(codes, w.Code)
	}
	if !slices.Equal(codes, v.Warnings) {
		return fmt.Errorf("vector %s: warnings %q, expected %q", v.Name, codes, v.Warnings)
	}
	if v.AnchoredAt != "" && r.AnchoredAt != v.AnchoredAt {
		return fmt.Errorf("vector %s: anchored at %s, expected %s", v.Name, r.AnchoredAt, v.AnchoredAt)
	}
	if v.Standing != "" && r.Standing.State != v.Standing {
		return fmt.Errorf("vector %s: the standing is %s, expected %s", v.Name, r.Standing.State, v.Standing)
	}
	if v.AsOf != "" && r.Standing.AsOf != v.AsOf {
		return fmt.Errorf("vector %s: the standing is as of %s, expected %s", v.Name, r.Standing.AsOf, v.AsOf)
	}
	return nil
}

// EncodeIndex is the text of the index file.
func (s *Set) EncodeIndex() ([]byte, error) {
	b, err := json.MarshalIndent(s.Index, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return append(b, '\n'), nil
}

// Load reads the vectors of a folder.
func Load(dir string) (*Set, error) {
	s := &Set{Files: map[string][]byte{}}
	index, err := os.ReadFile(filepath.Join(dir, IndexFile))
	if err != nil {
		return nil, fmt.Errorf("read index of the test vectors: %w", err)
	}
	if err := json.Unmarshal(index, &s.Index); err != nil {
		return nil, fmt.Errorf("read index of the test vectors: %w", err)
	}
	for _, v := range s.Index.Vectors {
		for _, name := range []string{v.Trust, v.Bundle, v.Document} {
			if name == "" || s.Files[name] != nil {
				continue
			}
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, fmt.Errorf("vector %s: %w", v.Name, err)
			}
			s.Files[name] = content
		}
	}
	return s, nil
}

// Write replaces the vectors of a folder, which may hold nothing else.
func (s *Set) Write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	index, err := s.EncodeIndex()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, IndexFile), index, 0o644); err != nil {
		return err
	}
	for name, content := range s.Files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
