package verifier

import (
	"errors"
	"fmt"

	"stele/crypto/signednote"
	"stele/notary/proof"
	"stele/notary/proof/trustfile"
)

// trustSigner is who must have signed the trust roots; the zero value asks for nobody.
type trustSigner struct {
	key       *signednote.Verifier // nil for nobody
	signature string               // name of the signature file, by default that of the trust roots and ".sig"
}

// parse reads the option's value. An empty one is wrong too: a script whose variable is not set
// must not ask for nobody.
func (t *trustSigner) parse(text string) (err error) {
	if t.key, err = signednote.ParseKey(text); err != nil {
		return errors.New(`the key text that "stele trust key" printed is expected, name+hex+base64`)
	}
	return nil
}

func (t *trustSigner) check() error {
	if t.signature != "" && t.key == nil {
		return errors.New("--trust-signature needs --trust-key: whose signature is it to be?")
	}
	return nil
}

// loadTrust reads the trust roots and, where a signer was named, demands the signature first.
func loadTrust(name string, by trustSigner) (*proof.Trust, error) {
	text, err := ReadFile(name, proof.MaxTrustSize+1)
	if err != nil {
		return nil, fmt.Errorf("trust roots: %w", err)
	}
	if by.key != nil {
		if err := by.demand(name, text); err != nil {
			return nil, fmt.Errorf("trust roots: nothing was checked: %w", err)
		}
	}
	trust, err := proof.ParseTrust(text)
	if err != nil {
		return nil, fmt.Errorf("trust roots: %s is no file with trust roots: %w", name, err)
	}
	return trust, nil
}

func (t trustSigner) demand(name string, text []byte) error {
	if t.signature == "" {
		t.signature = name + ".sig"
	}
	signature, err := ReadFile(t.signature, signednote.MaxNoteSize)
	if err != nil {
		return fmt.Errorf("their signature is missing: %w", err)
	}
	_, err = trustfile.Check(text, signature, t.key)
	return err
}
