package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/recovery"
	"stele/notary/log/tail"
	"stele/notary/office/people"
	"stele/storage/blob/dir"
	"stele/storage/sqldb"
)

// exclusive keeps servers of this instance from sequencing for as long as renew is called in time.
func (s *Stores) exclusive(ctx context.Context, what string) (holder string, renew func(context.Context) error,
	release func(), err error) {
	holder = fmt.Sprintf("%s/%d", what, os.Getpid())
	renew = func(ctx context.Context) error {
		ok, err := s.DB.Lease(ctx, batchlog.LeaseName, holder, switchTime)
		if err == nil && !ok {
			err = errors.New("a server of this instance runs, or ended a moment ago without a goodbye: stop all of " +
				"them; after a crash wait ten seconds")
		}
		return err
	}
	// it runs out by itself
	release = func() { _ = s.DB.ReleaseLease(context.WithoutCancel(ctx), batchlog.LeaseName, holder) }
	return holder, renew, release, renew(ctx)
}

// RecoverTail brings back what the database lacks and the object store has, and logs it. No server
// of the instance may run. See package recovery for what a crash leaves; then the same call goes on.
func (s *Stores) RecoverTail(ctx context.Context, dryRun bool, log *slog.Logger) (*recovery.Result, error) {
	pass, err := s.Config.passphrase()
	if err != nil {
		return nil, err
	}
	signer, keys, err := s.logKeys(pass)
	if err != nil {
		return nil, err
	}
	key, err := keystore.Load(s.Config.keyPath(fileWebhookKey), pass)
	if err != nil {
		return nil, fmt.Errorf("the tail is sealed with the webhook key: %w", err)
	}
	holder, renew, release, err := s.exclusive(ctx, "recover-tail")
	if err != nil {
		return nil, err
	}
	defer release()
	o := recovery.Options{Sealer: tail.NewSealer(key, s.id.ID), Keys: keys, Roots: s.Trust.Certificates(),
		DryRun: dryRun, Renew: renew, Log: log}
	if dryRun {
		return recovery.Run(ctx, s.DB.Log, s.Objects, o)
	}
	if err := s.refence(ctx, &signer.Verifier, keys); err != nil {
		return nil, err
	}
	res, err := recovery.Run(ctx, s.DB.Log, s.Objects, o)
	if err != nil {
		return res, err
	}
	if res.Seals, err = s.restoreSeals(ctx); err != nil {
		return res, err
	}
	return res, s.logReceived(ctx, batchlog.Options{Signer: signer, Keys: keys, Holder: holder, Now: time.Now,
		Log: log})
}

// refence is [Stores.fence] for a database from before a change of the log's key: the trust roots know
// the key that it names as a former one.
func (s *Stores) refence(ctx context.Context, own *signednote.Verifier, keys []*signednote.Verifier) error {
	f, err := s.DB.Log.LogFence(ctx)
	if err != nil {
		return fmt.Errorf("read which key is the log's: %w", err)
	}
	former := func(k *signednote.Verifier) bool {
		return signednote.FormatKey(k.Name(), k.Key()) == f.Key && !k.Key().Equal(own.Key())
	}
	if slices.ContainsFunc(keys, former) {
		if _, err := s.DB.Log.MoveLogFence(ctx, f, signednote.FormatKey(own.Name(), own.Key())); err != nil {
			return fmt.Errorf("note which key is the log's: %w", err)
		}
	}
	return s.fence(ctx, own)
}

// restoreSeals brings back the rows of the audit trail that the log holds. A document that is not in
// the object store is passed by: fsck names it.
func (s *Stores) restoreSeals(ctx context.Context) (int, error) {
	n := 0
	for rec, err := range s.trailRecords(ctx)(0) {
		if err != nil {
			return n, err
		}
		if _, err := s.DB.People.SealIn(ctx, rec.Number); !errors.Is(err, notary.ErrNotFound) {
			if err != nil {
				return n, err
			}
			continue
		}
		document, err := s.Objects.Get(ctx, notary.DocumentKey(rec.ID), mostSealed)
		if errors.Is(err, notary.ErrObjectNotFound) {
			continue
		} else if err != nil {
			return n, err
		}
		h, events, err := people.ReadSealed(document)
		if err != nil || sm.Sum(document) != rec.SM3 {
			continue // fsck names it
		}
		title := ""
		for _, f := range rec.Fields {
			if f.Name == "title" {
				title = f.Value
			}
		}
		seal := people.TrailSeal{Trail: h.Trail, Number: h.Seal, AgencyID: rec.AgencyID, First: h.First, Last: h.Last,
			Events: h.Events, SM3: rec.SM3,
			Title: title, RecordID: rec.ID, Record: rec.Number, CreatedAt: rec.IssuedAt}
		if err := s.DB.People.RestoreSeal(ctx, seal, events); err != nil {
			return n, fmt.Errorf("seal %d of the audit trail: %w", h.Seal, err)
		}
		n++
	}
	return n, nil
}

