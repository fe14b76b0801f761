package proof

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
)

// Limits of version 2.
const (
	maxPinnedEpochs = 4096
	maxLate         = 10 * 365 * 24 * time.Hour
)

// encodeV2 writes:
//
//	{"format":"stele/trust/v2","lateAfter":86400,
//	 "roots":[{"certificate":b64 DER,"codes":["<code>",…],"regions":["<digits>",…],"logs":["<origin>",…]},…],
//	 "logs":[{"origin":"<origin>","chains":["<chain id or application>",…],
//	          "keys":[{"key":"…","notBefore":"…"[,"notAfter":"…"]},…]},…],
//	 "chains":[{"kind":"stele/egov/v1","genesis":"<epoch text>",
//	            "epochs":[{"hash":"<64 hex>","from":"<RFC 3339>"},…],
//	            "members":[{"key":"<130 hex>","organization":"<name>","code":"<code>"},…]},…],
//	 "gateways":[…as in version 1…]}
func (t *Trust) encodeV2() []byte {
	b := append([]byte(nil), `{"format":"`+TrustV2+`","lateAfter":`...)
	b = canonical.AppendInt(b, uint64(t.late()/time.Second))
	b = append(b, `,"roots":`...)
	b = canonical.AppendList(b, t.Roots, func(b []byte, r TrustedRoot) []byte {
		b = append(b, `{"certificate":`...)
		b = canonical.AppendBytes(b, r.DER)
		b = canonical.AppendStrings(b, "codes", r.Codes)
		b = canonical.AppendStrings(b, "regions", r.Regions)
		b = canonical.AppendStrings(b, "logs", r.Logs)
		return append(b, '}')
	})
	b = append(b, `,"logs":`...)
	b = canonical.AppendList(b, groupKeys(t.Logs), func(b []byte, keys []TrustedLog) []byte {
		b = append(b, `{"origin":`...)
		b = canonical.AppendString(b, keys[0].Key.Name())
		b = canonical.AppendStrings(b, "chains", keys[0].Chains)
		b = append(b, `,"keys":`...)
		b = canonical.AppendList(b, keys, appendLogKey)
		return append(b, '}')
	})
	b = append(b, `,"chains":`...)
	b = canonical.AppendList(b, t.Chains, appendChain)
	b = append(b, `,"gateways":`...)
	b = canonical.AppendList(b, t.Gateways, appendGateway)
	return append(b, '}')
}

func appendChain(b []byte, c TrustedChain) []byte {
	b = append(b, `{"kind":"`+KindEgov+`","genesis":`...)
	b = canonical.AppendString(b, c.Genesis.Text())
	b = append(b, `,"epochs":`...)
	b = canonical.AppendList(b, c.Epochs, func(b []byte, e PinnedEpoch) []byte {
		b = append(b, `{"hash":"`+e.Hash.String()+`","from":`...)
		b = appendTime(b, e.From)
		return append(b, '}')
	})
	b = append(b, `,"members":`...)
	b = canonical.AppendList(b, c.Members, func(b []byte, m TrustedMember) []byte {
		b = append(b, `{"key":"`+hex.EncodeToString(m.Key.Bytes())+`","organization":`...)
		b = canonical.AppendString(b, m.Organization)
		b = append(b, `,"code":`...)
		b = canonical.AppendString(b, m.Code)
		return append(b, '}')
	})
	return append(b, '}')
}

// groupKeys puts the keys of one log together, in the order in which logs first occur.
func groupKeys(logs []TrustedLog) [][]TrustedLog {
	var out [][]TrustedLog
	for _, l := range logs {
		same := func(keys []TrustedLog) bool { return keys[0].Key.Name() == l.Key.Name() }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i] = append(out[i], l)
		} else {
			out = append(out, []TrustedLog{l})
		}
	}
	return out
}

type (
	wireRoot struct {
		Certificate []byte   `json:"certificate"`
		Codes       []string `json:"codes"`
		Regions     []string `json:"regions"`
		Logs        []string `json:"logs"`
	}
	wireTrustedLog struct {
		Origin string       `json:"origin"`
		Chains []string     `json:"chains"`
		Keys   []wireLogKey `json:"keys"`
	}
	wireChain struct {
		Kind    string `json:"kind"`
		Genesis string `json:"genesis"`
		Epochs  []struct {
			Hash string    `json:"hash"`
			From time.Time `json:"from"`
		} `json:"epochs"`
		Members []struct {
			Key          string `json:"key"`
			Organization string `json:"organization"`
			Code         string `json:"code"`
		} `json:"members"`
	}
)

