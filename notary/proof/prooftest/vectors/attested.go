//go:build !js

package vectors

import (
	"encoding/json"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
)

const (
	gatewaysFile  = "trust-gateways.json"        // all keys of both applications
	otherKeyFile  = "trust-gateway-key.json"     // another key of them
	otherAppFile  = "trust-gateway-app.json"     // another application
	gatewaysNoLog = "trust-gateways-no-log.json" // the gateways, and neither log nor chain
)

func gatewayOf(algorithm gateway.Algorithm) prooftest.Gateway {
	return prooftest.NewGateway(seed+"/gateway/"+string(algorithm), algorithm)
}

var algorithms = []gateway.Algorithm{gateway.SM2, gateway.Secp256r1, gateway.Secp256k1}

// gatewayTrusts writes the trust files with gateways.
func (b *builder) gatewayTrusts() {
	write := func(name string, change func(t *proof.Trust)) {
		t := solo().Trust()
		change(t)
		b.set.Files[name] = append(t.Encode(), '\n')
	}
	all := func(t *proof.Trust) {
		for _, kind := range []string{proof.KindBSNFabric, proof.KindBSNFISCO} {
			for _, a := range algorithms {
				t.Pin(gatewayOf(a).Pinned(kind))
			}
		}
	}
	write(gatewaysFile, all)
	write(gatewaysNoLog, func(t *proof.Trust) { t.Logs, t.Chains = nil, nil; all(t) })
	write(otherKeyFile, func(t *proof.Trust) {
		other := prooftest.NewGateway(seed+"/gateway/other", gateway.SM2)
		t.Pin(other.Pinned(proof.KindBSNFabric))
		t.Pin(other.Pinned(proof.KindBSNFISCO))
	})
	write(otherAppFile, func(t *proof.Trust) {
		g := gatewayOf(gateway.SM2).Pinned(proof.KindBSNFabric)
		g.App = "app2"
		t.Pin(g)
	})
}

// scene is a record in a log of three entries, which a gateway answers about.
type scene struct {
	*prooftest.World
	record     *prooftest.Record
	checkpoint prooftest.Checkpoint
	egov       json.RawMessage
	at         time.Time // of the gateway's anchor
}

func newScene() scene {
	w := solo()
	w.Fill(2)
	s := scene{World: w, record: w.Issue(document)}
	s.checkpoint = w.Checkpoint()
	s.egov = w.Anchor(s.checkpoint)
	s.at = w.Now.Add(time.Second)
	return s
}

func (s scene) bundle(anchors ...json.RawMessage) []byte {
	return s.Bundle(s.record, s.checkpoint, anchors...).Encode()
}

// fabric and fisco are the anchors of a gateway with a key of SM2.
func (s scene) fabric(change ...func(*prooftest.FabricAnswers)) bsnproof.Fabric {
	return gatewayOf(gateway.SM2).Fabric(s.checkpoint.Checkpoint, s.at, change...)
}

func (s scene) fisco(change ...func(*prooftest.FISCOAnswers)) bsnproof.FISCO {
	return gatewayOf(gateway.SM2).FISCO(s.checkpoint.Checkpoint, s.at, change...)
}

// later grows the log and returns its checkpoint with the consistency proof from the record's.
func (s scene) later() (checkpoint.Checkpoint, []merkle.Hash) {
	s.Fill(4)
	return s.World.Checkpoint().Checkpoint, s.Consistency(s.checkpoint.Size)
}

