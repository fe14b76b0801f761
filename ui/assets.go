package ui

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"mime"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"stele/crypto/sm"
)

// Names of the assets that the generator makes.
const (
	AssetWASM   = "gen/stele.wasm"
	AssetLoader = "gen/wasm_exec.js"
)

// Asset is a file that browsers fetch.
type Asset struct {
	Name string // path, slash-separated
	Type string // media type
	Hash string // part of its address: an address never changes what it means
	Gzip []byte
	Size int64 // bytes when unpacked

	brotli func() []byte
}

// Brotli returns the contents in that coding, or nothing where the generator made none. Texts
// are compressed at the first call: at the best quality all of them take 0.2 s of a core,
// which a start-up has no use for. It is safe for concurrent use.
func (a *Asset) Brotli() []byte { return a.brotli() }

// Open returns the unpacked contents.
func (a *Asset) Open() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(a.Gzip)) }

// Assets are all of them. It is immutable.
type Assets struct{ byName map[string]*Asset }

// LoadAssets reads the embedded files and the catalogues and compresses what is not
// compressed yet. Everything is kept in memory, which is what embedding means anyway, and
// once: all callers get the same.
func LoadAssets() (*Assets, error) { return loadOnce() }

var loadOnce = sync.OnceValues(func() (*Assets, error) {
	as := &Assets{byName: map[string]*Asset{}}
	if err := as.addAll(sub(static, "static"), ""); err != nil {
		return nil, err
	}
	if err := as.addAll(sub(locales, "locales"), "locales/"); err != nil {
		return nil, err
	}
	maps.DeleteFunc(as.byName, func(name string, _ *Asset) bool { return strings.HasPrefix(name, "locales/console/") })
	delete(as.byName, assetVerifyPage)
	as.nameModules()
	return as, nil
})

func (as *Assets) addAll(f fs.FS, prefix string) error {
	return fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(p, packedBrotli) {
			return err
		}
		data, err := fs.ReadFile(f, p)
		if err != nil {
			return err
		}
		a, err := newAsset(prefix+p, data)
		if err != nil {
			return fmt.Errorf("asset %s: %w", p, err)
		}
		if a.Name != prefix+p { // packed by the generator, perhaps in the other coding too
			br, err := fs.ReadFile(f, strings.TrimSuffix(p, packedGzip)+packedBrotli)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			a.brotli = func() []byte { return br }
		}
		as.byName[a.Name] = a
		return nil
	})
}

// Ends of the names of files that the generator packed; both stand for the same contents.
const (
	packedGzip   = ".gz"
	packedBrotli = ".br"
)

func newAsset(name string, data []byte) (*Asset, error) {
	a := &Asset{Name: strings.TrimSuffix(name, packedGzip), Gzip: data, Hash: hash(data)}
	a.Type = mediaType(a.Name)
	if a.Name == name {
		a.Size = int64(len(data))
		a.Gzip = compress(data)
		a.brotli = sync.OnceValue(func() []byte { return compressBrotli(data) })
		return a, nil
	}
	// A gzip file ends with its unpacked size (RFC 1952); reading all of it would only cost
	// time at every start.
	if _, err := a.Open(); err != nil || len(data) < 18 {
		return nil, fmt.Errorf("not a gzip file: %w", err)
	}
	a.Size = int64(binary.LittleEndian.Uint32(data[len(data)-4:]))
	return a, nil
}

// mediaType does not ask the system's tables: what is served must not depend on them.
func mediaType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

func compress(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func compressBrotli(data []byte) []byte {
	var b bytes.Buffer
	w := brotli.NewWriterLevel(&b, brotli.BestCompression)
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func hash(parts ...[]byte) string {
	d := sm.Sum(parts...)
	return hex.EncodeToString(d[:8])
}

// nameModules gives all scripts and style sheets that refer to each other by relative
// paths one common hash per folder: when one of them changes, all their addresses do.
func (as *Assets) nameModules() {
	for _, dir := range []string{"js/", "css/"} {
		var names []string
		for name := range as.byName {
			if strings.HasPrefix(name, dir) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		var parts [][]byte
		for _, name := range names {
			parts = append(parts, []byte(name), []byte(as.byName[name].Hash))
		}
		for _, name := range names {
			as.byName[name].Hash = hash(parts...)
		}
	}
}

// Asset finds a file by name.
func (as *Assets) Asset(name string) (*Asset, bool) {
	a, ok := as.byName[name]
	return a, ok
}

// Path is where a page refers to a file, below the folder that assets are served from. It
// is empty for what is not there.
func (as *Assets) Path(name string) string {
	a, ok := as.byName[name]
	if !ok {
		return ""
	}
	return a.Hash + "/" + a.Name
}

// CanVerify reports whether the browser's verifier was built into this program.
func (as *Assets) CanVerify() bool {
	return as.byName[AssetWASM] != nil && as.byName[AssetLoader] != nil
}
