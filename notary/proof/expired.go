package proof

const expiredAtAnchor = "expired_at_anchor" // reason of the step certificate

// ExpiredAtAnchor reports whether the evidence for the given document lacks nothing but this: a
// certificate, the record's or that of its revocation, had expired before a chain vouched for the
// signature. No verdict can be given on such a record, ever. Nothing is damaged, though, and the
// bundle is all the evidence that there is: it says itself what it cannot show, so whoever makes
// bundles may hand it out.
func (r *Report) ExpiredAtAnchor() bool {
	if r.Verdict != Unverifiable || r.Cause() != expiredAtAnchor {
		return false
	}
	for _, s := range r.Steps {
		if s.Status == Failed || s.Name == StepDocument && s.Status != Passed {
			return false
		}
		if s.LeavesOpen() && s.Name != StepAnchor && s.Reason != expiredAtAnchor {
			return false
		}
	}
	return true
}

// CertificateRevoked reports whether the evidence fails for this alone: the signer's certificate is revoked, and no
// chain vouches that the record is older. As with [Report.ExpiredAtAnchor] nothing is damaged, and whoever makes
// bundles may hand it out.
func (r *Report) CertificateRevoked() bool {
	s, failed := r.FailedStep()
	return failed && s.Name == StepStatus && s.Reason == "certificate_revoked"
}
