//go:build !js

package vectors

import (
	"encoding/json"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/prooftest"
)

// statusAttested are statuses for which a gateway vouches.
func (b *builder) statusAttested() {
	g := gatewayOf(gateway.SM2)
	x := state(solo(), nothing)
	attested := prooftest.EncodeAttested(g.Fabric(x.under.Checkpoint, x.w.Now.Add(time.Second)))
	b.add("status-attested", "a gateway alone says of when the status is", proof.Genuine,
		x.bundle(func(b *proof.Bundle) { b.Status.Anchors = []json.RawMessage{attested} }).Encode(),
		standsAs(proof.StandingValid), trustedBy(gatewaysFile))
	b.add("status-attested-too", "a chain and a gateway say of when the status is", proof.Genuine,
		x.bundle(func(b *proof.Bundle) { b.Status.Anchors = append(b.Status.Anchors, attested) }).Encode(),
		standsAs(proof.StandingValid), trustedBy(gatewaysFile))
	x.w.Fill(3)
	later := x.w.Checkpoint()
	grown, err := proof.Later(prooftest.EncodeAttested(g.Fabric(later.Checkpoint, x.w.Now.Add(time.Hour))),
		x.w.Consistency(x.under.Size))
	if err != nil {
		panic("vectors: " + err.Error())
	}
	b.add("status-attested-later", "a gateway vouches for a later checkpoint alone: of when the status is nobody says",
		proof.Genuine, x.bundle(func(b *proof.Bundle) { b.Status.Anchors = []json.RawMessage{grown} }).Encode(),
		standsAs(proof.StandingUnknown), trustedBy(gatewaysFile))
}
