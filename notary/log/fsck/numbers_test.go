package fsck_test

import (
	"fmt"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/proof/statement"
	"stele/storage/storagetest"
)

// issueAs enters a signed statement under another record's number. The rows' own numbers differ,
// since the database takes each but once.
func (f *fixture) issueAs(t *testing.T, number string) notary.Record {
	t.Helper()
	it := f.Items(t, 1)[0]
	row := it.Record
	said := row
	said.Number = number
	signed := f.Sign(t, said, statement.Statement{Action: statement.Issue})
	signed.Record = row
	return f.ReceiveItems(t, &signed)[0]
}

// Two statements that issue one number are found wherever they stand, with both entries; each is
// signed, logged and anchored, so nothing else but the rows would show it.
func TestOneNumberTwice(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.Receive(t, 2000) // so that they are not read at once
		number := f.recs[plain].Number
		second := f.issueAs(t, number)
		third := f.issueAs(t, number)
		other := f.issueAs(t, f.recs[revoked].Number) // its number was withdrawn, and is not free for that
		f.Sequence(t)
		f.Anchor(t)
		waits := f.issueAs(t, f.recs[late].Number) // not in the tree yet
		res := f.Fsck(t)
		want := map[string]string{}
		for _, x := range []struct {
			later notary.Record
			first int
		}{{second, plain}, {third, plain}, {other, revoked}, {waits, late}} {
			want[fmt.Sprint(x.later.Index)] = fmt.Sprintf("entry %d issues a number that entry %d has issued before",
				x.later.Index, x.first)
		}
		n := 0
		for _, x := range res.Findings {
			if x.What != "number" {
				continue
			}
			n++
			if w := want[fmt.Sprint(x.Index)]; w == "" || !strings.Contains(x.Detail, w) {
				t.Errorf("%s", x)
			}
		}
		if n != len(want) {
			t.Errorf("%d findings, want %d: %v", n, len(want), res.Findings)
		}
	})
}

// Withdrawing and replacing name a number again, and are in order.
func TestNumbersNamedAgain(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.ReceiveItems(t, f.Revocation(t, f.recs[plain], "x"))
	f.Sequence(t)
	if res := f.Fsck(t); len(res.Findings) != 0 {
		t.Errorf("%v", res.Findings)
	}
}
