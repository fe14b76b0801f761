package sqldb_test

import (
	"testing"

	"stele/crypto/merkle"
	"stele/notary/proof/checkpoint"
	"stele/storage/storagetest"
)

// checkpointOf signs a checkpoint of any root.
func checkpointOf(t *testing.T, s *storagetest.Site, size uint64) (checkpoint.Checkpoint, []byte) {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: s.World.Origin(), Size: size, Root: merkle.LeafHash([]byte("root"))}
	note, err := checkpoint.Sign(c, s.LogKey)
	fatalIfErr(t, err)
	return c, note
}
