package proof_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest/vectors"
)

// damageSeed is that of the damage tests below. To look further than they do every time, give
// another one and a number of bundles: STELE_DAMAGE=7,5000 go test ./notary/proof -run Damaged.
func damageSeed(t *testing.T, count int) (*rand.Rand, int) {
	t.Helper()
	seed := uint64(5)
	if v := os.Getenv("STELE_DAMAGE"); v != "" {
		if _, err := fmt.Sscanf(v, "%d,%d", &seed, &count); err != nil {
			t.Fatalf("STELE_DAMAGE: %v", err)
		}
	}
	return rand.New(rand.NewPCG(seed, 6)), count
}

// TestSecondVerifierOnDamagedCertificates compares both verifiers on bundles in which nothing
// but one certificate was damaged, and signed again by its issuer: only the profile of docs/formats.md
// section 7 stands between these and a genuine verdict.
func TestSecondVerifierOnDamagedCertificates(t *testing.T) {
	random, count := damageSeed(t, 150)
	genuine := compareOnBundles(t, count, func(int) (string, []byte) {
		return "trust.json", vectors.DamagedCertificate(random)
	})
	if genuine < count/20 {
		t.Errorf("%d of %d are genuine: the damage is too coarse to show anything", genuine, count)
	}
}

// TestSecondVerifierOnDamagedBundles damages bundles where they are in form: numbers, texts,
// byte strings and the elements of lists.
func TestSecondVerifierOnDamagedBundles(t *testing.T) {
	random, count := damageSeed(t, 150)
	committed := loadVectors(t)
	from := []struct{ trust, bundle string }{{"trust.json", "genuine"}, {"trust.json", "genuine-hand-over"},
		{"trust.json", "revoked"}, {"trust.json", "unverifiable-foreign"},
		{"trust-gateways.json", "attested-both"}, {"trust.json", "genuine-two-chains"}, {"trust.json", "pending"},
		{"trust-no-chain.json", "genuine-hand-over"}}
	compareOnBundles(t, count, func(i int) (string, []byte) {
		f := from[i%len(from)]
		return f.trust, damageParts(random, committed.Files[f.bundle+".json"])
	})
}

// TestSecondVerifierOnDamagedStatus damages nothing but the status: statement, place, anchors and the map's
// proofs.
func TestSecondVerifierOnDamagedStatus(t *testing.T) {
	random, count := damageSeed(t, 150)
	committed := loadVectors(t)
	from := []struct{ trust, bundle string }{{"trust.json", "status-many"}, {"trust.json", "status-revoked"},
		{"trust.json", "status-certificate-later"}, {"trust-status-keys.json", "status-key-changed"},
		{"trust.json", "status-older"}, {"trust-gateways.json", "status-attested-too"},
		{"trust.json", "status-pending"}}
	compareOnBundles(t, count, func(i int) (string, []byte) {
		f := from[i%len(from)]
		text := committed.Files[f.bundle+".json"]
		at := bytes.Index(text, []byte(`,"status":`)) + len(`,"status":`)
		end := len(text) - 1
		if standing := bytes.Index(text, []byte(`,"standing":`)); standing > 0 {
			end = standing
		}
		return f.trust, slices.Concat(text[:at], damageParts(random, text[at:end]), text[end:])
	})
}

// compareOnBundles has both verifiers verify bundles about the vectors' document, and returns
// how many are genuine.
func compareOnBundles(t *testing.T, count int, bundle func(i int) (trust string, data []byte)) (genuine int) {
	t.Helper()
	readSources(t)
	committed := loadVectors(t)
	set := &vectors.Set{Index: vectors.Index{Format: vectors.Format},
		Files: map[string][]byte{"document.pdf": committed.Files["document.pdf"]}}
	digest := sm.Sum(committed.Files["document.pdf"])
	var want []finding
	for i := range count {
		v := vectors.Vector{Name: fmt.Sprint(i), Bundle: fmt.Sprintf("%d.json", i), Document: "document.pdf"}
		v.Trust, set.Files[v.Bundle] = bundle(i)
		set.Files[v.Trust] = committed.Files[v.Trust]
		set.Index.Vectors = append(set.Index.Vectors, v)
		trust, err := proof.ParseTrust(set.Files[v.Trust])
		fatalIfErr(t, err)
		r := proof.Verify(trust, &digest, set.Files[v.Bundle])
		want = append(want, findingOf(v.Name, r))
		if r.Verdict == proof.Genuine {
			genuine++
		}
	}
	dir := filepath.Join(t.TempDir(), "damaged")
	fatalIfErr(t, set.Write(dir))
	got := runSecondVerifier(t, dir)
	compareFindings(t, got, want)
	for i := range got {
		if keep := os.Getenv("STELE_DAMAGE_KEEP"); keep != "" && fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			fatalIfErr(t,
				os.WriteFile(filepath.Join(keep, want[i].Name+".json"), set.Files[want[i].Name+".json"], 0o600))
		}
	}
	return genuine
}

