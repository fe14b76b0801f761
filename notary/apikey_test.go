package notary_test

import (
	"net/netip"
	"reflect"
	"testing"

	"stele/notary"
)

func TestParseNetworks(t *testing.T) {
	for text, want := range map[string]string{"10.1.0.0/16": "10.1.0.0/16", "192.0.2.7": "192.0.2.7/32",
		"2001:db8::/32": "2001:db8::/32", "::1": "::1/128", "::ffff:192.0.2.7": "192.0.2.7/32",
		"10.1.0.1/16": "", "10.1.0.0/33": "", "::ffff:10.0.0.0/104": "", "fe80::1%eth0": "", "": "", "host": "",
		"10.1/16": ""} {
		t.Run(text, func(t *testing.T) {
			got, err := notary.ParseNetworks([]string{text})
			if want == "" {
				if err == nil {
					t.Errorf("%q is taken as %v", text, got)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0] != netip.MustParsePrefix(want) {
				t.Errorf("%q: %v %v", text, got, err)
			}
		})
	}
	if _, err := notary.ParseNetworks(make([]string, notary.MaxKeyNetworks+1)); err == nil {
		t.Error("too many are taken")
	}
}

func TestParseScopes(t *testing.T) {
	got, err := notary.ParseScopes([]string{"write", "read", "write"})
	if err != nil || !reflect.DeepEqual(got, []notary.Scope{notary.ScopeRead, notary.ScopeWrite}) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range [][]string{nil, {}, {"all"}, {"read", "READ"}, {""}} {
		if got, err := notary.ParseScopes(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
}
