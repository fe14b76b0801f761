package chain

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
)

func TestGuardedDBAnswersAfterClose(t *testing.T) {
	g := &guardedDB{DB: dbm.NewMemDB()}
	fatalIfErr(t, g.Set([]byte("k"), []byte("v")))
	if v, err := g.Get([]byte("k")); err != nil || string(v) != "v" {
		t.Fatal(v, err)
	}
	fatalIfErr(t, errors.Join(g.Close(), g.Close()))
	if v, err := g.Get([]byte("k")); err != nil || v != nil {
		t.Error(v, err)
	}
	if ok, err := g.Has([]byte("k")); err != nil || ok {
		t.Error(ok, err)
	}
}

type lazy struct{ rendered *int }

func (l lazy) String() string { *l.rendered++; return "rendered" }

func TestEngineLog(t *testing.T) {
	var b bytes.Buffer
	l := engineLog{slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo})}
	n := 0
	l.Info("ten of these for each block", "value", lazy{&n})
	l.Debug("more", "value", lazy{&n})
	l.Error("SendTimeout", "peer", "p")
	if b.Len() != 0 || n != 0 {
		t.Fatalf("%d values rendered, output %q", n, b.String())
	}
	var none *lazy
	l.With("module", lazy{&n}).Error("wrong", "error", errors.New("e"), "hash", []byte{0xab}, "nil", none, "odd")
	for _, want := range []string{`"module":"rendered"`, `"error":"e"`, `"hash":"ab"`, `"level":"ERROR"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s lacks %s", b.String(), want)
		}
	}
}