// logReceived logs everything that was received, as a server does that is being stopped, so that
// the database is as far as the chain may be; then it checks both stores as a start does.
func (s *Stores) logReceived(ctx context.Context, o batchlog.Options) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for last := uint64(0); ; {
		l := batchlog.New(s.DB.Log, s.Objects, s.Tiles, o)
		if err := l.Run(ended); err != nil {
			return err
		}
		head, err := s.DB.Log.Head(ctx)
		switch {
		case err != nil:
			return err
		case head.Size == head.Received:
			return batchlog.New(s.DB.Log, s.Objects, s.Tiles, o).Check(ctx)
		case head.Size == last:
			return fmt.Errorf("%d entries could not be logged: see the message before; the next start of a server "+
				"does it, or run this again",
				head.Received-head.Size)
		}
		last = head.Size
	}
}

// Rebuilt says what was written into an object store that was lost, and what nobody can write.
type Rebuilt struct {
	Objects   int       `json:"objects"`   // of the log's tree
	Originals uint64    `json:"originals"` // that must be there
	Missing   []Missing `json:"missing"`
}

// Missing is an original that is not in the object store, or not with the size that was notarized.
type Missing struct {
	Number string `json:"number"`
	Record string `json:"record"` // its id
	Object string `json:"object"` // its name in the object store
	Agency string `json:"agency"` // its id
	Size   uint64 `json:"size"`   // bytes
	SM3    string `json:"sm3"`
	Found  *int64 `json:"found,omitempty"` // size of what is there instead
}

// RebuildStore makes an object store anew that was lost, or its marker: marker, instance, tiles, entry
// bundles and checkpoint from the database. Nothing that is there is replaced. No server of the
// instance may run. Each step can be done again; a crash leaves a store that no start accepts, but for
// the last one, whose tiles the next call completes:
//
//  1. marker             an object store of no instance
//  2. instance           an object store without a checkpoint
//  3. tiles, checkpoint  complete
func RebuildStore(ctx context.Context, c Config, log *slog.Logger) (out *Rebuilt, err error) {
	s := newStores(c)
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openDatabase(ctx); err != nil {
		return nil, err
	}
	in, err := s.checkDatabase(ctx, (*Stores).checkChain)
	if err != nil {
		return nil, err
	}
	_, _, release, err := s.exclusive(ctx, "rebuild-store")
	if err != nil {
		return nil, err
	}
	defer release()
	if s.Objects, err = c.makeObjects(ctx, dir.Rebuild); err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	text, err := s.id.encode()
	if err != nil {
		return nil, err
	}
	if err := s.Objects.PutOnce(ctx, objectIdentity, text); err != nil && !errors.Is(err, notary.ErrObjectDiffers) {
		return nil, fmt.Errorf("write the object store's instance: %w", err)
	}
	if err := s.checkObjects(ctx, in); err != nil {
		return nil, err
	}
	s.Tiles = batchlog.NewTiles(s.Objects, cachedTiles)
	out = &Rebuilt{Missing: []Missing{}}
	if out.Objects, err = s.RebuildTiles(ctx, log); err != nil {
		return nil, err
	}
	return out, s.missingOriginals(ctx, out)
}

// originalsPage is how many rows are read at once.
const originalsPage = 1000

// missingOriginals goes through the records in the order of their ids beside the list of objects, which
// has the same order.
func (s *Stores) missingOriginals(ctx context.Context, out *Rebuilt) error {
	rows := &storedRows{db: s.DB}
	err := s.Objects.List(ctx, notary.DocumentKey(""), func(o notary.Object) error {
		id := strings.TrimPrefix(o.Key, notary.DocumentKey(""))
		for {
			r, err := rows.peek(ctx)
			if err != nil || r == nil || r.ID > id {
				return err
			}
			rows.skip()
			out.Originals++
			if r.ID < id {
				out.Missing = append(out.Missing, missing(*r, nil))
				continue
			}
			if uint64(o.Size) != r.Size {
				out.Missing = append(out.Missing, missing(*r, &o.Size))
			}
			return nil
		}
	})
	for err == nil {
		var r *notary.Record
		if r, err = rows.peek(ctx); err != nil || r == nil {
			return err
		}
		rows.skip()
		out.Originals++
		out.Missing = append(out.Missing, missing(*r, nil))
	}
	return err
}

func missing(r notary.Record, found *int64) Missing {
	return Missing{Number: r.Number, Record: r.ID, Object: notary.DocumentKey(r.ID), Agency: r.AgencyID, Size: r.Size,
		SM3: r.SM3.String(), Found: found}
}

// storedRows reads the records with an original one by one.
type storedRows struct {
	db    *sqldb.DB
	page  []notary.Record
	after string
	ended bool
}

// peek is the next one; nil at the end.
func (s *storedRows) peek(ctx context.Context) (*notary.Record, error) {
	if len(s.page) == 0 && !s.ended {
		var err error
		if s.page, err = s.db.Log.StoredRecords(ctx, s.after, originalsPage); err != nil {
			return nil, err
		}
		s.ended = len(s.page) < originalsPage
	}
	if len(s.page) == 0 {
		return nil, nil
	}
	return &s.page[0], nil
}

func (s *storedRows) skip() { s.after, s.page = s.page[0].ID, s.page[1:] }
