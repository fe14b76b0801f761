package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/office/people"
	"stele/notary/proof/trustfile"
	"stele/server/instance"
)

type rootCmd struct {
	Next   rootNextCmd   `cmd:"" help:"Make the root that is to follow, if there is none yet, and the succession for both roots to sign."`
	Sign   rootSignCmd   `cmd:"" help:"Sign a succession with the former root's key, on a machine without a network."`
	Switch rootSwitchCmd `cmd:"" help:"Issue certificates with the next root from now on. All servers of the instance must be stopped."`
}

type rootNextCmd struct {
	instance.Config `embed:""`
	Region          []string `help:"Region for whose agencies both roots speak: 2, 4 or 6 digits, as in credit codes. Without it and --code, those of all agencies, by two digits." placeholder:"DIGITS"`
	Code            []string `help:"Credit code of an agency for which both speak." placeholder:"CODE"`
	Out             string   `required:"" help:"New file for the succession." placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*rootNextCmd) Help() string {
	return "Of several roots a trust file must say for which agencies each speaks. Trust files that believed the " +
		"former root without a limit are limited by the succession, so that other cities' agencies stay theirs: name " +
		"the regions of all agencies that you will ever add.\n\n" +
		"With the former root's key on this machine the succession is complete at once. Else sign it where the key " +
		"is, with 'stele root sign'."
}

// Run makes the next root.
func (c *rootNextCmd) Run(ctx context.Context, s *streams) error {
	if err := free(c.Out); err != nil {
		return usage(err)
	}
	return withStores(ctx, c.Config, func(st *instance.Stores) error {
		signed, err := st.NextRoot(ctx, instance.RootScope{Codes: c.Code, Regions: c.Region}, time.Now())
		if err != nil {
			return err
		}
		if err := writeSuccession(c.Out, signed); err != nil {
			return err
		}
		said, err := trustfile.ParseSuccession(signed.Statement)
		if err != nil {
			return err
		}
		next := "Next: stop all servers, stele root switch " + c.Out
		if signed.FormerSignature == nil {
			next = "The former root has not signed it: its key is elsewhere. Next, there: stele root sign " + c.Out
		}
		_, err = fmt.Fprintf(s.out, "%s says: %s.\n%s\n", c.Out, said.Line(), next)
		return err
	})
}

func writeSuccession(file string, signed trustfile.SignedSuccession) error {
	return writeFresh(file, string(trustfile.EncodeSuccessions([]trustfile.SignedSuccession{signed}))+"\n")
}

// readSuccession reads a file with one succession.
func readSuccession(file string) (signed trustfile.SignedSuccession, said trustfile.Succession, err error) {
	text, err := verifier.ReadFile(file, trustfile.MaxSuccessionsSize+1)
	if err != nil {
		return signed, said, usage(err)
	}
	list, err := trustfile.ParseSuccessions(text)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("it has %d successions, and one is expected", len(list))
	}
	if err != nil {
		return signed, said, usage(fmt.Errorf("%s: %w", file, err))
	}
	said, err = trustfile.ParseSuccession(list[0].Statement)
	return list[0], said, err
}

// OfflineRoot is a root with its key, in files.
type OfflineRoot struct {
	OfflineKey
	Root string `required:"" type:"existingfile" help:"The root's certificate: root.crt." placeholder:"FILE"`
	Key  string `required:"" type:"existingfile" help:"The root's key: root.key." placeholder:"FILE"`
}

// open reads them.
func (r OfflineRoot) open() ([]byte, *sm.PrivateKey, error) {
	root, err := readCertificate(r.Root)
	if err != nil {
		return nil, nil, err
	}
	pass, err := r.passphrase()
	if err != nil {
		return nil, nil, err
	}
	key, err := keystore.Load(r.Key, pass)
	return root, key, err
}

// maxPEM bounds a file with one certificate or request in bytes.
const maxPEM = 1 << 16

// readCertificate reads a file with one certificate (PEM).
func readCertificate(file string) ([]byte, error) {
	text, err := verifier.ReadFile(file, maxPEM)
	if err != nil {
		return nil, usage(err)
	}
	certs, err := pki.DecodePEM(text, 1)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", file, err))
	}
	return certs[0], nil
}

type rootSignCmd struct {
	OfflineRoot
	Succession string `arg:"" type:"existingfile" help:"The succession."`
	Out        string `required:"" help:"New file for what is signed." placeholder:"FILE"`
}

// Run signs as the former root.
func (c *rootSignCmd) Run(s *streams) error {
	if err := free(c.Out); err != nil {
		return usage(err)
	}
	signed, said, err := readSuccession(c.Succession)
	if err != nil {
		return err
	}
	root, key, err := c.open()
	if err != nil {
		return err
	}
	if sm.Sum(root) != said.Former {
		return usage(fmt.Errorf("the succession is of the root with the SM3 %s, and %s has %s", said.Former, c.Root,
			sm.Sum(root)))
	}
	if cert, err := pki.VerifyRoot(root); err != nil || !cert.PublicKey().Equal(key.Public()) {
		return usage(errors.Join(errors.New("the key is not that of the root"), err))
	}
	if signed.FormerSignature, err = key.Sign(signed.Statement); err != nil {
		return err
	}
	if err := writeSuccession(c.Out, signed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Signed: %s.\nBring %s back: stele root switch %s\n", said.Line(), c.Out, c.Out)
	return err
}

// actRootSwitch is the switch in the audit trail; it is noted before it is done.
const actRootSwitch people.Action = "root_switch"

type rootSwitchCmd struct {
	instance.Config `embed:""`
	Succession      string `arg:"" type:"existingfile" help:"The succession, signed by both roots."`
}

// Run switches to the next root.
func (c *rootSwitchCmd) Run(ctx context.Context, s *streams) error {
	signed, said, err := readSuccession(c.Succession)
	if err != nil {
		return err
	}
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		detail := fmt.Sprintf("former=%s; root=%s", said.Former, sm.Sum(said.Root))
		// A crash after this leaves a line about what was not done: it says "was about to".
		if err := noteCommand(ctx, p, actRootSwitch, "", "", detail); err != nil {
			return err
		}
		if said, err = st.SwitchRoot(ctx, signed, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "Done: %s.\nPublish %s. Before the servers start, give each the same key "+
			"folder, %s and %s. Then 'stele agency renew' gives an agency a certificate under the new root, and "+
			"'stele authority add' a region's authority; those under the former one stay valid. Back up the key "+
			"folder, and take both root keys offline.\n", said.Line(),
			st.Config.TrustPath(), st.Config.TrustPath(), st.Config.SuccessionsPath())
		return err
	})
}