var (
	numberPattern = regexp.MustCompile(`[:\[,](-?[0-9]+)[,}\]]`)
	stringPattern = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	linesPattern  = regexp.MustCompile(`"(?:[^"\\]|\\[^n])*\\n(?:[^"\\]|\\.)*"`)
	objectPattern = regexp.MustCompile(`\{[^{}\[\]]*\}`) // those without lists and objects in them
	digitsPattern = regexp.MustCompile(`[0-9]+`)
)

// damageParts makes one or two changes.
func damageParts(random *rand.Rand, bundle []byte) []byte {
	b := bytes.Clone(bundle)
	for range 1 + random.IntN(2) {
		b = damagePart(random, b)
	}
	return b
}

func damagePart(random *rand.Rand, b []byte) []byte {
	pick := func(p *regexp.Regexp) (from, to int) {
		all := p.FindAllSubmatchIndex(b, -1)
		if len(all) == 0 {
			return 0, 0
		}
		m := all[random.IntN(len(all))]
		return m[len(m)-2], m[len(m)-1]
	}
	replace := func(from, to int, with string) []byte { return slices.Concat(b[:from], []byte(with), b[to:]) }
	switch random.IntN(12) {
	case 0, 1:
		from, to := pick(numberPattern)
		return replace(from, to, damagedNumber(random, string(b[from:to])))
	case 2: // two strings change places
		a1, a2 := pick(stringPattern)
		b1, b2 := pick(stringPattern)
		if a1 > b1 {
			a1, a2, b1, b2 = b1, b2, a1, a2
		}
		if a2 > b1 {
			return b
		}
		return slices.Concat(b[:a1], b[b1:b2], b[a2:b1], b[a1:a2], b[b2:])
	case 3: // an object stands there twice, or not at all
		from, to := pick(objectPattern)
		if random.IntN(2) == 0 {
			return replace(from, to, string(b[from:to])+","+string(b[from:to]))
		}
		return replace(from, to, "")
	case 4, 5, 6: // checkpoints, headers and epochs
		from, to := pick(linesPattern)
		return replace(from, to, damagedString(random, string(b[from:to])))
	default:
		from, to := pick(stringPattern)
		return replace(from, to, damagedString(random, string(b[from:to])))
	}
}

func damagedNumber(random *rand.Rand, old string) string {
	n, err := strconv.Atoi(old)
	if err != nil {
		n = 0
	}
	others := []string{"-1", "0", "-0", "01", "1.0", "1e0", "9007199254740991", "9007199254740992",
		"18446744073709551615", "18446744073709551616", "-9223372036854775809",
		strconv.Itoa(n + 1), strconv.Itoa(n - 1), "null", `"0"`}
	return others[random.IntN(len(others))]
}

// damagedString changes what a string holds: bytes in base64, or lines.
func damagedString(random *rand.Rand, quoted string) string {
	var s string
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return quoted
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(raw) > 3 {
		at := random.IntN(len(raw))
		switch random.IntN(4) {
		case 0:
			raw = raw[:at]
		case 1:
			raw = append(raw, 0)
		case 2:
			raw[at] ^= 1 << random.IntN(8)
		default: // the lengths of DER, and the first bytes of integers
			raw[random.IntN(min(6, len(raw)))] ^= 1 << random.IntN(8)
		}
		return strconv.Quote(base64.StdEncoding.EncodeToString(raw))
	}
	lines := strings.SplitAfter(s, "\n")
	at := random.IntN(len(lines))
	switch random.IntN(7) {
	case 0:
		lines[at] = ""
	case 1:
		lines[at] += lines[at]
	case 2:
		lines[at] += "\n"
	case 3:
		other := random.IntN(len(lines))
		lines[at], lines[other] = lines[other], lines[at]
	case 4:
		lines[at] = digitsPattern.ReplaceAllStringFunc(lines[at], func(n string) string {
			return damagedNumber(random, n)
		})
	case 5:
		characters := []string{" ", "\t", "\r", "\u00a0", "\u3000", "\u2028", "\x7f", "+", "é", "—", "A", "=", "\x00",
			"\ufeff"}
		i := random.IntN(len(lines[at]) + 1)
		lines[at] = strings.ToValidUTF8(lines[at][:i]+characters[random.IntN(len(characters))]+lines[at][i:], "")
	default:
		i := random.IntN(len(lines[at]) + 1)
		lines[at] = strings.ToValidUTF8(lines[at][:i]+lines[at][min(len(lines[at]), i+1):], "")
	}
	return quoteCanonical(strings.Join(lines, ""))
}

// quoteCanonical writes a string as canonical JSON does.
func quoteCanonical(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""`
	}
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}
