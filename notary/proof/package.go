package proof

// BadPackage returns the report on an evidence package that is not as it was issued, whatever
// the bundle in it says: entry is the file in it that is at fault, or empty, and detail a
// sentence that names it. It is for callers that read packages, before Verify can run.
func BadPackage(entry, detail string) *Report {
	r := &Report{Format: ReportFormat}
	step := Step{Name: StepBundle, Status: Failed, Reason: "package", Detail: detail}
	if entry != "" {
		step.Compared = []Comparison{{"entry", entry}}
	}
	r.add(step)
	r.skipAfter(StepBundle)
	return r.decide(nil)
}
