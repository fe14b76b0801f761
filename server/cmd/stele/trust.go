package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/notary/proof/trustfile"
	"stele/server/cmd/internal/command"
)

type trustCmd struct {
	Show   trustShowCmd   `cmd:"" help:"Print what a trust file says."`
	Make   trustMakeCmd   `cmd:"" help:"Say for whom the root of one instance may speak, and who the members of its chain are."`
	Merge  trustMergeCmd  `cmd:"" help:"Put the trust files of several instances together."`
	Diff   trustDiffCmd   `cmd:"" help:"Compare two trust files: exit code 0 where they are the same, 1 where they differ."`
	Key    trustKeyCmd    `cmd:"" help:"Make an offline key that signs trust files, and print its public half."`
	Sign   trustSignCmd   `cmd:"" help:"Sign a trust file with an offline key."`
	Check  trustCheckCmd  `cmd:"" help:"Check the signature of a trust file: exit code 1 where it does not verify."`
	Update trustUpdateCmd `cmd:"" help:"Pin the epochs to which a chain has handed over since."`
}

// Help implements kong.HelpProvider.
func (*trustCmd) Help() string {
	return "A trust file is all that a verifier believes. These commands read and write such files; they need no " +
		"instance. No file is ever written over: give --out a new name, look at the result, then put it in place. " +
		"The procedure is in docs/operations.md, Trust roots of several cities.\n\nExit codes: 0 done; 1 the files " +
		"differ or contradict each other, or something does not verify; 2 wrong usage, or a file that cannot be read " +
		"or written; 3 the service cannot be reached."
}

// readTrust reads a trust file; what is wrong with it is the user's to mend.
func readTrust(name string, parse func([]byte) (*proof.Trust, error)) (*proof.Trust, error) {
	text, err := verifier.ReadFile(name, proof.MaxTrustSize+1)
	if err != nil {
		return nil, usage(err)
	}
	t, err := parse(text)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", name, err))
	}
	return t, nil
}

// writeTrust writes a trust file that must not be there yet: whoever verifies with the former one
// must not get another without noticing.
func (s *streams) writeTrust(name string, t *proof.Trust) error {
	text := append(t.Encode(), '\n')
	if err := writeFresh(name, string(text)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "%s is written: %d roots, %d log keys, %d chains, %d gateways.\nSM3 %s\n",
		name, len(t.Roots), len(t.Logs), len(t.Chains), len(t.Gateways), sm.Sum(text))
	return err
}

func writeFresh(name, text string) error {
	err := command.WriteNew(name, text)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s is there already and is not written over: give --out another name", name)
	}
	if err != nil {
		return usage(err)
	}
	return nil
}

