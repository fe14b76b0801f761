package ceremony_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain/ceremony"
	"stele/notary/proof/anchorproof"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// city is a member with its private keys.
type city struct {
	ceremony.SignedMember
	cosign *sm.PrivateKey
	vote   ed25519.PrivateKey
}

func newCity(t testing.TB, name string) city {
	t.Helper()
	cosign, err := sm.GenerateKey()
	fatalIfErr(t, err)
	public, vote, err := ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	node, _, err := ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	m, err := ceremony.SignMember(ceremony.Member{Name: name, Power: 10, Address: name + ".example.gov.cn:26656",
		Cosign: cosign.Public(), Consensus: [32]byte(public), Node: [32]byte(node)}, cosign.Sign, vote)
	fatalIfErr(t, err)
	return city{m, cosign, vote}
}

func newLog(t testing.TB, origin string) *signednote.Verifier {
	t.Helper()
	k, err := sm.GenerateKey()
	fatalIfErr(t, err)
	v, err := signednote.NewVerifier(origin, k.Public())
	fatalIfErr(t, err)
	return v
}

func cities(t testing.TB, names ...string) (out []city, members []ceremony.SignedMember) {
	t.Helper()
	for _, n := range names {
		c := newCity(t, n)
		out, members = append(out, c), append(members, c.SignedMember)
	}
	return out, members
}

// A member's file is refused when anything in it was changed, its keys above all.
func TestMemberFile(t *testing.T) {
	a, b := newCity(t, "city-a"), newCity(t, "city-b")
	file, err := a.Marshal()
	fatalIfErr(t, err)
	got, err := ceremony.ParseMember(file)
	if err != nil || got.Text() != a.Text() {
		t.Fatal(err)
	}
	text := string(file)
	point := func(c city) string { return strings.Split(strings.Split(c.Text(), "cosign ")[1], "\n")[0] }
	vote := func(c city) string { return strings.Split(strings.Split(c.Text(), "consensus ")[1], "\n")[0] }
	for name, bad := range map[string]string{
		"another's SM2 key":       strings.Replace(text, point(a), point(b), 1),
		"another's consensus key": strings.Replace(text, vote(a), vote(b), 1),
		"more power":              strings.Replace(text, "power 10", "power 99", 1),
		"another address":         strings.Replace(text, "city-a.example", "evil.example", 1),
		"no line feed":            strings.TrimSuffix(text, "\n"),
		"white space":             strings.Replace(text, `{"text"`, `{ "text"`, 1),
		"a zero before":           strings.Replace(text, "power 10", "power 010", 1),
		"two peers in an address": strings.Replace(text, ":26656", ":26656,x@h:1", 1),
		"empty":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ceremony.ParseMember([]byte(bad)); err == nil {
				t.Errorf("%s: accepted", name)
			}
		})
	}
}

// Everybody who assembles the same files gets the same genesis, in whatever order.
func TestGenesis(t *testing.T) {
	_, members := cities(t, "city-a", "city-b", "city-c")
	logs := []*signednote.Verifier{newLog(t, "log.example/a"), newLog(t, "log.example/b")}
	one, peers, err := ceremony.Genesis("egov-test", members, logs)
	fatalIfErr(t, err)
	two, _, err := ceremony.Genesis("egov-test", []ceremony.SignedMember{members[2], members[0], members[1]},
		[]*signednote.Verifier{logs[1], logs[0]})
	fatalIfErr(t, err)
	if one.Hash() != two.Hash() || one.Total() != 30 {
		t.Error("the order of the files matters")
	}
	again, err := ceremony.ParsePeers(peers.Text())
	if err != nil || again.Text() != peers.Text() {
		t.Error(err)
	}
	if _, _, err := ceremony.Genesis("egov-test", append(members, members[0]), nil); !errors.Is(err,
		anchorproof.ErrFormat) {
		t.Errorf("a member that stands there twice: %v", err)
	}
	if p, err := peers.Without("city-a").With(members[0].Peer()); err != nil || len(p.List) != 3 {
		t.Error(err)
	}
}

