package main

import (
	"testing"

	"stele/notary/proof"
	"stele/storage/storagetest"
)

// The program works with every S3 server that the docs name, with documents under object lock.
func TestS3Servers(t *testing.T) {
	t.Parallel()
	for _, server := range storagetest.S3Servers {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			site := onServers(t, storagetest.StartDurablePostgres(t), server.Locked(t))
			site.args = append(site.args, "--s3-retention-mode", "COMPLIANCE", "--s3-retention-days", "1")
			s := site.start(t)
			small := s.notarize(fileRequest([]byte("%PDF-1.4"), `{"title":"公示"}`, ""))
			large := s.notarize(fileRequest(make([]byte, 20<<20), `{"title":"Large"}`, ""))
			s.notarize(digestRequest(newDigest(), "", "anchored"))
			s.stop()
			again := site.start(t)
			for _, rec := range []record{small, large} {
				again.demand(rec, proof.Genuine)
			}
			again.stop()
			if res := site.fsck(t); res.Documents != 2 {
				t.Errorf("%+v", res)
			}
		})
	}
}
