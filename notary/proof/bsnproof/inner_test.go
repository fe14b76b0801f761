package bsnproof_test

import (
	"strings"
	"testing"

	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
)

// Texts inside answers are read in one way only: what another verifier could read otherwise is refused.
func TestInnerTexts(t *testing.T) {
	const write = `{"txId":"00","dataInfo":"{}","txTime":"now","isDelete":false}`
	if w, err := bsnproof.History("[" + write + ",\n " + write + "]"); err != nil || len(w) != 2 ||
		w[1] != (gateway.HistoryEntry{TxID: "00", DataInfo: "{}"}) {
		t.Errorf("%+v, %v", w, err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "a name twice": strings.Replace(write, `{`, `{"txId":"01",`, 1),
		"an unknown name twice": strings.Replace(write, `{`, `{"x":1,"x":1,`, 1),
		"a name in other case":  strings.Replace(write, "txId", "txid", 1),
		"no name":               strings.Replace(write, `"isDelete":false`, `"isdelete":false`, 1),
		"null":                  strings.Replace(write, `"00"`, "null", 1), "a number": strings.Replace(write, `"00"`,
			"0", 1), "cut off": write[:len(write)-1],
		"two values": write + write, "deep": strings.Replace(write, `"now"`, strings.Repeat("[", 31)+strings.Repeat("]",
			31), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if w, err := bsnproof.History("[" + bad + "]"); (err != nil) == (name == "nothing") {
				t.Errorf("%s: %+v, %v", name, w, err)
			}
		})
	}
	if rows, err := bsnproof.Rows(`[["a"],[-9223372036854775808],["v"]]`); err != nil || rows[0].Key != -1<<63 {
		t.Errorf("%+v, %v", rows, err)
	}
	for _, bad := range []string{`[["a"],[1.0],["v"]]`, `[["a"],[9223372036854775808],["v"]]`, `[["a"],[1e1],["v"]]`,
		`[["a"],["1"],["v"]]`, `[[null],[1],["v"]]`, `[["a"],[1],[]]`, `[["a"],[1],["v"],[]]`, `{"a":1}`} {
		if rows, err := bsnproof.Rows(bad); err == nil {
			t.Errorf("%s: %+v", bad, rows)
		}
	}
	row := gateway.Row{ID: "a", Key: 1, Value: "v"}
	log := `{"address":"0x1","topics":["` + gateway.InsertTopic + `"],"data":"` + row.InsertResult(1) + `"}`
	for logs, want := range map[string]bool{"[" + log + "]": true, "[null,1," + log + "]": true, log: false,
		strings.Replace("["+log+"]", "topics", "Topics", 1): false, strings.Replace("["+log+"]", `["`, `[1,"`,
			1): false} {
		t.Run(logs, func(t *testing.T) {
			if bsnproof.Inserted("0x1", logs, row) != want {
				t.Errorf("%s: %v", logs, !want)
			}
		})
	}
}
