//go:build !js

package vectors

// Build makes all vectors. Browsers only run them: gateways sign with libraries that are not
// built for them.
func Build() *Set {
	b := &builder{set: &Set{Index: Index{Format: Format}, Files: map[string][]byte{}}, names: map[string]bool{}}
	b.trusts()
	b.set.Files[documentFile] = document
	b.set.Files[otherFile] = otherDocument
	b.set.Files[emptyFile] = []byte{}
	b.good()
	b.unverifiable()
	b.badForm()
	b.badFields()
	b.badStatement()
	b.badSignature()
	b.badCertificate()
	b.badInclusion()
	b.badCheckpoint()
	b.badAnchor()
	b.badEpochs()
	b.badStanding()
	b.scoped()
	b.times()
	b.resaved()
	b.consistency()
	b.attested()
	b.badAttested()
	b.x509()
	b.silences()
	b.moved()
	b.statuses()
	b.statusAttested()
	return b.set
}
