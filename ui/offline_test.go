package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const smallPage = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'"><meta name="version" ` +
	`content="@version@"><p>@version@</p>`

func TestVerifyPageHasTheVersion(t *testing.T) {
	p, err := newVerifyPage([]byte(smallPage), `v1"><script>`)
	if err != nil || p.Policy != "default-src 'none'" ||
		!bytes.Contains(p.Data, []byte(`content="v1&#34;&gt;&lt;script&gt;"><p>@version@`)) {
		t.Errorf("%s, %v", p.Data, err)
	}
	if _, err := newVerifyPage([]byte(strings.Replace(smallPage, "@version@", "", 1)), "v1"); err == nil {
		t.Error("a page without a place for the version is taken")
	}
	if _, err := newVerifyPage([]byte(strings.Replace(smallPage, "http-equiv", "name", 1)), "v1"); err == nil {
		t.Error("a page without a policy is taken")
	}
}

func TestSameProgramSamePage(t *testing.T) {
	first, err := LoadVerifyPage("v1")
	if errors.Is(err, ErrNotBuilt) {
		t.Fatal(err)
	}
	second, err2 := LoadVerifyPage("v1")
	other, err3 := LoadVerifyPage("v2")
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Data, second.Data) || first.SM3 != second.SM3 || first.SM3 == other.SM3 ||
		first.Policy != other.Policy {
		t.Error("the page does not depend on program and version alone")
	}
}

// The offline page is served under its own policy only: among the assets it could not run.
func TestVerifyPageIsNoAsset(t *testing.T) {
	as, err := LoadAssets()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := as.Asset(assetVerifyPage); ok {
		t.Error("it is one")
	}
}
