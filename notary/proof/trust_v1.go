package proof

import (
	"fmt"
	"time"

	"stele/crypto/signednote"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/canonical"
)

// encodeV1 writes:
//
//	{"format":"stele/trust/v1","roots":[b64 DER,…],
//	 "logs":[{"key":"<name>+<id>+<b64>","notBefore":"<RFC 3339>"[,"notAfter":"<RFC 3339>"]},…],
//	 "chains":[{"kind":"stele/egov/v1","genesis":"<epoch text>"},…]
//	 [,"gateways":[{"kind":"bsn/fabric/v1","app":"<name>","name":"<name>","key":"<b64 DER>"},…]]}
func (t *Trust) encodeV1() []byte {
	b := append([]byte(nil), `{"format":"`+TrustV1+`","roots":`...)
	b = canonical.AppendList(b, t.certificates(), canonical.AppendBytes)
	b = append(b, `,"logs":`...)
	b = canonical.AppendList(b, t.Logs, appendLogKey)
	b = append(b, `,"chains":`...)
	b = canonical.AppendList(b, t.Chains, func(b []byte, c TrustedChain) []byte {
		b = append(b, `{"kind":"`+KindEgov+`","genesis":`...)
		b = canonical.AppendString(b, c.Genesis.Text())
		return append(b, '}')
	})
	if len(t.Gateways) > 0 { // files of those that have none are as they were before there were any
		b = append(b, `,"gateways":`...)
		b = canonical.AppendList(b, t.Gateways, appendGateway)
	}
	return append(b, '}')
}

func appendLogKey(b []byte, l TrustedLog) []byte {
	b = append(b, `{"key":`...)
	b = canonical.AppendString(b, signednote.FormatKey(l.Key.Name(), l.Key.Key()))
	b = append(b, `,"notBefore":`...)
	b = appendTime(b, l.NotBefore)
	if !l.NotAfter.IsZero() {
		b = append(b, `,"notAfter":`...)
		b = appendTime(b, l.NotAfter)
	}
	return append(b, '}')
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, trustTime)
	return append(b, '"')
}

type wireLogKey struct {
	Key       string    `json:"key"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

func (w wireLogKey) logKey() (TrustedLog, error) {
	v, err := signednote.ParseKey(w.Key)
	return TrustedLog{Key: v, NotBefore: w.NotBefore.UTC(), NotAfter: w.NotAfter.UTC()}, err
}

func parseTrustV1(data []byte) (*Trust, error) {
	var w struct {
		Format string       `json:"format"`
		Roots  [][]byte     `json:"roots"`
		Logs   []wireLogKey `json:"logs"`
		Chains []struct {
			Kind    string `json:"kind"`
			Genesis string `json:"genesis"`
		} `json:"chains"`
		Gateways []wireGateway `json:"gateways"`
	}
	if err := canonical.Decode(data, MaxTrustSize, &w); err != nil {
		return nil, err
	}
	if w.Format != TrustV1 {
		return nil, fmt.Errorf("format must be %q or %q", TrustV1, TrustV2)
	}
	t := &Trust{Format: TrustV1}
	for _, der := range w.Roots {
		t.Roots = append(t.Roots, TrustedRoot{DER: der})
	}
	for i, k := range w.Logs {
		l, err := k.logKey()
		if err != nil {
			return nil, fmt.Errorf("log %d: %w", i, err)
		}
		t.Logs = append(t.Logs, l)
	}
	for i, c := range w.Chains {
		g, err := parseGenesis(c.Kind, c.Genesis)
		if err != nil {
			return nil, fmt.Errorf("chain %d: %w", i, err)
		}
		t.Chains = append(t.Chains, TrustedChain{Genesis: g})
	}
	return t, t.addGateways(w.Gateways)
}

func parseGenesis(kind, text string) (anchorproof.Epoch, error) {
	if kind != KindEgov {
		return anchorproof.Epoch{}, fmt.Errorf("unknown kind %q", kind)
	}
	return anchorproof.ParseEpoch(text)
}
