package notary

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCheckCharacters(t *testing.T) {
	if c := checkMod11_2("0794"); c != '0' { // the example of ISO 7064
		t.Errorf("MOD 11-2 of 0794 is %c", c)
	}
	if c := checkMod11_2("11010519491231002"); c != 'X' { // the example of GB 11643
		t.Errorf("MOD 11-2 of the GB 11643 example is %c", c)
	}
	for code, want := range map[string]bool{
		"91350100M000100Y43": true, // the example of GB 32100
		"91350100M000100Y44": false, "91350100M000100Y4": false, "91350100m000100y43": false, "": false,
		"91350100I000100Y43": false,
	} {
		t.Run(code, func(t *testing.T) {
			if ValidUSCC(code) != want {
				t.Errorf("ValidUSCC(%q) = %v", code, !want)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, err := FormatNumber("420100", rapid.IntRange(2000, 2100).Draw(t, "year"),
			rapid.Uint64Range(0, MaxSerial).Draw(t, "serial"))
		if err != nil || !ValidNumber(n) {
			t.Fatal(n, err)
		}
		i := rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19}).Draw(t, "i")
		b := []byte(n)
		b[i] = '0' + (b[i]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
		if ValidNumber(string(b)) {
			t.Fatalf("%s with one digit changed to %s is still valid", n, b)
		}
	})
	if _, err := FormatNumber("420100", 2026, MaxSerial+1); err == nil {
		t.Error("serial out of range accepted")
	}
}

func TestCodes(t *testing.T) {
	c := NewCode()
	if n, ok := NormalizeCode(c); !ok || n != c {
		t.Fatal(c, n)
	}
	if n, ok := NormalizeCode("o1l i-abcd"); !ok || n != "0111ABCD" {
		t.Fatal(n, ok)
	}
	for _, bad := range []string{"", "ABCDEFG", "ABCDEFGU", "ABCDEFGHJ", "碑碑碑"} {
		if _, ok := NormalizeCode(bad); ok {
			t.Errorf("accepted %q", bad)
		}
	}
}
