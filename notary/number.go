package notary

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// MaxSerial is the largest serial of a certificate number in one region and year.
const MaxSerial = 99_999_999

// ErrNumber reports text that is no certificate number.
var ErrNumber = errors.New("a certificate number must look like RRRRRR-YYYY-NNNNNNNN-C with a valid check character")

// FormatNumber returns the certificate number of a region (six digits, GB/T 2260), year and
// serial: RRRRRR-YYYY-NNNNNNNN-C, C the ISO 7064 MOD 11-2 check character over the 18 digits.
func FormatNumber(region string, year int, serial uint64) (string, error) {
	if !ValidRegion(region) || year < 1000 || year > 9999 || serial > MaxSerial {
		return "", fmt.Errorf("certificate number of region %q, year %d, serial %d: out of range", region, year, serial)
	}
	digits := fmt.Sprintf("%s%04d%08d", region, year, serial)
	return fmt.Sprintf("%s-%s-%s-%c", digits[:6], digits[6:10], digits[10:], checkMod11_2(digits)), nil
}

// ValidNumber reports whether s is a certificate number in its one spelling.
func ValidNumber(s string) bool {
	if len(s) != 22 || s[6] != '-' || s[11] != '-' || s[20] != '-' {
		return false
	}
	digits := s[:6] + s[7:11] + s[12:20]
	return allDigits(digits) && s[7] != '0' && s[21] == checkMod11_2(digits)
}

// checkMod11_2 is the check character of ISO 7064 MOD 11-2; X stands for ten.
func checkMod11_2(digits string) byte {
	p := 0
	for _, c := range []byte(digits) {
		p = (p + int(c-'0')) * 2 % 11
	}
	return "0123456789X"[(12-p)%11]
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// ValidRegion reports whether s has the form of a GB/T 2260 region code: six digits.
func ValidRegion(s string) bool { return len(s) == 6 && allDigits(s) }

const (
	usccAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	usccLength   = 18
)

// ValidUSCC reports whether s is a unified social credit code (GB 32100): 18 characters of
// its alphabet, the last of which checks the others (section 6, weights 3^i mod 31).
func ValidUSCC(s string) bool {
	if len(s) != usccLength {
		return false
	}
	c, ok := usccCheck(s[:usccLength-1])
	return ok && s[usccLength-1] == c
}

func usccCheck(body string) (byte, bool) {
	sum, weight := 0, 1
	for _, c := range []byte(body) {
		v := strings.IndexByte(usccAlphabet, c)
		if v < 0 {
			return 0, false
		}
		sum += v * weight
		weight = weight * 3 % 31
	}
	return usccAlphabet[(31-sum%31)%31], true
}

// CodeLength is the length of the code that stands beside the number on a certificate.
const CodeLength = 8

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewCode returns 8 random characters of Crockford's base32: 40 bits.
func NewCode() string {
	var b [CodeLength]byte
	rand.Read(b[:]) // never fails: the runtime aborts when the system has no randomness
	for i := range b {
		b[i] = crockford[b[i]&31]
	}
	return string(b[:])
}

// NormalizeCode maps what a person may type to what was printed: upper case, O to 0, I and
// L to 1, spaces and hyphens dropped. It reports whether the result has the form of a code.
func NormalizeCode(s string) (string, bool) {
	s = strings.NewReplacer(" ", "", "-", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(s))
	for _, c := range []byte(s) {
		if strings.IndexByte(crockford, c) < 0 {
			return "", false
		}
	}
	return s, len(s) == CodeLength
}

// ValidCode reports whether s is a code as [NewCode] makes it.
func ValidCode(s string) bool {
	c, ok := NormalizeCode(s)
	return ok && c == s
}
