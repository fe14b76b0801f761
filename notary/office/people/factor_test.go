package people

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The secret of RFC 6238, appendix B, "12345678901234567890"; six digits are the last of eight.
const rfcSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

func TestCodesOfTheStandard(t *testing.T) {
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471",
		1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		t.Run(code, func(t *testing.T) {
			if step, ok := stepOf(rfcSecret, code, 0, time.Unix(at, 0)); !ok || step != at/30 {
				t.Errorf("%d: step %d, %t", at, step, ok)
			}
		})
	}
}

func TestCodesWorkOnce(t *testing.T) {
	now := time.Unix(1111111109, 0)
	u := &User{ID: "u", FactorStep: 0}
	if !useCode(u, rfcSecret, " 081 804 ", now) {
		t.Fatal("a code as people type it is refused")
	}
	if useCode(u, rfcSecret, "081804", now) || useCode(u, rfcSecret, "081804", now.Add(20*time.Second)) {
		t.Error("a code works twice")
	}
	if !useCode(u, rfcSecret, "０５０４７１", now.Add(2*time.Second)) {
		t.Error("full-width digits of the next code are refused")
	}
	for _, text := range []string{"", "0", "08180", "0818040", "abcdef", strings.Repeat("0", 1000)} {
		t.Run(fmt.Sprintf("%.10q", text), func(t *testing.T) {
			if useCode(&User{}, rfcSecret, text, now) {
				t.Errorf("%q is a code", text)
			}
		})
	}
	if useCode(&User{}, rfcSecret, "081804", now.Add(2*time.Minute)) {
		t.Error("an old code works")
	}
	codes, digests := newRecovery("u")
	u.Recovery = digests
	if len(codes) != recoveryCodes || !useCode(u, rfcSecret, strings.ToLower(codes[2]), now) ||
		len(u.Recovery) != recoveryCodes-1 {
		t.Fatal("a recovery code is refused")
	}
	if useCode(u, rfcSecret, codes[2], now) {
		t.Error("a recovery code works twice")
	}
	if useCode(&User{ID: "other", Recovery: digests}, rfcSecret, codes[3], now) {
		t.Error("a recovery code works for somebody else")
	}
}

func FuzzUseCode(f *testing.F) {
	f.Add("081804")
	f.Add("ABCD-EFGH-0123-4567")
	f.Fuzz(func(t *testing.T, typed string) {
		u := &User{ID: "u", FactorStep: 1 << 40} // every code was used
		if useCode(u, rfcSecret, typed, time.Unix(1111111109, 0)) {
			t.Errorf("%q is taken", typed)
		}
	})
}
