package canonical

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

const whole = `{"format":"stele/bundle/v1","n":[12,0,-3],"s":"碑 \" \\ \n <&> 𠮷 \u0001","t":true,"f":false,"e":{}}`

func inUTF16(order binary.ByteOrder, mark bool, s string) []byte {
	if mark {
		s = "\ufeff" + s
	}
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, 0, 0)
		order.PutUint16(out[len(out)-2:], u)
	}
	return out
}

// What programs do to a text file without changing what it says.
func TestRestore(t *testing.T) {
	var indented, escaped bytes.Buffer
	if err := json.Indent(&indented, []byte(whole), "", "  "); err != nil {
		t.Fatal(err)
	}
	for _, r := range whole {
		if r < 0x80 {
			escaped.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			escaped.WriteString(fmt.Sprintf(`\u%04X`, u))
		}
	}
	for name, in := range map[string][]byte{
		"as it is":            []byte(whole),
		"byte order mark":     []byte("\ufeff" + whole),
		"a line feed after":   []byte(whole + "\n"),
		"CRLF after":          []byte(whole + "\r\n"),
		"indented":            indented.Bytes(),
		"indented with CRLF":  bytes.ReplaceAll(indented.Bytes(), []byte("\n"), []byte("\r\n")),
		"escaped":             escaped.Bytes(),
		"a slash is escaped":  []byte(strings.ReplaceAll(whole, "/", `\/`)),
		"UTF-16, big":         inUTF16(binary.BigEndian, true, whole),
		"UTF-16, little":      inUTF16(binary.LittleEndian, true, whole),
		"UTF-16, no mark":     inUTF16(binary.LittleEndian, false, whole),
		"UTF-16 big, no mark": inUTF16(binary.BigEndian, false, whole),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Restore(in, 4096)
			if err != nil || string(got) != whole {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":              "",
		"no JSON":              "%PDF-1.7",
		"cut off":              whole[:len(whole)-1],
		"two values":           whole + whole,
		"a fraction":           `{"n":1.0}`,
		"an exponent":          `{"n":1e3}`,
		"half of a pair":       `{"s":"\ud842"}`,
		"a low half":           `{"s":"\udfb7"}`,
		"a pair of high ones":  `{"s":"\ud842\ud842"}`,
		"no UTF-8":             "{\"s\":\"\xff\"}",
		"half a UTF-16 unit":   "\xff\xfe{\x00}",
		"a lone UTF-16 unit":   "\xff\xfe\"\x00\x42\xd8\"\x00",
		"the mark in the text": "{\ufeff}",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Restore([]byte(in), 4096); !errors.Is(err, ErrSavedAnew) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if _, err := Restore([]byte(whole), 10); err == nil {
		t.Error("longer than allowed")
	}
}

// FuzzRestore: what comes out says what went in, and is restored to itself.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(whole))
	f.Add(inUTF16(binary.LittleEndian, true, whole))
	f.Add([]byte(`{"s":"\ud842\udfb7\/"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := Restore(in, 1<<16)
		if err != nil {
			return
		}
		again, err := Restore(out, 1<<17)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q becomes %q, %v", out, again, err)
		}
		if text, err := decodeText(in); err != nil || !sameValue(t, text, out) {
			t.Fatalf("%q says something else than %q", out, in)
		}
	})
}

func sameValue(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	for _, p := range []struct {
		data []byte
		v    *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(p.data))
		d.UseNumber()
		if err := d.Decode(p.v); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