type trustShowCmd struct {
	File string `arg:"" help:"The trust file."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// What show --json prints.
type (
	shownTrust struct {
		Format   string         `json:"format"`
		SM3      string         `json:"sm3"` // of the file
		Late     string         `json:"lateAfter"`
		Roots    []shownRoot    `json:"roots"`
		Logs     []shownLogKey  `json:"logs"`
		Chains   []shownChain   `json:"chains"`
		Gateways []shownGateway `json:"gateways"`
	}
	shownRoot struct {
		Holder    string     `json:"holder"`
		SM3       string     `json:"sm3"`
		NotAfter  *time.Time `json:"notAfter,omitempty"`
		Codes     []string   `json:"codes"`
		Regions   []string   `json:"regions"`
		Logs      []string   `json:"logs"`
		SpeaksFor string     `json:"speaksFor"`
	}
	shownLogKey struct {
		Origin    string     `json:"origin"`
		Key       string     `json:"key"`
		NotBefore time.Time  `json:"notBefore"`
		NotAfter  *time.Time `json:"notAfter,omitempty"`
		Chains    []string   `json:"chains,omitempty"` // absent in version 1: any
	}
	shownChain struct {
		Chain      string           `json:"chain"`
		Genesis    string           `json:"genesis"` // SM3 of epoch 0
		Epochs     []shownEpoch     `json:"epochs"`
		Validators []shownValidator `json:"validators"` // of epoch 0
		Others     []shownValidator `json:"others"`     // whose keys are named, and not in epoch 0
	}
	shownEpoch struct {
		Number int       `json:"number"`
		Hash   string    `json:"hash"`
		From   time.Time `json:"from"`
	}
	shownValidator struct {
		Name         string `json:"name,omitempty"`
		Key          string `json:"key"`
		Organization string `json:"organization,omitempty"`
		Code         string `json:"code,omitempty"`
	}
	shownGateway struct {
		Kind string `json:"kind"`
		App  string `json:"app"`
		Name string `json:"name"`
		Key  string `json:"key"` // SM3 of its DER
	}
)

// Run prints a trust file.
func (c *trustShowCmd) Run(s *streams) error {
	text, err := verifier.ReadFile(c.File, proof.MaxTrustSize+1)
	if err != nil {
		return usage(err)
	}
	t, err := proof.ParseTrustDraft(text) // one that lacks scopes can be looked at
	if err != nil {
		return usage(fmt.Errorf("%s: %w", c.File, err))
	}
	shown := show(t)
	shown.SM3 = sm.Sum(text).String()
	if c.JSON {
		return s.json(shown)
	}
	_, err = io.WriteString(s.out, shown.text())
	if _, unfit := proof.ParseTrust(text); err == nil && unfit != nil {
		_, err = fmt.Fprintf(s.out, "\nNo verifier takes this file: %v\n", unfit)
	}
	return err
}

func show(t *proof.Trust) shownTrust {
	up := trustfile.Upgrade(t)
	v := shownTrust{Format: t.Format, Late: up.Late.String(), // and no list is null
		Roots: []shownRoot{}, Logs: []shownLogKey{}, Chains: []shownChain{}, Gateways: []shownGateway{}}
	for _, r := range up.Roots {
		root := shownRoot{SM3: sm.Sum(r.DER).String(), SpeaksFor: trustfile.ScopeText(r),
			Codes: notNil(r.Codes), Regions: notNil(r.Regions), Logs: notNil(r.Logs)}
		if cert, err := pki.Parse(r.DER); err == nil { // it was parsed before
			until := cert.NotAfter().UTC()
			root.Holder, root.NotAfter = cert.Subject().Organization, &until
		}
		v.Roots = append(v.Roots, root)
	}
	for _, l := range t.Logs {
		key := shownLogKey{Origin: l.Key.Name(), Key: signednote.FormatKey(l.Key.Name(), l.Key.Key()),
			NotBefore: l.NotBefore, Chains: l.Chains}
		if !l.NotAfter.IsZero() {
			key.NotAfter = &l.NotAfter
		}
		v.Logs = append(v.Logs, key)
	}
	for _, c := range up.Chains {
		v.Chains = append(v.Chains, showChain(c))
	}
	for _, g := range up.Gateways {
		v.Gateways = append(v.Gateways, shownGateway{g.Kind, g.App, g.Name, sm.Sum(g.Key.DER()).String()})
	}
	return v
}

func notNil(list []string) []string { return append([]string{}, list...) }

func showChain(c proof.TrustedChain) shownChain {
	out := shownChain{Chain: c.Genesis.Chain, Genesis: c.Genesis.Hash().String(),
		Epochs: []shownEpoch{}, Validators: []shownValidator{}, Others: []shownValidator{}}
	for i, e := range c.Epochs {
		out.Epochs = append(out.Epochs, shownEpoch{i + 1, e.Hash.String(), e.From})
	}
	for _, val := range c.Genesis.Validators {
		v := shownValidator{Name: val.Name, Key: fmt.Sprintf("%x", val.Key.Bytes())}
		if i := slices.IndexFunc(c.Members, func(m proof.TrustedMember) bool { return m.Key.Equal(val.Key) }); i >= 0 {
			v.Organization, v.Code = c.Members[i].Organization, c.Members[i].Code
		}
		out.Validators = append(out.Validators, v)
	}
	for _, m := range c.Members {
		key := fmt.Sprintf("%x", m.Key.Bytes())
		if !slices.ContainsFunc(out.Validators, func(v shownValidator) bool { return v.Key == key }) {
			out.Others = append(out.Others, shownValidator{Key: key, Organization: m.Organization, Code: m.Code})
		}
	}
	return out
}

type trustDiffCmd struct {
	First  string `arg:"" help:"A trust file."`
	Second string `arg:"" help:"The other one."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run compares; the exit code is 1 where the files differ.
func (c *trustDiffCmd) Run(s *streams) error {
	a, err1 := readTrust(c.First, proof.ParseTrustDraft)
	b, err2 := readTrust(c.Second, proof.ParseTrustDraft)
	if err := errors.Join(err1, err2); err != nil {
		return usage(err)
	}
	found := trustfile.Compare(a, b)
	if len(found) > 0 {
		*s.code = exitFailed
	}
	if c.JSON {
		return s.json(append([]trustfile.Difference{}, found...))
	}
	for _, d := range found {
		if _, err := fmt.Fprintf(s.out, "%-8s %-8s %s\n", d.Kind, d.What, verifier.Printable(d.Sentence)); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(s.out, "Both files say the same.")
		return err
	}
	return nil
}
