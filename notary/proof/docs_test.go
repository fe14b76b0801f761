package proof_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

const formats = "../../docs/formats.md"

func readFormats(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(formats)
	fatalIfErr(t, err)
	return string(text)
}

// TestWorkedExample computes the values of docs/formats.md section 10.
func TestWorkedExample(t *testing.T) {
	set := loadVectors(t)
	trust, err := proof.ParseTrust(set.Files["trust.json"])
	fatalIfErr(t, err)
	b, err := proof.ParseBundle(set.Files["genuine.json"])
	fatalIfErr(t, err)
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-28s %s\n", name, fmt.Sprintf(format, args...))
	}

	signer, err := pki.Parse(b.Certificates[0])
	fatalIfErr(t, err)
	z, err := sm2.CalculateZA(signer.PublicKey().ECDSA(), []byte(sm.UserID))
	fatalIfErr(t, err)
	line("statement", "%s", b.Statement)
	line("its length", "%d", len(b.Statement))
	line("agency's key", "%x", signer.PublicKey().Bytes())
	line("Z", "%x", z)
	line("e = SM3(Z ‖ statement)", "%s", sm.Sum(z, b.Statement))
	line("signature, DER", "%x", b.Signature)
	f := b.Fields[0]
	line("attribute", "%s = %s", f.Name, f.Value)
	line("its salt", "%x", f.Salt)
	line("its commitment", "%s", statement.Commitment(f.Salt, f.Name, f.Value))

	line("SM3 of the certificate", "%s", sm.Sum(b.Certificates[0]))
	entry := statement.Entry{Statement: b.Statement, Signature: b.Signature,
		Certificate: sm.Sum(b.Certificates[0])}.Encode()
	line("entry, length", "%d", len(entry))
	line("entry, begins", "%x", entry[:8])
	line("leaf", "%s", b.LeafHash())
	c, err := checkpoint.ParseUnsafe(b.Log.Checkpoint)
	fatalIfErr(t, err)
	line("index, size", "%d, %d", b.Log.Index, c.Size)
	for i, h := range b.Log.Path {
		line(fmt.Sprintf("path %d", i), "%s", h)
	}
	line("root", "%s", c.Root)
	line("checkpoint's text", "%q", c.Text())
	key := trust.Logs[0].Key
	line("log's key id", "%08x", signednote.KeyID(key.Name(), key.Key()))
	line("log's key text", "%s", signednote.FormatKey(key.Name(), key.Key()))

	ev, err := anchorproof.ParseEvidence(b.Anchors[0])
	fatalIfErr(t, err)
	line("SM3 of epoch 0's text", "%s", trust.Chains[0].Genesis.Hash())
	line("header's text", "%q", ev.Header.Text())
	line("leaf of the checkpoint", "%s", merkle.LeafHash([]byte(c.Text())))
	line("position, count", "%d, %d", ev.Position, ev.Header.Count)
	for i, h := range ev.Path {
		line(fmt.Sprintf("anchor path %d", i), "%s", h)
	}
	line("anchors root", "%s", ev.Header.Anchors)
	line("cosignature of validator 0", "%s", base64.StdEncoding.EncodeToString(ev.Cosignatures[0].Signature))

	attested, err := proof.ParseBundle(set.Files["attested-fabric-alone.json"])
	fatalIfErr(t, err)
	e, err := bsnproof.Parse(proof.KindBSNFabric, attested.Anchors[0])
	fatalIfErr(t, err)
	pinned, err := proof.ParseTrust(set.Files["trust-gateways.json"])
	fatalIfErr(t, err)
	ledger := e.(bsnproof.Fabric).Ledger
	under := gateway.AnswerText(gateway.AnswerHeader{Msg: ledger.Msg}, ledger.Body)
	line("gateway's key", "%s", base64.StdEncoding.EncodeToString(pinned.Gateways[0].Key.DER()))
	line("string under a mac", "%s", under)
	line("M = SM3 of it", "%s", sm.Sum([]byte(under)))
	line("mac", "%s", base64.StdEncoding.EncodeToString(ledger.Mac))

	if want := "```text\n" + out.String() + "```\n"; !strings.Contains(readFormats(t), want) {
		t.Errorf("%s should contain\n%s", formats, want)
	}
}

