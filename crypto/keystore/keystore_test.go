package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stele/crypto/sm"
)

// testIterations keeps the tests fast; the number does not change what is tested.
const testIterations = 3

func fatalIfErr(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t rapid.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	fatalIfErr(t, err)
	return k
}

func secret(t rapid.TB, text string) Secret {
	t.Helper()
	s, err := NewSecret([]byte(text))
	fatalIfErr(t, err)
	return s
}

const passphrase = "correct horse 电池 staple"

func mustWrite(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	fatalIfErr(t, os.WriteFile(path, data, mode))
	fatalIfErr(t, os.Chmod(path, mode)) // whatever the umask
}

func TestCreateAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agency.key")
	key, pass := newKey(t), secret(t, passphrase)
	fatalIfErr(t, Create(path, key, pass))
	info, err := os.Stat(path)
	fatalIfErr(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("permissions %v", info.Mode())
	}
	got, err := Load(path, pass)
	fatalIfErr(t, err)
	if !got.Public().Equal(key.Public()) || got.SM2().D.Cmp(key.SM2().D) != 0 {
		t.Fatal("another key came back")
	}
	sig, err := got.Sign([]byte("m"))
	fatalIfErr(t, err)
	if !key.Public().Verify([]byte("m"), sig) {
		t.Fatal("its signature does not verify")
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("temporary files were left: %v", files)
	}
}

func TestCreateAndLoadEd25519(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	fatalIfErr(t, err)
	pass := secret(t, passphrase)
	fatalIfErr(t, CreateEd25519(path, key, pass))
	got, err := LoadEd25519(path, pass)
	fatalIfErr(t, err)
	if !got.Equal(key) {
		t.Fatal("another key came back")
	}
}

func TestLoadOfTheOtherType(t *testing.T) {
	dir, pass := t.TempDir(), secret(t, passphrase)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	fatalIfErr(t, err)
	sm2File, edFile := filepath.Join(dir, "sm2"), filepath.Join(dir, "ed25519")
	fatalIfErr(t, create(sm2File, sm2Key{newKey(t)}, pass, testIterations))
	fatalIfErr(t, create(edFile, ed25519Key{edKey}, pass, testIterations))
	if _, err := Load(edFile, pass); !errors.Is(err, ErrKeyType) {
		t.Errorf("Ed25519 as SM2: %v", err)
	}
	if _, err := LoadEd25519(sm2File, pass); !errors.Is(err, ErrKeyType) {
		t.Errorf("SM2 as Ed25519: %v", err)
	}
}

func TestCreateRefusesToOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	mustWrite(t, path, []byte("precious"), 0o600)
	err := create(path, sm2Key{newKey(t)}, secret(t, passphrase), testIterations)
	if !errors.Is(err, ErrExists) || !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%v", err)
	}
	text, err := os.ReadFile(path)
	fatalIfErr(t, err)
	if string(text) != "precious" {
		t.Fatal("the old file changed")
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("temporary files were left: %v", files)
	}
}

