package chain

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/consensus"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
)

// This file keeps the engine's habits away from the process that it runs in.

// databases opens the engine's databases and remembers them, so that they are closed on
// every path. It is safe for concurrent use.
type databases struct {
	mu   sync.Mutex
	open []*guardedDB
}

func (d *databases) provide(ctx *config.DBContext) (dbm.DB, error) {
	db, err := config.DefaultDBProvider(ctx)
	if err != nil {
		return nil, err
	}
	g := &guardedDB{DB: db}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, g)
	return g, nil
}

func (d *databases) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, g := range d.open {
		errs = append(errs, g.Close())
	}
	return errors.Join(errs...)
}

// guardedDB answers "not there" after Close. The engine closes its block store under
// goroutines that still read it for peers, and those panic on a closed database, which
// takes the whole process down.
type guardedDB struct {
	dbm.DB
	mu     sync.RWMutex
	closed bool // guarded by mu; readers hold it while they read
}

func (g *guardedDB) Get(k []byte) ([]byte, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return nil, nil
	}
	return g.DB.Get(k)
}

func (g *guardedDB) Has(k []byte) (bool, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return false, nil
	}
	return g.DB.Has(k)
}

// Close closes once; again it does nothing.
func (g *guardedDB) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.DB.Close()
}

// engineLog adapts slog to the engine's logger. The engine's Info is about ten lines a
// block, so it becomes Debug; its Debug goes below that.
type engineLog struct{ handler slog.Handler }

var _ cmtlog.Logger = engineLog{}

const levelTrace = slog.LevelDebug - 4

// harmless are errors that the engine reports although nothing is wrong.
var harmless = []string{
	"Stopped accept routine, as transport is closed",
	"SendTimeout",
	"Error stopping pool",
	"Error closing eventBus",
}

func (l engineLog) emit(level slog.Level, msg string, kv []any) {
	ctx := context.Background()
	// Values may be expensive to render: the level decides first.
	if !l.handler.Enabled(ctx, level) {
		return
	}
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	r := slog.NewRecord(time.Now(), level, msg, pc[0])
	r.AddAttrs(attributes(kv)...)
	_ = l.handler.Handle(ctx, r)
}

func (l engineLog) Debug(msg string, kv ...any) { l.emit(levelTrace, msg, kv) }

func (l engineLog) Info(msg string, kv ...any) { l.emit(slog.LevelDebug, msg, kv) }

func (l engineLog) Error(msg string, kv ...any) {
	level := slog.LevelError
	if strings.Contains(msg, "Stopping peer for error") { // it has gone away
		level = slog.LevelWarn
	}
	if slices.ContainsFunc(harmless, func(h string) bool { return strings.Contains(msg, h) }) {
		level = slog.LevelDebug
	}
	if strings.Contains(msg, "failed signing") && slices.ContainsFunc(kv, replayed) || ownProposal(msg, kv) {
		level = slog.LevelDebug
	}
	l.emit(level, msg, kv)
}

// replayed tells the validator's refusal to sign again what it signed before this start.
func replayed(v any) bool {
	err, ok := v.(error)
	return ok && (errors.Is(err, errReplayed) || errors.Is(err, errProposed))
}

// ownProposal tells the engine's refusal of a proposal of its own that bears the signature, and so the
// time, of one that was made before a start, see [validator.SignProposal]. The round is lost and the next
// one decides. Such a proposal of another node is news.
func ownProposal(msg string, kv []any) bool {
	if msg != "failed to process message" {
		return false
	}
	own, invalid := false, false
	for i := 0; i+1 < len(kv); i += 2 {
		switch v := kv[i+1].(type) {
		case p2p.ID:
			own = kv[i] == "peer" && v == ""
		case error:
			invalid = errors.Is(v, consensus.ErrInvalidProposalSignature)
		}
	}
	return own && invalid
}

func (l engineLog) With(kv ...any) cmtlog.Logger {
	return engineLog{l.handler.WithAttrs(attributes(kv))}
}

// attributes turns the engine's loose pairs into typed attributes. JSON handlers would print
// {} for many of its types, so whatever can say what it is becomes text.
func attributes(kv []any) []slog.Attr {
	var out []slog.Attr
	for i := 0; i+1 < len(kv); i += 2 {
		k := fmt.Sprint(kv[i])
		switch v := kv[i+1].(type) {
		case error:
			out = append(out, slog.String(k, v.Error()))
		case []byte:
			out = append(out, slog.String(k, hex.EncodeToString(v)))
		case fmt.Stringer:
			out = append(out, slog.String(k, fmt.Sprint(v))) // Sprint survives nil receivers
		default:
			out = append(out, slog.Any(k, v))
		}
	}
	return out
}
