package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"

	"stele/crypto/sm"
	"stele/ui/fill"
)

// VerifyPageName is what the page is called, wherever it is found.
const VerifyPageName = "verify.html"

// assetVerifyPage is no asset: its policy is its own, and so is its address.
const assetVerifyPage = "gen/" + VerifyPageName

// VerifyPage is verify.html: the verifier, its page and all texts in one file that people
// keep and open without a network. It is immutable.
type VerifyPage struct {
	Data   []byte
	Gzip   []byte
	Policy string // the Content-Security-Policy that stands in the page
	SM3    string // hex digests of Data, as they are published
	SHA256 string
}

// ErrNotBuilt means that go generate ./ui was not run before the program was built.
var ErrNotBuilt = errors.New(
	"the offline verifier was not built into this program; run go generate ./ui before building")

// LoadVerifyPage writes the verifier and the program's version into the embedded page. The same program gives
// the same bytes. It returns an error that is [ErrNotBuilt] where there is no page.
func LoadVerifyPage(version string) (*VerifyPage, error) {
	packed, err := fs.ReadFile(static, "static/"+assetVerifyPage+".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotBuilt
	}
	if err != nil {
		return nil, fmt.Errorf("offline verifier: %w", err)
	}
	a, err := newAsset(assetVerifyPage+".gz", packed)
	if err != nil {
		return nil, fmt.Errorf("offline verifier: %w", err)
	}
	plain, err := a.Open()
	if err != nil {
		return nil, fmt.Errorf("offline verifier: %w", err)
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("offline verifier: %w", err)
	}
	verifier, err := fs.ReadFile(static, "static/"+AssetWASM+".gz")
	if err != nil {
		return nil, fmt.Errorf("offline verifier: %w", err)
	}
	data, ok := fill.WithVerifier(data, verifier)
	if !ok {
		return nil, errors.New("offline verifier: there is no place for the verifier in it")
	}
	return newVerifyPage(data, version)
}

func newVerifyPage(data []byte, version string) (*VerifyPage, error) {
	before, after, ok := bytes.Cut(data, []byte(`content="@version@"`))
	if !ok {
		return nil, errors.New("offline verifier: there is no place for the version in it")
	}
	data = bytes.Join([][]byte{before, []byte(`content="` + html.EscapeString(version) + `"`), after}, nil)
	_, policy, found := bytes.Cut(data, []byte(`http-equiv="Content-Security-Policy" content="`))
	policy, _, closed := bytes.Cut(policy, []byte(`"`))
	if !found || !closed {
		return nil, errors.New("offline verifier: there is no policy in it")
	}
	sum := sha256.Sum256(data)
	return &VerifyPage{Data: data, Gzip: compress(data), Policy: string(policy), SM3: sm.Sum(data).String(),
		SHA256: hex.EncodeToString(sum[:])}, nil
}
