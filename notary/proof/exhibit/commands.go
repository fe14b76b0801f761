package exhibit

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"stele/crypto/sm"
)

// script is a block of shell commands that stands by itself: it writes the files that it
// needs into a folder of its own and checks one thing with OpenSSL 3. It is handed to sh as a
// here-document, so that every interactive shell takes it whole, and it stops at the first
// check that fails.
//
// Whatever a bundle says gets in as base64 between quoted marks, or as hexadecimal digits of
// our own making; file names are ours. No line of base64 can be the mark at its end: its
// length is a multiple of four.
type script struct{ b strings.Builder }

const (
	endOfScript = "STELE"
	endOfFile   = "END"
)

// helpers are the functions that scripts use; those that a script does not call are left out.
var helpers = []struct{ name, body string }{
	{"check", `check() { if [ "$2" = "$3" ]; then echo "$1: OK"; else echo "$1: DIFFERS"; exit 1; fi; }`},
	{"sm3", `sm3() { openssl dgst -sm3 -r "$1" | cut -c1-64; }`},
	{"hex", `hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }`},
	{"verify", `verify() { openssl pkeyutl -verify "$@" -rawin -digest sm3 -pkeyopt distid:` + sm.UserID + `; }`},
	{"raw", `raw() { printf '%s\n' "$1" | openssl base64 -d; }`},
	{"climb", `climb() { # climb LEAF < siblings, lowest first; leaves the root in $node
  node=$1
  while read -r side other; do
    case $side in left) set -- "$other" "$node" ;; right) set -- "$node" "$other" ;; esac
    node=$({ printf '\001'; raw "$1"; raw "$2"; } | openssl dgst -sm3 -binary | openssl base64)
  done
}`},
	{"votes", `votes() { # votes EPOCH TEXT SIGNATURE...: each one holds, and together they are enough
  epoch=$1 text=$2 signed=0; shift 2
  for signature in "$@"; do
    n=${signature##*-}; n=${n%.der}
    line=$(grep '^validator ' "$epoch.txt" | sed -n "$((n + 1))p")
    openssl pkey -pubin -in "$epoch-validator-$n.pem" -outform DER | tail -c 65 > key.bin
    check "key of validator $n" "$(hex key.bin)" "${line##* }"
    verify -pubin -inkey "$epoch-validator-$n.pem" -in "$text" -sigfile "$signature"
    signed=$((signed + $(echo "$line" | cut -d' ' -f3)))
  done
  total=$(awk '/^validator /{ t += $3 } END { print t }' "$epoch.txt")
  check "votes: $signed of $total" $((3 * signed > 2 * total)) 1
}`},
}

// needs are the helpers that a helper calls itself.
var needs = map[string][]string{"climb": {"raw"}, "votes": {"check", "hex", "verify"}}

// newScript begins a script that uses these helpers. before runs where the commands were
// pasted, where the person's own file is.
func newScript(before string, uses ...string) *script {
	s := &script{}
	s.line("sh -e <<'%s'", endOfScript)
	for _, h := range helpers {
		if slices.ContainsFunc(uses, func(u string) bool { return u == h.name || slices.Contains(needs[u], h.name) }) {
			s.line("%s", h.body)
		}
	}
	if before != "" {
		s.line("%s", before)
	}
	s.line("mkdir -p stele-proof; cd stele-proof")
	return s
}

func (s *script) line(format string, args ...any) {
	fmt.Fprintf(&s.b, format, args...)
	s.b.WriteByte('\n')
}

// file writes a file from base64.
func (s *script) file(name string, data []byte) {
	s.line("openssl base64 -d -out %s <<'%s'", name, endOfFile)
	for b := base64.StdEncoding.EncodeToString(data); b != ""; {
		n := min(len(b), 64)
		s.line("%s", b[:n])
		b = b[n:]
	}
	s.line("%s", endOfFile)
}

