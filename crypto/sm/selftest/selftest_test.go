package selftest

import (
	"errors"
	"strings"
	"testing"

	tjsm2 "github.com/tjfoc/gmsm/sm2"

	"stele/crypto/sm"
)

func TestRun(t *testing.T) {
	if err := Run(); err != nil {
		t.Fatal(err)
	}
}

// Each row breaks one function in one way; the error must name what is wrong.
func TestEveryFailureIsFound(t *testing.T) {
	broken := errors.New("broken")
	right := current()
	flip := func(d sm.Digest) sm.Digest { d[31] ^= 1; return d }
	for name, c := range map[string]struct {
		breakIt func(im *implementation)
		want    string
	}{
		"digest always wrong": {func(im *implementation) {
			im.digest = func(m []byte) sm.Digest { return flip(right.digest(m)) }
		}, "SM3 of"},
		"digest wrong for the empty message": {func(im *implementation) {
			im.digest = func(m []byte) sm.Digest {
				if len(m) == 0 {
					return sm.Digest{}
				}
				return right.digest(m)
			}
		}, "SM3 of"},
		"digest wrong only for long messages": {func(im *implementation) {
			im.digest = func(m []byte) sm.Digest {
				if len(m) >= 256 {
					return flip(right.digest(m))
				}
				return right.digest(m)
			}
		}, "SM3 of 256 bytes"},
		"stream always wrong": {func(im *implementation) {
			im.stream = func(p ...[]byte) sm.Digest { return flip(right.stream(p...)) }
		}, "streamed SM3"},
		"stream loses a later part": {func(im *implementation) {
			im.stream = func(p ...[]byte) sm.Digest { return right.stream(p[0]) }
		}, "streamed SM3"},
		"second digest wrong": {func(im *implementation) {
			im.otherDigest = func(m []byte) sm.Digest { return flip(right.otherDigest(m)) }
		}, "disagree"},
		"key refused": {func(im *implementation) {
			im.newKey = func([]byte) (*sm.PrivateKey, error) { return nil, broken }
		}, "key of the standard"},
		"other public point": {func(im *implementation) {
			im.newKey = func([]byte) (*sm.PrivateKey, error) { return sm.GenerateKey() }
		}, "public key of the standard"},
		"verify refuses all": {func(im *implementation) {
			im.verify = func(*sm.PublicKey, []byte, []byte) bool { return false }
		}, "the signature of the standard is false"},
		"verify accepts all": {func(im *implementation) {
			im.verify = func(*sm.PublicKey, []byte, []byte) bool { return true }
		}, "over another message is true"},
		"verify ignores part of the signature": {func(im *implementation) {
			im.verify = func(k *sm.PublicKey, m, sig []byte) bool { return string(m) == vectorMessage }
		}, "an altered signature is true"},
		"verify knows only the vector": {func(im *implementation) {
			im.verify = func(k *sm.PublicKey, m, sig []byte) bool {
				return string(m) == vectorMessage && right.verify(k, m, sig)
			}
		}, "we refuse"},
		"second verify refuses all": {func(im *implementation) {
			im.otherVerify = func(*tjsm2.PublicKey, []byte, []byte) bool { return false }
		}, "refuses the signature of the standard"},
		"sign fails": {func(im *implementation) {
			im.sign = func(*sm.PrivateKey, []byte) ([]byte, error) { return nil, broken }
		}, "sign: broken"},
		"sign signs something else": {func(im *implementation) {
			im.sign = func(k *sm.PrivateKey, m []byte) ([]byte, error) { return right.sign(k, append(m, 0)) }
		}, "refuses our signature"},
		"second sign fails": {func(im *implementation) {
			im.otherSign = func(*tjsm2.PrivateKey, []byte) ([]byte, error) { return nil, broken }
		}, "second implementation: broken"},
		"second sign signs something else": {func(im *implementation) {
			im.otherSign = func(k *tjsm2.PrivateKey, m []byte) ([]byte, error) {
				return right.otherSign(k, append(m, 0))
			}
		}, "we refuse"},
	} {
		t.Run(name, func(t *testing.T) {
			im := current()
			c.breakIt(&im)
			err := run(im)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		if err := Run(); err != nil {
			b.Fatal(err)
		}
	}
}
