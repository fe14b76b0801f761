package node

import (
	"encoding/json"
	"testing"

	"stele/crypto/merkle"
	"stele/notary/proof/checkpoint"
	"stele/server/remote/chainnet"
)

func FuzzSubmission(f *testing.F) {
	c := checkpoint.Checkpoint{Origin: "log.example/a", Size: 3, Root: merkle.EmptyRoot()}
	body, err := json.Marshal(chainnet.Checkpoint{Checkpoint: c.Text(), Signature: []byte{1}, OldSize: 1,
		Proof: [][]byte{make([]byte, 32)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSubmission(data)
		if err != nil {
			return
		}
		if again, err := checkpoint.Parse(s.Checkpoint.Text()); err != nil || again != s.Checkpoint ||
			len(s.Proof) > merkle.MaxPath {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