// files writes some of a section's files under their own names, those of folders with a
// hyphen in place of each slash.
func (s *script) files(sec *Section, names ...string) {
	for _, name := range names {
		i := slices.IndexFunc(sec.Files, func(f File) bool { return f.Name == name })
		flat := strings.ReplaceAll(name, "/", "-")
		if strings.HasSuffix(name, ".pem") { // is text already, of the same alphabet
			s.line("cat > %s <<'%s'", flat, endOfFile)
			s.b.Write(sec.Files[i].Data)
			s.line("%s", endOfFile)
			continue
		}
		s.file(flat, sec.Files[i].Data)
	}
}

// climb leads from a leaf over its siblings.
func (s *script) climb(leaf string, path []Sibling) {
	s.line("climb %s <<'%s'", leaf, endOfFile)
	for _, p := range path {
		s.line("%s %s", p.Side(), base64.StdEncoding.EncodeToString(p.Hash[:]))
	}
	s.line("%s", endOfFile)
}

func (s *script) String() string { return s.b.String() + endOfScript + "\n" }

// documentCommands compare the person's file with the statement.
func documentCommands(sec *Section) string {
	s := newScript("DOCUMENT=document.bin # the name of your file\n"+
		`sum=$(openssl dgst -sm3 -r "$DOCUMENT" | cut -c1-64)`, "check", "sm3")
	s.files(sec, "statement.json")
	s.line(`check document "$sum" "$(grep -o '"sm3":"[^"]*"' statement.json | head -n 1 | cut -d'"' -f4)"`)
	s.line(`check statement "$(sm3 statement.json)" %s`, sm.Sum(sec.Evidence.Statement))
	return s.String()
}

func signatureCommands(sec *Section) string {
	s := newScript("", "check", "verify")
	s.files(sec, "statement.json", "signature.der", "signer.pem")
	s.line(`check certificate "$(openssl x509 -in signer.pem -outform DER | openssl dgst -sm3 -r | cut -c1-64)" %s`,
		sm.Sum(sec.Evidence.Certificates[0]))
	s.line("verify -certin -inkey signer.pem -in statement.json -sigfile signature.der")
	return s.String()
}

// fieldCommands open the commitments of the attributes shown: salt, name, a zero byte, value.
func fieldCommands(sec *Section, count int, preimage func(i int) []byte) string {
	s := newScript("", "sm3")
	s.files(sec, "statement.json")
	s.line("rm -f field-*.bin")
	for i := range count {
		s.file(fmt.Sprintf("field-%d.bin", i+1), preimage(i))
	}
	// Names of attributes are letters, digits, hyphens and underscores.
	s.line(`for field in field-*.bin; do
  name=$(tail -c +17 "$field" | tr '\000' '\n' | head -n 1)
  if grep -qF "\"$name\":\"$(sm3 "$field")\"" statement.json; then echo "$name: OK"; else echo "$field: DIFFERS"; exit 1; fi
done`)
	return s.String()
}

func certificateCommands(sec *Section) string {
	s := newScript("", "check")
	names := []string{"statement.json", "signer.pem"}
	for _, l := range sec.Links {
		names = append(names, l.Issuer)
	}
	s.files(sec, names...)
	for _, l := range sec.Links {
		s.line("openssl verify -vfyopt distid:%s -partial_chain -attime %d -CAfile %s %s", sm.UserID, sec.At, l.Issuer,
			l.Subject)
		if sec.Vouched != 0 { // the signature is not older for all anybody else knows
			s.line("openssl verify -vfyopt distid:%s -partial_chain -attime %d -CAfile %s %s", sm.UserID, sec.Vouched,
				l.Issuer, l.Subject)
		}
	}
	ders := sec.Evidence.Certificates
	s.line(`check 'trusted root' "$(openssl x509 -in %s -outform DER | openssl dgst -sm3 -r | cut -c1-64)" %s`,
		names[len(names)-1], sm.Sum(ders[len(ders)-1]))
	// The holder by its credit code, which cannot hold anything that a terminal acts on.
	s.line(`holder=$(openssl x509 -in signer.pem -noout -subject -nameopt RFC2253 | grep -o 'serialNumber=[0-9A-Z]*' ` +
		`| cut -d= -f2)`)
	s.line(`check agency "$holder" "$(grep -o '"agency":{"code":"[^"]*"' statement.json | head -n 1 | cut -d'"' -f6)"`)
	s.line(`check statement "$(openssl dgst -sm3 -r statement.json | cut -c1-64)" %s`, sm.Sum(sec.Evidence.Statement))
	return s.String()
}