// Of many that create the same file at once, one wins and its key is what the file holds.
func TestCreateConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	pass := secret(t, passphrase)
	winners := make(chan *sm.PrivateKey, 8)
	for range cap(winners) {
		key := newKey(t)
		go func() {
			if create(path, sm2Key{key}, pass, testIterations) != nil {
				key = nil
			}
			winners <- key
		}()
	}
	var winner *sm.PrivateKey
	for range cap(winners) {
		if key := <-winners; key != nil {
			if winner != nil {
				t.Fatal("two wrote the file")
			}
			winner = key
		}
	}
	got, err := Load(path, pass)
	fatalIfErr(t, err)
	if winner == nil || !got.Public().Equal(winner.Public()) {
		t.Fatal("the file is not the winner's")
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := Create(path, nil, secret(t, passphrase)); err == nil {
		t.Error("no key: accepted")
	}
	if err := CreateEd25519(path, nil, secret(t, passphrase)); err == nil {
		t.Error("no Ed25519 key: accepted")
	}
	if err := Create(path, newKey(t), Secret{}); !errors.Is(err, ErrNoPassphrase) {
		t.Errorf("no passphrase: %v", err)
	}
	if err := create(filepath.Join(dir, "no", "key"), sm2Key{newKey(t)}, secret(t, passphrase),
		testIterations); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("files were left: %v", files)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	pass := secret(t, passphrase)
	good, err := encode(sm2Key{newKey(t)}, pass, testIterations)
	fatalIfErr(t, err)
	other, err := encode(sm2Key{newKey(t)}, pass, testIterations)
	fatalIfErr(t, err)
	begin := bytes.Index(good, []byte("-----BEGIN"))
	swapped := append(bytes.Clone(other[:bytes.Index(other, []byte("sm3 of"))]),
		good[bytes.Index(good, []byte("sm3 of")):]...)
	middle := bytes.Clone(good)
	middle[begin+200] ^= 1
	for name, c := range map[string]struct {
		text []byte
		mode os.FileMode
		pass Secret
		want error
	}{
		"good":              {good, 0o600, pass, nil},
		"read only":         {good, 0o400, pass, nil},
		"without note":      {good[begin:], 0o600, pass, nil},
		"group may read":    {good, 0o640, pass, ErrPermissions},
		"all may read":      {good, 0o644, pass, ErrPermissions},
		"all may write":     {good, 0o602, pass, ErrPermissions},
		"wrong passphrase":  {good, 0o600, secret(t, passphrase+"s"), ErrPassphrase},
		"wrong, no note":    {good[begin:], 0o600, secret(t, passphrase+"s"), ErrPassphrase},
		"no passphrase":     {good, 0o600, Secret{}, ErrNoPassphrase},
		"empty":             {nil, 0o600, pass, ErrDamaged},
		"cut in the note":   {good[:20], 0o600, pass, ErrDamaged},
		"cut in the block":  {good[:len(good)-60], 0o600, pass, ErrDamaged},
		"changed character": {middle, 0o600, pass, ErrDamaged},
		"another's note":    {swapped, 0o600, pass, ErrDamaged},
		"text in front":     {append([]byte("# key\n"), good...), 0o600, pass, ErrDamaged},
		"text behind":       {append(bytes.Clone(good), "x"...), 0o600, pass, ErrDamaged},
		"two keys":          {append(bytes.Clone(good), good...), 0o600, pass, ErrDamaged},
		"too long": {append(bytes.Clone(good), bytes.Repeat([]byte("\n"), MaxFileSize)...), 0o600, pass,
			ErrDamaged},
		"certificate": {[]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), 0o600, pass,
			ErrDamaged},
		"empty sequence": {
			[]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"), 0o600, pass,
			ErrDamaged},
		"in clear": {[]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), 0o600, pass,
			ErrUnencrypted},
		"in clear, old": {[]byte("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"), 0o600,
			pass, ErrUnencrypted},
		"old PEM encryption": {
			[]byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n-----END EC PRIVATE KEY-----\n"),
			0o600, pass, ErrUnsupported},
		"absurd iterations":   {mustEncode(t, maxIterations+1), 0o600, pass, ErrUnsupported},
		"negative iterations": {mustEncode(t, -1), 0o600, pass, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			mustWrite(t, path, c.text, c.mode)
			key, err := Load(path, c.pass)
			if !errors.Is(err, c.want) || (key == nil) != (c.want != nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for _, s := range []error{ErrMissing, ErrPermissions, ErrDamaged, ErrPassphrase, ErrUnencrypted,
				ErrUnsupported, ErrKeyType} {
				if s != c.want && errors.Is(err, s) {
					t.Errorf("%v also is %v", err, s)
				}
			}
			if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), passphrase)) {
				t.Errorf("text of %v", err)
			}
		})
	}
	if _, err := Load(filepath.Join(dir, "nothing"), pass); !errors.Is(err, ErrMissing) ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir, pass); !errors.Is(err, ErrPermissions) {
		t.Errorf("folder: %v", err)
	}
}