// attested are bundles with anchors that a gateway vouches for.
func (b *builder) attested() {
	b.gatewayTrusts()
	pinned := trustedBy(gatewaysFile)
	encode := prooftest.EncodeAttested
	good := func(name, about string, bundle []byte, edit ...func(*Vector)) {
		b.add("attested-"+name, about, proof.Genuine, bundle, append([]func(*Vector){pinned}, edit...)...)
	}
	s := newScene()
	for _, a := range algorithms {
		g := gatewayOf(a)
		good("fabric-"+string(a), "anchored on the chain, and on Fabric behind a gateway with a key on "+string(a),
			s.bundle(s.egov, encode(g.Fabric(s.checkpoint.Checkpoint, s.at))))
		good("fisco-"+string(a), "anchored on the chain, and on FISCO BCOS behind a gateway with a key on "+string(a),
			s.bundle(s.egov, encode(g.FISCO(s.checkpoint.Checkpoint, s.at))))
	}
	good("fabric-alone", "a gateway's anchor is the only one", s.bundle(encode(s.fabric())))
	good("fisco-alone", "a gateway's anchor is the only one", s.bundle(encode(s.fisco())))
	good("both", "anchored on the chain and on two applications behind gateways",
		s.bundle(encode(s.fisco()), s.egov, encode(s.fabric())))
	good("fabric-top", "the block is the last one of the ledger",
		s.bundle(encode(s.fabric(func(x *prooftest.FabricAnswers) {
			x.Ledger.Height, x.Ledger.BlockHash = 8, x.Block.BlockHash
		}))))
	good("fabric-inner", "the text that the chaincode returned has white space, an escape and a name more",
		s.bundle(encode(s.fabric(func(x *prooftest.FabricAnswers) {
			x.CCData = strings.Replace(text(x.Writes), `{"txId":"`, ` { "x":[{"x":1.50e3},null] ,"tx\u0049d" : "`, 1)
		}))))
	good("fisco-void-row", "a second row under the same number is void",
		s.bundle(encode(s.fisco(func(x *prooftest.FISCOAnswers) {
			x.Rows = append(x.Rows, gateway.Row{ID: x.Rows[0].ID, Key: -1 << 63, Value: "void"})
		}))))
	good("fisco-numbers", "the answer to the view has the numbers that others leave out; one is negative",
		s.bundle(encode(s.fisco(func(x *prooftest.FISCOAnswers) {
			zero, negative := int64(0), int64(-1)
			x.Row.BlockNumber, x.Row.GasUsed = &zero, &negative
		}))))
	c, path := newScene().later()
	fabric, fisco := gatewayOf(gateway.SM2).Fabric(c, s.at), gatewayOf(gateway.SM2).FISCO(c, s.at)
	fabric.Path, fisco.Path = path, path
	good("fabric-later", "the gateway answers about a later checkpoint that grew out of the bundle's",
		s.bundle(encode(fabric)))
	good("fisco-later", "the gateway answers about a later checkpoint that grew out of the bundle's",
		s.bundle(encode(fisco)))
	early := func(x *prooftest.FabricAnswers) { x.Block.Transactions[1].TimeSpanSec -= 3600 }
	good("early-too", "the gateway's clock is an hour behind: its anchor does not count, the chain's does",
		s.bundle(s.egov, encode(s.fabric(early))))
	good("unknown-key-too", "the gateway's key is not pinned: its anchor does not count, the chain's does",
		s.bundle(s.egov, encode(s.fabric())), trustedBy(otherKeyFile))
	good("unknown-app-too", "the application is not pinned: its anchor does not count, the chain's does",
		s.bundle(s.egov, encode(s.fisco())), trustedBy(otherAppFile))
	b.add("attested-altered", "another file", proof.Altered, s.bundle(encode(s.fabric())), pinned, about(otherFile))
	unknown := func(name, about string, bundle []byte, trust string) {
		b.add("attested-"+name, about, proof.Unverifiable, bundle, trustedBy(trust))
	}
	unknown("early", "the gateway's clock is an hour behind, and there is no other anchor",
		s.bundle(encode(s.fabric(early))), gatewaysFile)
	unknown("unknown-key", "the gateway's key is not pinned, and there is no other anchor", s.bundle(encode(s.fisco())),
		otherKeyFile)
	unknown("unknown-app", "the application is not pinned, and there is no other anchor", s.bundle(encode(s.fabric())),
		otherAppFile)
	unknown("unknown-log", "a gateway's anchor vouches for no key of the log", s.bundle(encode(s.fabric())),
		gatewaysNoLog)
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return string(b)
}