// length is two bytes in the notation of printf.
func length(n int) string { return fmt.Sprintf(`\%03o\%03o`, n>>8, n&255) }

func entryCommands(sec *Section) string {
	s := newScript("", "check", "sm3")
	s.files(sec, "statement.json", "signature.der", "signer.pem")
	s.line("{ printf '%s'; cat statement.json; printf '%s'; cat signature.der", length(sec.StatementLen),
		length(sec.SigLen))
	s.line("  openssl x509 -in signer.pem -outform DER | openssl dgst -sm3 -binary; } > entry.bin")
	s.line("{ printf '\\000'; cat entry.bin; } > leaf.bin")
	s.line(`check leaf "$(sm3 leaf.bin)" %s`, sec.Leaf)
	return s.String()
}

func inclusionCommands(sec *Section) string {
	s := newScript("", "check", "climb")
	s.files(sec, "checkpoint.txt")
	s.climb(base64.StdEncoding.EncodeToString(sec.Leaf[:]), sec.Path)
	s.line(`check root "$node" "$(sed -n 3p checkpoint.txt)"`)
	s.line(`check size "$(sed -n 2p checkpoint.txt)" %d`, sec.Size)
	s.line(`check checkpoint "$(openssl dgst -sm3 -r checkpoint.txt | cut -c1-64)" %s`,
		sm.Sum([]byte(sec.Checkpoint.Text())))
	return s.String()
}

func checkpointCommands(sec *Section) string {
	s := newScript("", "verify")
	s.files(sec, "checkpoint.txt", "checkpoint.der", "log.pem")
	s.line("verify -pubin -inkey log.pem -in checkpoint.txt -sigfile checkpoint.der")
	return s.String()
}

func headerCommands(sec *Section, a *Anchor) string {
	s := newScript("", "check", "sm3", "climb")
	s.files(sec, "checkpoint.txt", a.Name+"header.txt")
	header := flat(a.Name) + "header.txt"
	s.line("{ printf '\\000'; cat checkpoint.txt; } | openssl dgst -sm3 -binary > leaf.bin")
	s.climb(`"$(openssl base64 -in leaf.bin)"`, a.Path)
	s.line(`raw "$node" > root.bin`)
	s.line(`check 'anchors root' "$(od -An -v -tx1 root.bin | tr -d ' \n')" "$(grep '^anchors ' %s | cut -d' ' -f3)"`,
		header)
	s.line(`check header "$(sm3 %s)" %s`, header, sm.Sum([]byte(a.Evidence.Header.Text())))
	return s.String()
}

// gatewayCommands check the mac of each answer of a gateway.
func gatewayCommands(sec *Section, a *Attested) string {
	s := newScript("", "verify")
	s.files(sec, a.Name+"key.pem")
	key := flat(a.Name) + "key.pem"
	for _, answer := range a.Answers {
		s.files(sec, a.Name+answer.Name+".txt", a.Name+answer.Name+".der")
		name := flat(a.Name) + answer.Name
		if !a.SM2 {
			s.line("openssl dgst -sha256 -verify %s -signature %s.der %s.txt", key, name, name)
			continue
		}
		s.line("openssl dgst -sm3 -binary %s.txt > digest.bin", name)
		s.line("verify -pubin -inkey %s -in digest.bin -sigfile %s.der", key, name)
	}
	return s.String()
}

