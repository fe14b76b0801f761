package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/cmd/verifier"
	"stele/notary/proof"
	"stele/notary/proof/trustfile"
	"stele/server/instance"
)

// OfflineKey is the passphrase of a key that signs trust files.
type OfflineKey struct {
	PassphraseFile string `name:"passphrase-file" env:"STELE_PASSPHRASE_FILE" help:"File with the passphrase of the key; or set STELE_PASSPHRASE." placeholder:"FILE"`
}

func (k OfflineKey) passphrase() (keystore.Secret, error) {
	pass, err := keystore.Passphrase(k.PassphraseFile, instance.PassphraseEnv)
	if err != nil {
		return pass, usage(fmt.Errorf("passphrase of the key: %w (--passphrase-file FILE)", err))
	}
	return pass, nil
}

type trustKeyCmd struct {
	OfflineKey
	Name          string `required:"" help:"Name of the key, such as province.example.gov.cn/trust: printable ASCII without spaces and plus signs." placeholder:"NAME"`
	Out           string `required:"" help:"File for the key; it must not be there." placeholder:"FILE"`
	NewPassphrase bool   `help:"Make a random passphrase and write it to the passphrase file, which must not exist."`
}

// Help implements kong.HelpProvider.
func (*trustKeyCmd) Help() string {
	return "Make it on a machine without a network and keep it there. The key file is encrypted as those of an " +
		"instance are. The line that is printed is the public half, which is also written beside it, with .pub " +
		"at the " +
		"end of the name: publish it in another way than the trust files."
}

// Run makes a key and prints its public half.
func (c *trustKeyCmd) Run(s *streams) error {
	if !signednote.ValidName(c.Name) {
		return usage(fmt.Errorf("--name %q: 1 to 128 printable ASCII characters without spaces and plus signs "+
			"are expected", c.Name))
	}
	for _, name := range []string{c.Out, c.Out + pubSuffix} { // before a passphrase is made for nothing
		if err := free(name); err != nil {
			return usage(err)
		}
	}
	if c.NewPassphrase {
		if os.Getenv(instance.PassphraseEnv) != "" || c.PassphraseFile == "" {
			return usage(fmt.Errorf("--new-passphrase needs --passphrase-file, and %s unset", instance.PassphraseEnv))
		}
		if _, err := keystore.CreatePassphrase(c.PassphraseFile); err != nil {
			return usage(err)
		}
	}
	pass, err := c.passphrase()
	if err != nil {
		return err
	}
	key, err := sm.GenerateKey()
	if err != nil {
		return err
	}
	if err := keystore.Create(c.Out, key, pass); err != nil {
		return usage(err)
	}
	text := signednote.FormatKey(c.Name, key.Public())
	// A crash here leaves a key without its name: nobody has its public half yet, make another.
	if err := writeFresh(c.Out+pubSuffix, text+"\n"); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, text)
	return err
}

// free fails where a file cannot be made: its name is taken, or its folder is not there.
func free(name string) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already, and is not written over", name)
	}
	_, err := os.Stat(filepath.Dir(name))
	return err
}

type trustSignCmd struct {
	OfflineKey
	File string `arg:"" help:"The trust file."`
	Key  string `required:"" help:"File of the key, as 'stele trust key' made it; the .pub file is beside it." placeholder:"FILE"`
	Out  string `help:"File for the signature, which must not be there; by default the trust file's name with .sig at the end." placeholder:"FILE"`
}

// Run signs.
func (c *trustSignCmd) Run(s *streams) error {
	text, err := verifier.ReadFile(c.File, proof.MaxTrustSize+1)
	if err != nil {
		return usage(err)
	}
	pass, err := c.passphrase()
	if err != nil {
		return err
	}
	signer, err := loadSigner(c.Key, pass)
	if err != nil {
		return usage(err)
	}
	note, err := trustfile.Sign(text, signer, time.Now())
	if err != nil {
		return usage(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.Out == "" {
		c.Out = c.File + ".sig"
	}
	if err := writeFresh(c.Out, string(note)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is written. Whoever has this key text can check it:\n%s\n", c.Out,
		signednote.FormatKey(signer.Name(), signer.Key()))
	return err
}

// pubSuffix is at the end of the name of a key's public half.
const pubSuffix = ".pub"

// loadSigner reads a key and, from beside it, its name.
func loadSigner(file string, pass keystore.Secret) (*signednote.Signer, error) {
	text, err := verifier.ReadFile(file+pubSuffix, signednote.MaxNoteSize)
	if err != nil {
		return nil, fmt.Errorf("the public half of the key is needed as well: %w", err)
	}
	public, err := signednote.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", file, pubSuffix, err)
	}
	key, err := keystore.Load(file, pass)
	if err != nil {
		return nil, err
	}
	if !key.Public().Equal(public.Key()) {
		return nil, fmt.Errorf("%s%s is of another key than %s", file, pubSuffix, file)
	}
	return signednote.NewSigner(public.Name(), key)
}

type trustCheckCmd struct {
	File      string `arg:"" help:"The trust file."`
	Signature string `help:"The signature file; by default the trust file's name with .sig at the end." placeholder:"FILE"`
	Key       string `required:"" help:"Public half of the key, the line that 'stele trust key' printed." placeholder:"NAME+HEX+BASE64"`
}

// Run checks; the exit code is 1 where the signature does not verify.
func (c *trustCheckCmd) Run(s *streams) error {
	key, err := signednote.ParseKey(c.Key)
	if err != nil {
		return usage(fmt.Errorf("--key: the line that 'stele trust key' printed is expected, name+hex+base64"))
	}
	t, err := verifier.ReadFile(c.File, proof.MaxTrustSize+1)
	if err != nil {
		return usage(err)
	}
	if c.Signature == "" {
		c.Signature = c.File + ".sig"
	}
	note, err := verifier.ReadFile(c.Signature, signednote.MaxNoteSize)
	if err != nil {
		return usage(err)
	}
	sig, err := trustfile.Check(t, note, key)
	if err != nil {
		return err
	}
	if _, err := proof.ParseTrust(t); err != nil { // signed, and yet no verifier takes it
		return fmt.Errorf("%s: %w", c.File, err)
	}
	_, err = fmt.Fprintf(s.out, "%s was signed by %s, at %s by its clock.\n", c.File, key.Name(), when(sig.At))
	return err
}
