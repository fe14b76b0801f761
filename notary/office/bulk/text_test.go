package bulk_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"stele/notary/office/bulk"
)

// CSV as programs of offices write it.
func TestText(t *testing.T) {
	want := [][]string{{"甲", "0012"}, {"乙", `a"b`}}
	for name, text := range map[string]string{
		"sep=;":          "sep=;\r\n标题;文件名\r\n甲;=\"0012\"\r\n乙;\"a\"\"b\"\r\n",
		"sep=tab":        "\xef\xbb\xbfSEP=\\t\n标题\t文件名\n甲\t0012\n乙\t\"a\"\"b\"\n",
		"sep=tab itself": "sep=\t\r标题\t文件名\r甲\t0012\r乙\t\"a\"\"b\"\r",
		"quoted sep":     "\"sep=;\"\n标题;文件名\n甲;0012\n乙;\"a\"\"b\"\n",
		"sep=,":          "sep=,\n标题,文件名\n甲,=\"0012\"\n乙,=\"a\"\"b\"",
		"CR":             "标题,文件名\r甲,=\"0012\"\r乙,\"a\"\"b\"\r",
		"mixed":          "标题,文件名\r\n甲,\"=\"\"0012\"\"\"\r乙,\"a\"\"b\"\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bulk.ReadTable(t.Context(), []byte(text), reading(t, "general"))
			line := 2
			if strings.Contains(strings.ToLower(name), "sep") {
				line = 3
			}
			if err != nil || !reflect.DeepEqual(cellsOf(got), want) || got.Rows[0].Line != line || got.Notices != nil {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	for text, code := range map[string]string{
		"a,b\n1,\"2": "quotes", "a,b\n1,=\"2\n": "quotes", "a,b\n1,=\"2\"x\n": "quotes", "a,b\n1,2\"\n": "quotes",
		"\"" + strings.Repeat("a\n", 1<<20): "cell", "a\n" + strings.Repeat("b", 5<<20): "cell",
		strings.Repeat(",", 20_000) + "\na\n": "columns", "a\n\xff\xfe\n": "unreadable", "a\n\ufffd\n": "unreadable",
		"a,b\n1,=\"2": "quotes",
	} {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			_, err := readTable([]byte(text), 9)
			wantField(t, err, "table."+code)
		})
	}
	got, err := readTable([]byte("a,b\n=1+1,\"=\"\"x\"\"&\"\"y\"\"\"\n\"'=\"\"0012\"\"\",'0012\n"), 9)
	if err != nil || !reflect.DeepEqual(cellsOf(got), [][]string{{"=1+1", `="x"&"y"`}, {`="0012"`, "'0012"}}) {
		t.Errorf("%q, %v", cellsOf(got), err)
	}
	got, err = readTable([]byte("a,b\n2.5312E+19,#N/A\n1E5,####\n"), 9)
	if err != nil ||
		!reflect.DeepEqual(faults(got), map[string]bulk.Code{"A2 a": bulk.CodeDigits, "B2 b": bulk.CodeErrorValue,
			"B3 b": bulk.CodeErrorValue}) {
		t.Errorf("%v, %v", faults(got), err)
	}
}
