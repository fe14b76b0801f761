package sqldb_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

// Whatever number of the log's row is smaller than it was, or a root that is another one: nothing is
// written any more, and whoever runs the process hears of it.
func TestWentBack(t *testing.T) {
	for name, damage := range map[string]string{
		"received":   `UPDATE log SET received = 1`,
		"size":       `UPDATE log SET size = 0`,
		"events":     `UPDATE log SET events = 1`,
		"generation": `UPDATE log SET key_generation = -1`,
		"root":       `UPDATE log SET root = (SELECT root FROM checkpoints WHERE size = 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
				s := storagetest.NewSite(t, b)
				items := s.Items(t, 5)
				_, err := s.DB.Log.Receive(t.Context(), items[:3])
				fatalIfErr(t, err)
				head, err := s.DB.Log.Head(t.Context())
				fatalIfErr(t, err)
				c, note := checkpointOf(t, s, 2)
				fatalIfErr(t, s.DB.Log.Advance(t.Context(), head, c, note))
				fatalIfErr(t, s.DB.Exec(t.Context(), damage))

				if _, err := s.DB.Log.Receive(t.Context(), items[3:4]); !errors.Is(err, sqldb.ErrWentBack) ||
					errors.Is(err, notary.ErrUnknownOutcome) {
					t.Fatalf("received on an older database: %v", err)
				}
				select {
				case <-s.DB.WentBack():
				default:
					t.Error("nobody hears of it")
				}
				// Even when the row is as it was: what is between is not known.
				fatalIfErr(t,
					s.DB.Exec(t.Context(),
						`UPDATE log SET received = 100, size = 100, events = 100, key_generation = 100`))
				if _, err := s.DB.Log.Receive(t.Context(), items[4:]); !errors.Is(err, sqldb.ErrWentBack) {
					t.Errorf("received afterwards: %v", err)
				}
				if _, err := s.DB.Log.Head(t.Context()); !errors.Is(err, sqldb.ErrWentBack) {
					t.Errorf("read afterwards: %v", err)
				}
			})
		})
	}
}

// A database server that this process has not talked to is compared with what is published before
// anything is asked of it.
func TestAnotherServer(t *testing.T) {
	pg := storagetest.NewPostgres(t)
	s := storagetest.NewSiteOn(t, pg.Database(t), storagetest.NewDir(t))
	_, err := s.DB.Log.Receive(t.Context(), s.Items(t, 3))
	fatalIfErr(t, err)
	open := func(published func(context.Context) (sqldb.Seen, error)) *sqldb.DB {
		t.Helper()
		db, err := sqldb.Open(t.Context(), s.URL, "", s.Now)
		fatalIfErr(t, err)
		t.Cleanup(func() { db.Close() })
		_, err = db.Log.Head(t.Context())
		fatalIfErr(t, err)
		db.CompareWith(published)
		return db
	}
	asks := func(seen sqldb.Seen, err error) func(context.Context) (sqldb.Seen, error) {
		return func(context.Context) (sqldb.Seen, error) { return seen, err }
	}
	away := errors.New("the bucket is away")
	same := open(asks(sqldb.Seen{Root: merkle.EmptyRoot()}, nil))
	longer := open(asks(sqldb.Seen{Size: 4, Root: merkle.EmptyRoot()}, nil))
	unlogged := open(asks(sqldb.Seen{Received: 4, Root: merkle.EmptyRoot()}, nil))
	other := open(asks(sqldb.Seen{Root: merkle.LeafHash(nil)}, nil))
	unknown := open(asks(sqldb.Seen{}, away))
	pg.Restart(t)
	for db, want := range map[*sqldb.DB]error{same: nil, longer: sqldb.ErrWentBack, unlogged: sqldb.ErrWentBack,
		other: sqldb.ErrWentBack, unknown: away} {
		var err error
		for range 3 { // the first connections may be those from before, which are broken
			if _, err = db.Log.Head(t.Context()); err == nil || want != nil && errors.Is(err, want) {
				break
			}
		}
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestSeveralHosts(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u@h/n?sslmode=disable": "postgres://u@h/n" +
			"?sslmode=disable",
		"postgres://u:p@a:1,b:2/n?sslmode=disable": "postgres://u:p@/n" +
			"?host=a,b&port=1,2&sslmode=disable&target_session_attrs=read-write",
		"postgres://a,b:2/n": "postgres:///n" +
			"?host=a,b&port=5432,2&target_session_attrs=read-write",
		"postgresql://u@[::1]:1,b:2/n": "postgresql://u@/n" +
			"?host=::1,b&port=1,2&target_session_attrs=read-write",
		"postgres://u@a,b/n?target_session_attrs=any": "postgres://u@/n" +
			"?host=a,b&port=5432,5432&target_session_attrs=any",
		"postgres://u@a,b": "postgres://u@" +
			"?host=a,b&port=5432,5432&target_session_attrs=read-write",
	} {
		t.Run(in, func(t *testing.T) {
			got, err := sqldb.Hosts(in)
			got, _ = url.QueryUnescape(got)
			if err != nil || got != want {
				t.Errorf("%s:\ngot  %s, %v\nwant %s", in, got, err, want)
			}
		})
	}
	for _, in := range []string{"postgres://u@a:1,/n", "postgres://u@,b/n", "postgres://u@a:,b/n",
		"postgres://u@a:b:c,d/n"} {
		if got, err := sqldb.Hosts(in); err == nil || strings.Contains(err.Error(), "u@") {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}
