package proof_test

import (
	"testing"

	"stele/notary/proof"
	"stele/notary/proof/prooftest/vectors"
)

const vectorsDir = "testdata/vectors"

func loadVectors(t testing.TB) *vectors.Set {
	t.Helper()
	set, err := vectors.Load(vectorsDir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestVectors(t *testing.T) {
	set := loadVectors(t)
	for _, v := range set.Index.Vectors {
		if err := set.Check(v); err != nil {
			t.Error(err)
		}
	}
}

// outcomes are all ways in which a step can end other than passed, with the reasons that
// docs/formats.md lists. The vectors must show each of them.
var outcomes = []string{
	"bundle failed malformed",
	"document not_checked no_document", "document failed digest_differs", "document failed size_differs",
	"fields failed unknown_field", "fields failed commitment_differs",
	"statement failed malformed", "statement failed user_id", "statement failed bad_signature",
	"statement skipped no_signer",
	"certificate failed malformed", "certificate failed other_holder", "certificate failed bad_certificate",
	"certificate not_checked unknown_root", "certificate not_checked out_of_scope",
	"certificate not_checked expired_at_anchor",
	"inclusion failed malformed", "inclusion failed not_included",
	"checkpoint failed bad_signature", "checkpoint failed key_not_valid", "checkpoint not_checked unknown_log",
	"checkpoint not_checked unknown_log_key", "checkpoint skipped no_checkpoint",
	"anchor failed malformed", "anchor failed bad_evidence", "anchor failed time_order", "anchor failed duplicate",
	"anchor not_checked unknown_chain", "anchor not_checked unknown_gateway", "anchor not_checked unknown_gateway_key",
	"anchor not_checked time_order", "anchor not_checked other_chain", "anchor skipped not_anchored",
	"anchor skipped no_checkpoint",
	"standing failed malformed", "standing failed other_agency", "standing failed other_record",
	"standing failed time_order", "standing failed bad_evidence", "standing failed other_root",
	"standing failed other_log",
	"standing not_checked unknown_root", "standing not_checked no_status_proof",
	"consistency failed malformed", "consistency failed other_log", "consistency failed not_consistent",
	"consistency failed bad_evidence",
	"consistency failed history_differs", "consistency not_checked not_anchored",
	"consistency not_checked unknown_chain",
	"consistency skipped no_checkpoint",
	"status failed malformed", "status failed other_log", "status failed other_place", "status failed not_covered",
	"status failed not_last", "status failed bad_signature", "status failed not_included", "status failed bad_evidence",
	"status failed key_not_valid", "status failed map_differs", "status failed bad_revocation",
	"status failed certificate_revoked",
	"status not_checked not_anchored", "status not_checked unknown_log_key", "status not_checked unknown_chain",
	"status not_checked unknown_log", "status skipped no_checkpoint",
	"standing failed status_differs",
}

func TestVectorsShowEveryOutcome(t *testing.T) {
	set := loadVectors(t)
	shown, verdicts := map[string]bool{}, map[proof.Verdict]int{}
	for _, v := range set.Index.Vectors {
		r, err := set.Report(v)
		if err != nil {
			t.Fatal(err)
		}
		verdicts[r.Verdict]++
		for _, s := range r.Steps {
			if s.Status != proof.Passed && s.Reason != "unreadable" {
				shown[string(s.Name)+" "+string(s.Status)+" "+s.Reason] = true
			}
		}
	}
	for _, o := range outcomes {
		if !shown[o] {
			t.Errorf("no vector ends a step so: %s", o)
		}
		delete(shown, o)
	}
	for o := range shown {
		t.Errorf("an outcome that is not listed: %s", o)
	}
	for _, v := range []proof.Verdict{proof.Genuine, proof.Pending, proof.Altered, proof.Revoked, proof.Superseded,
		proof.Invalid, proof.Unverifiable} {
		if verdicts[v] == 0 {
			t.Errorf("no vector with the verdict %s", v)
		}
	}
}