// The public and private key of a file must belong together even without the note.
func TestLoadAdmitsDoubtOnlyWithoutNote(t *testing.T) {
	text, err := encode(sm2Key{newKey(t)}, secret(t, passphrase), testIterations)
	fatalIfErr(t, err)
	wrong := secret(t, "another passphrase")
	if _, err := decode(text, wrong); err == nil || strings.Contains(err.Error(), "damaged") {
		t.Errorf("with note: %v", err)
	}
	if _, err := decode(text[bytes.Index(text, []byte("-----")):], wrong); err == nil ||
		!strings.Contains(err.Error(), "damaged") {
		t.Errorf("without note: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[\p{Han} -~]{12,60}`).Draw(t, "passphrase")
		pass := secret(t, text)
		var key privateKey = sm2Key{newKey(t)}
		if rapid.Bool().Draw(t, "ed25519") {
			key = ed25519Key{ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))}
		}
		file, err := encode(key, pass, testIterations)
		fatalIfErr(t, err)
		got, err := decode(file, pass)
		fatalIfErr(t, err)
		want, err := key.pkcs8()
		fatalIfErr(t, err)
		have, err := got.pkcs8()
		fatalIfErr(t, err)
		if !bytes.Equal(have, want) {
			t.Fatal("another key came back")
		}
		if _, err := decode(file, secret(t, text+"x")); !errors.Is(err, ErrPassphrase) {
			t.Fatalf("wrong passphrase: %v", err)
		}
		// The block changes with every encryption: salt and vector are fresh.
		if again, err := encode(key, pass, testIterations); err != nil || bytes.Equal(again, file) {
			t.Fatalf("two encryptions are equal (%v)", err)
		}
		// No part of the scalar or the passphrase is in the file.
		if bytes.Contains(file, []byte(text)) {
			t.Fatal("the passphrase is in the file")
		}
	})
}

// Damage anywhere is an error or harmless, and never another key.
func TestDamageNeverGivesAnotherKey(t *testing.T) {
	pass := secret(t, passphrase)
	key := newKey(t)
	file, err := encode(sm2Key{key}, pass, testIterations)
	fatalIfErr(t, err)
	bare := file[bytes.Index(file, []byte("-----")):]
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Clone(rapid.SampledFrom([][]byte{file, bare}).Draw(t, "file"))
		i := rapid.IntRange(0, len(text)-1).Draw(t, "byte")
		text[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		e, err := open(text)
		if err != nil {
			return
		}
		got, err := e.decrypt(pass)
		if err == nil && !bytes.Equal(got.public(), key.Public().Bytes()) {
			t.Fatal("another key")
		}
	})
}

func TestPublicHalfIsChecked(t *testing.T) {
	key, other := newKey(t), newKey(t)
	var good struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}
	der, err := sm2Key{key}.pkcs8()
	fatalIfErr(t, err)
	_, err = asn1.Unmarshal(der, &good)
	fatalIfErr(t, err)
	type ecPrivateKey struct {
		Version    int
		PrivateKey []byte
		Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	curve := asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	scalar := key.SM2().D.FillBytes(make([]byte, 32))
	bits := func(k *sm.PrivateKey) asn1.BitString {
		return asn1.BitString{Bytes: k.Public().Bytes(), BitLength: 8 * sm.PublicKeySize}
	}
	for name, c := range map[string]struct {
		ec   ecPrivateKey
		want error
	}{
		"own":          {ecPrivateKey{1, scalar, nil, bits(key)}, nil},
		"with curve":   {ecPrivateKey{1, scalar, curve, bits(key)}, nil}, // as Java writes it
		"another's":    {ecPrivateKey{1, scalar, nil, bits(other)}, ErrDamaged},
		"none":         {ecPrivateKey{1, scalar, nil, asn1.BitString{}}, ErrDamaged},
		"zero scalar":  {ecPrivateKey{1, make([]byte, 32), nil, bits(key)}, ErrDamaged},
		"large scalar": {ecPrivateKey{1, bytes.Repeat([]byte{0xff}, 32), nil, bits(key)}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.PrivateKey = marshal(t, c.ec)
			if got, err := parsePKCS8(marshal(t, bad)); !errors.Is(err, c.want) || (got == nil) != (c.want != nil) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "key")
	pass := secret(b, passphrase)
	fatalIfErr(b, Create(path, newKey(b), pass))
	for b.Loop() {
		_, err := Load(path, pass)
		fatalIfErr(b, err)
	}
}
