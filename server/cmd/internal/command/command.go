// Package command is what the command lines of stele and of stele-lab share.
package command

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/proof/anchorproof"
	"stele/server/instance"
)

// Unique is a name that no other log or chain has.
func Unique() string { return strings.ToLower(notary.NewCode()) }

// WriteNew writes a file that must not be there yet.
func WriteNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// WriteWhole writes a file whole or not at all, over what was there.
func WriteWhole(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there any more once it was renamed
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// LogKeys reads the public keys of logs, as 'stele init --prepare' prints them.
func LogKeys(texts []string) (out []*signednote.Verifier, err error) {
	for _, text := range texts {
		v, err := signednote.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// PrintGenesis shows what a fingerprint stands for.
func PrintGenesis(w io.Writer, e anchorproof.Epoch) {
	fmt.Fprintf(w, "Chain %s, epoch %d\n", e.Chain, e.Number)
	for _, v := range e.Validators {
		fmt.Fprintf(w, "  member %s, power %d of %d\n", v.Name, v.Power, e.Total())
	}
	for _, n := range e.Notaries {
		fmt.Fprintf(w, "  log %s\n", n.Origin)
	}
	fmt.Fprintf(w, "Fingerprint (SM3): %s\n", Grouped(e.Hash().String()))
}

// Grouped breaks hex into groups of eight, to be read out.
func Grouped(hex string) string {
	var out []string
	for group := range slices.Chunk([]byte(hex), 8) {
		out = append(out, string(group))
	}
	return strings.Join(out, " ")
}

// Reachable replaces an address that means "all interfaces" by one that can be dialled.
func Reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// ChildEnvironment is this process's without the settings of a server. The passphrase, where it is
// there instead of in a file, stays.
func ChildEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "STELE_") && !strings.HasPrefix(v, instance.PassphraseEnv+"=")
	})
}
