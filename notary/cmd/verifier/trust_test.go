package verifier

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof/trustfile"
)

// TestTrustKey: trust roots that are not signed by the key that was named are not believed, here
// and in the second verifier. Nothing is checked then, and no verdict is printed.
func TestTrustKey(t *testing.T) {
	newSigner := func() (*signednote.Signer, string) {
		key, err := sm.GenerateKey()
		fatalIfErr(t, err)
		s, err := signednote.NewSigner("province.example/trust", key)
		fatalIfErr(t, err)
		return s, signednote.FormatKey(s.Name(), s.Key())
	}
	signer, key := newSigner()
	_, other := newSigner()
	trust := vector(t, "trust.json")
	note, err := trustfile.Sign(trust, signer, time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC))
	fatalIfErr(t, err)
	signed, _, _ := strings.Cut(string(note), "\n\n")
	text, err := signednote.Sign(strings.Replace(signed, "11-29", "11-31", 1)+"\n", signer)
	fatalIfErr(t, err)
	for name, c := range map[string]struct {
		key              string
		trust, signature []byte
		says             string // "" where it is genuine
	}{
		"signed":                {key, trust, note, ""},
		"without its line feed": {key, bytes.TrimSuffix(trust, []byte("\n")), note, ""},
		"by another key":        {other, trust, note, "not by the key " + other},
		"another file":          {key, vector(t, "trust-v2.json"), note, "signed another file"},
		"saved anew":            {key, append(bytes.Clone(trust), "\r\n"...), note, "signed another file"},
		"a damaged signature":   {key, trust, note[1:], "not by the key"},
		"a day that never was":  {key, trust, text, "malformed"},
		"an empty signature":    {key, trust, nil, "not by the key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			roots := filepath.Join(dir, "roots.json")
			fatalIfErr(t, os.WriteFile(roots, c.trust, 0o600))
			fatalIfErr(t, os.WriteFile(roots+".sig", c.signature, 0o600))
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, "elsewhere"), c.signature, 0o600))
			args := []string{"--quiet", "--trust", roots, "--trust-key", c.key}
			code, says := exitUsage, c.says
			if says == "" {
				code = 0
			}
			for _, more := range [][]string{nil, {"--trust-signature", filepath.Join(dir, "elsewhere")}} {
				r := verify(t, nil, append(append(args[:len(args):len(args)], more...), "genuine.json",
					"document.pdf")...)
				silent := r.stdout == "" && strings.Contains(r.stderr, "nothing was checked")
				if r.code != code || !strings.Contains(r.stderr, says) || code != 0 && !silent {
					t.Errorf("%d %s%s", r.code, r.stdout, r.stderr)
				}
			}
			cmd := exec.CommandContext(t.Context(), "python3", "-B", secondVerifier, "--trust", roots, "--trust-key",
				c.key,
				filepath.Join(vectorsDir, "genuine.json"), filepath.Join(vectorsDir, "document.pdf"))
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != code {
				t.Errorf("the second verifier: %s", out)
			}
		})
	}
	name := filepath.Join(t.TempDir(), "trust.json")
	fatalIfErr(t, os.WriteFile(name, trust, 0o600))
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"no signature file":   {[]string{"--trust-key", key}, "their signature is missing"},
		"a key of no form":    {[]string{"--trust-key", "province.example"}, "name+hex+base64"},
		"an empty key":        {[]string{"--trust-key", ""}, "name+hex+base64"},
		"a signature, no key": {[]string{"--trust-signature", name}, "--trust-signature needs --trust-key"},
	} {
		t.Run(what, func(t *testing.T) {
			r := verify(t, nil, append(append([]string{"--trust", name}, c.args...), "genuine.json", "document.pdf")...)
			if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) {
				t.Errorf("%s: %d %s%s", what, r.code, r.stdout, r.stderr)
			}
		})
	}
}