// A proposal collects signatures on copies; only what the chain would take is complete.
func TestProposal(t *testing.T) {
	all, members := cities(t, "city-a", "city-b", "city-c", "city-d")
	current, _, err := ceremony.Genesis("egov-test", members, []*signednote.Verifier{newLog(t, "log.example/a")})
	fatalIfErr(t, err)
	newcomer, rotated := newCity(t, "city-e"), newCity(t, "city-b")
	p, err := ceremony.Propose(current,
		ceremony.Change{Join: []ceremony.SignedMember{newcomer.SignedMember, rotated.SignedMember},
			Leave: []string{"city-d"}, Power: map[string]uint64{"city-a": 12},
			Admit: []*signednote.Verifier{newLog(t, "log.example/b")}})
	fatalIfErr(t, err)
	// city-d leaves; city-a's power and city-b's keys change; city-e and a log come.
	if lines := p.Changes(); len(lines) != 7 {
		t.Errorf("%q", lines)
	}
	copies := []ceremony.Proposal{p}
	for _, c := range append(all[:3:3], newcomer, rotated) {
		signed, err := p.Sign(c.cosign.Sign, c.Validator(), c.vote)
		fatalIfErr(t, err)
		text, err := signed.Marshal()
		fatalIfErr(t, err)
		read, err := ceremony.ParseProposal(text)
		fatalIfErr(t, err)
		copies = append(copies, read)
	}
	if stranger := newCity(t, "city-x"); true {
		if _, err := p.Sign(stranger.cosign.Sign, stranger.Validator(), stranger.vote); err == nil {
			t.Error("a stranger has signed")
		}
	}
	done := p
	for i, c := range copies {
		if len(done.Missing()) == 0 {
			t.Errorf("complete after %d copies", i)
		}
		done, err = done.Merge(c)
		fatalIfErr(t, err)
	}
	if missing := done.Missing(); missing != nil {
		t.Error(missing)
	}
	fatalIfErr(t, current.CheckNext(done.Next))
	bad := copies[1]
	bad.Next.Signatures = []anchorproof.Cosignature{{Validator: 2, Signature: bad.Next.Signatures[0].Signature}}
	if _, err := p.Merge(bad); !errors.Is(err, anchorproof.ErrQuorum) {
		t.Errorf("a wrong signature was merged: %v", err)
	}
	for name, c := range map[string]ceremony.Change{"nothing": {}, "a stranger leaves": {Leave: []string{"city-x"}},
		"a stranger's power":      {Power: map[string]uint64{"city-x": 1}},
		"no power":                {Power: map[string]uint64{"city-a": 0}},
		"everybody leaves":        {Leave: []string{"city-a", "city-b", "city-c", "city-d"}},
		"a log that is not there": {Expel: []string{"log.example/x"}}} {
		t.Run(name, func(t *testing.T) {
			if _, err := ceremony.Propose(current, c); err == nil {
				t.Errorf("%s: accepted", name)
			}
		})
	}
}

func FuzzMember(f *testing.F) {
	file, err := newCity(f, "city-a").Marshal()
	fatalIfErr(f, err)
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ceremony.ParseMember(data)
		if err != nil {
			return
		}
		if again, err := m.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("another spelling: %v", err)
		}
	})
}

func FuzzPeers(f *testing.F) {
	_, members := cities(f, "city-a", "city-b")
	_, peers, err := ceremony.Genesis("egov-test", members, nil)
	fatalIfErr(f, err)
	f.Add(peers.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ceremony.ParsePeers(text); err == nil && p.Text() != text {
			t.Error("another spelling")
		}
	})
}

func FuzzProposal(f *testing.F) {
	all, members := cities(f, "city-a", "city-b")
	current, _, err := ceremony.Genesis("egov-test", members, nil)
	fatalIfErr(f, err)
	p, err := ceremony.Propose(current, ceremony.Change{Power: map[string]uint64{"city-a": 3}})
	fatalIfErr(f, err)
	p, err = p.Sign(all[0].cosign.Sign, all[0].Validator(), all[0].vote)
	fatalIfErr(f, err)
	file, err := p.Marshal()
	fatalIfErr(f, err)
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ceremony.ParseProposal(data)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("another spelling: %v", err)
		}
		_ = p.Missing() // indexes that a file names may be out of range
		_, _ = p.Merge(p)
	})
}