// TestWorkedExampleOfStatus computes the values of docs/formats.md section 18.
func TestWorkedExampleOfStatus(t *testing.T) {
	b, err := proof.ParseBundle(loadVectors(t).Files["status-revoked.json"])
	fatalIfErr(t, err)
	s, err := statement.Parse(b.Statement)
	fatalIfErr(t, err)
	said, err := status.Parse(b.Status.Statement)
	fatalIfErr(t, err)
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-28s %s\n", name, fmt.Sprintf(format, args...))
	}
	entry := status.Entry(b.Status.Statement, b.Status.Signature, b.Status.Key)
	key := status.RecordKey(s.Number, s.Agency.Code)
	line("status statement", "%s", b.Status.Statement)
	line("its signature, DER", "%x", b.Status.Signature)
	line("SM3 of the log's key text", "%s", entry.Certificate)
	line("leaf of the status", "%s", b.Status.LeafHash())
	line("record's key", "%s", key)
	line("its bits, the first eight", "%08b", key[0])
	line("record's value", "SM3(%s) = %s", b.Status.Record.Value, sm.Sum([]byte(b.Status.Record.Value)))
	line("record's proof", "%x", b.Status.Record.Proof.Encode())
	line("certificate's key", "%s", status.CertificateKey(sm.Sum(b.Certificates[0])))
	line("certificate's proof", "%x", b.Status.Certificate.Proof.Encode())
	line("root of the map", "%s", said.Map)
	if want := "```text\n" + out.String() + "```\n"; !strings.Contains(readFormats(t), want) {
		t.Errorf("%s should contain\n%s", formats, want)
	}
}

// TestFormatsListEveryReason: the table of section 9 names all outcomes, see outcomes.
func TestFormatsListEveryReason(t *testing.T) {
	text := readFormats(t)
	for _, o := range outcomes {
		f := strings.Fields(o)
		if f[0] == "standing" && f[1] == "not_checked" {
			continue // "the reason of the step that was not"
		}
		_, row, _ := strings.Cut(text, "\n| `"+f[0]+"`")
		row, _, _ = strings.Cut(row, "\n")
		if !strings.Contains(row, "`"+f[2]+"`") {
			t.Errorf("the table does not say that %s", o)
		}
	}
}

// TestCommandsOfTheFormats runs the commands of section 11 as they stand there.
func TestCommandsOfTheFormats(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("this test needs the openssl command, version 3.0 or later: install the package openssl")
	}
	_, rest, _ := strings.Cut(readFormats(t), "\n```sh\n")
	script, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("there is no block of commands")
	}
	set, dir := loadVectors(t), t.TempDir()
	for name, vector := range map[string]string{"bundle.json": "genuine.json", "document.pdf": "document.pdf",
		"trust.json": "trust.json"} {
		t.Run(name, func(t *testing.T) {
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), set.Files[vector], 0o600))
		})
	}
	run := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	digest := sm.Sum(set.Files["document.pdf"]).String()
	ok4 := "Signature Verified Successfully\n"
	if out, err := run(); err != nil || out != digest+"\n"+digest+"\n"+ok4+"signer.pem: OK\n"+ok4+ok4 {
		t.Errorf("%v\n%s", err, out)
	}
	// The commands must not say so of a bundle that does not hold.
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, "bundle.json"), set.Files["signature-other-key.json"], 0o600))
	if out, err := run(); err == nil || strings.Contains(out, ok4) {
		t.Errorf("a bad signature: %v\n%s", err, out)
	}
}