func flat(folder string) string { return strings.ReplaceAll(folder, "/", "-") }

// voters are the files that the helper votes needs for signatures of an epoch's validators
// over a text, and the words after the text.
func voters(a *Anchor, e *Epoch, prefix string, validators []int) (names []string, words string) {
	epoch := fmt.Sprintf("%sepoch-%d/", a.Name, e.Number)
	names = append(names, epoch+"epoch.txt")
	for _, n := range validators {
		signature := fmt.Sprintf("%s%d.der", prefix, n)
		names = append(names, fmt.Sprintf("%svalidator-%d.pem", epoch, n), signature)
		words += " " + flat(signature)
	}
	return names, words
}

// epochName is what the helper votes takes for an epoch's files.
func epochName(a *Anchor, number uint64) string {
	return fmt.Sprintf("%sepoch-%d", flat(a.Name), number)
}

// epochFiles writes files and gives those of an epoch the names that votes expects.
func (s *script) epochFiles(sec *Section, a *Anchor, e *Epoch, names []string) {
	s.files(sec, names...)
	s.line("mv %s-epoch.txt %s.txt", epochName(a, e.Number), epochName(a, e.Number))
}

func cosignatureCommands(sec *Section, a *Anchor) string {
	s := newScript("", "check", "sm3", "votes")
	last := &a.Epochs[len(a.Epochs)-1]
	var who []int
	for _, c := range a.Evidence.Cosignatures {
		who = append(who, c.Validator)
	}
	names, words := voters(a, last, a.Name+"cosignature-", who)
	s.epochFiles(sec, a, last, append(names, a.Name+"header.txt"))
	epoch := epochName(a, last.Number)
	s.line(`check 'epoch %d' "$(sm3 %s.txt)" %s`, last.Number, epoch, last.Hash())
	s.line("votes %s %sheader.txt%s", epoch, flat(a.Name), words)
	return s.String()
}

// epochCommands follow the hand-overs from the epoch that is trusted.
func epochCommands(sec *Section, a *Anchor) string {
	s := newScript("", "check", "sm3", "votes")
	for i := range a.Epochs {
		e := &a.Epochs[i]
		name := epochName(a, e.Number)
		if i == 0 {
			s.epochFiles(sec, a, e, []string{fmt.Sprintf("%sepoch-%d/epoch.txt", a.Name, e.Number)})
			s.line(`check 'trusted epoch %d' "$(sm3 %s.txt)" %s`, e.Number, name, e.Hash())
			continue
		}
		before := &a.Epochs[i-1]
		var who []int
		for _, c := range e.Signatures {
			who = append(who, c.Validator)
		}
		signatures := fmt.Sprintf("%sepoch-%d/signature-", a.Name, e.Number)
		names, words := voters(a, before, signatures, who)
		names[0] = fmt.Sprintf("%sepoch-%d/epoch.txt", a.Name, e.Number) // the one before is there
		s.epochFiles(sec, a, e, names)
		s.line(`check 'epoch %d follows' "$(grep '^previous ' %s.txt)" "previous $(sm3 %s.txt)"`, e.Number, name,
			epochName(a, before.Number))
		s.line("votes %s %s.txt%s", epochName(a, before.Number), name, words)
	}
	return s.String()
}

// laterCommands show that the later statement speaks of this record. Numbers of certificates
// are digits, hyphens and X.
func laterCommands(sec *Section, number string) string {
	s := newScript("", "check")
	s.files(sec, "statement.json")
	s.line(`if grep -qE '"action":"revoke","number":"%s"|"supersedes":"%s"' statement.json; then echo 'speaks of `+
		`this record: OK'; else echo DIFFERS; exit 1; fi`, number, number)
	s.line(`check statement "$(openssl dgst -sm3 -r statement.json | cut -c1-64)" %s`, sm.Sum(sec.Evidence.Statement))
	return s.String()
}