func parseTrustV2(data []byte) (*Trust, error) {
	var w struct {
		Format    string           `json:"format"`
		LateAfter uint64           `json:"lateAfter"`
		Roots     []wireRoot       `json:"roots"`
		Logs      []wireTrustedLog `json:"logs"`
		Chains    []wireChain      `json:"chains"`
		Gateways  []wireGateway    `json:"gateways"`
	}
	if err := canonical.Decode(data, MaxTrustSize, &w); err != nil {
		return nil, err
	}
	if w.LateAfter == 0 || w.LateAfter > uint64(maxLate/time.Second) {
		return nil, fmt.Errorf("lateAfter must be 1 to %d seconds", maxLate/time.Second)
	}
	t := &Trust{Format: TrustV2, Late: time.Duration(w.LateAfter) * time.Second}
	for i, r := range w.Roots {
		root := TrustedRoot{DER: r.Certificate, Codes: r.Codes, Regions: r.Regions, Logs: r.Logs}
		if err := root.ValidScope(); err != nil {
			return nil, fmt.Errorf("root certificate %d: %w", i, err)
		}
		t.Roots = append(t.Roots, root)
	}
	for i, c := range w.Chains {
		chain, err := c.chain()
		if err != nil {
			return nil, fmt.Errorf("chain %d: %w", i, err)
		}
		t.Chains = append(t.Chains, chain)
	}
	if err := t.addGateways(w.Gateways); err != nil {
		return nil, err
	}
	for i, l := range w.Logs {
		if err := t.addLog(l); err != nil {
			return nil, fmt.Errorf("log %d: %w", i, err)
		}
	}
	// Of a log that is not pinned any pinned chain could say which keys are its own.
	for i, r := range t.Roots {
		for _, origin := range r.Logs {
			if len(t.LogKeys(origin)) == 0 {
				return nil, fmt.Errorf("root certificate %d: its log %q is not among the logs", i, origin)
			}
		}
	}
	return t, nil
}

func (w wireChain) chain() (TrustedChain, error) {
	var c TrustedChain
	var err error
	if c.Genesis, err = parseGenesis(w.Kind, w.Genesis); err != nil {
		return c, err
	}
	if len(w.Epochs) > maxPinnedEpochs {
		return c, fmt.Errorf("at most %d pinned epochs are expected", maxPinnedEpochs)
	}
	for i, e := range w.Epochs {
		hash, err := sm.ParseDigest(e.Hash)
		if err != nil {
			return c, fmt.Errorf("pinned epoch %d: %w", i+1, err)
		}
		if e.From.Year() < firstYear {
			return c, fmt.Errorf("pinned epoch %d must begin in the year %d or later", i+1, firstYear)
		}
		if i > 0 && e.From.Before(c.Epochs[i-1].From) {
			return c, fmt.Errorf("pinned epoch %d begins before the one before it", i+1)
		}
		c.Epochs = append(c.Epochs, PinnedEpoch{Hash: hash, From: e.From.UTC()})
	}
	for i, m := range w.Members {
		point, err := hex.DecodeString(m.Key)
		if err != nil {
			return c, fmt.Errorf("member %d: the key has 130 hexadecimal digits", i)
		}
		key, err := sm.ParsePublicKey(point)
		if err != nil {
			return c, fmt.Errorf("member %d: %w", i, err)
		}
		member := TrustedMember{Key: key, Organization: m.Organization, Code: m.Code}
		if err := c.AddMember(member); err != nil {
			return c, fmt.Errorf("member %d: %w", i, err)
		}
	}
	return c, nil
}

// AddMember names the holder of a validator's key, which must not be named yet. It is for
// whoever makes trust roots: a trust that others use must not be changed.
func (c *TrustedChain) AddMember(m TrustedMember) error {
	if !notary.ValidUSCC(m.Code) || !statement.ValidText(m.Organization, statement.MaxName) {
		return fmt.Errorf("an organization's name of 1 to %d bytes and its credit code are expected", statement.MaxName)
	}
	if _, twice := c.Organization(m.Key); twice {
		return errors.New("the key stands there twice")
	}
	c.Members = append(c.Members, m)
	return nil
}

func (t *Trust) addLog(w wireTrustedLog) error {
	if len(w.Keys) == 0 || len(t.LogKeys(w.Origin)) > 0 {
		return fmt.Errorf("%q must stand there once, with a key", w.Origin)
	}
	for _, name := range w.Chains {
		if !t.pins(name) {
			return fmt.Errorf("%q is neither a pinned chain nor an application behind a pinned gateway", name)
		}
	}
	if err := ascending("chains", w.Chains); err != nil {
		return err
	}
	for _, k := range w.Keys {
		l, err := k.logKey()
		if err != nil {
			return err
		}
		if l.Key.Name() != w.Origin {
			return fmt.Errorf("a key of %q stands under %q", l.Key.Name(), w.Origin)
		}
		l.Chains = w.Chains
		t.Logs = append(t.Logs, l)
	}
	return nil
}

// pins reports whether a name is that of a chain, or of an application behind a gateway.
func (t *Trust) pins(name string) bool {
	_, chain := t.chain(name)
	return chain || slices.ContainsFunc(t.Gateways, func(g TrustedGateway) bool { return g.App == name })
}
