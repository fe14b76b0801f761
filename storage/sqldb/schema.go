package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"stele/notary/log/batchlog"
)

// ErrSchema means that the database's schema and this program do not fit each other. No later try
// helps: somebody must migrate the database, or start another program.
var ErrSchema = errors.New("the database's schema and this program do not fit each other")

// schemaError is one of those, with a text of its own.
type schemaError string

func schemaErrorf(format string, args ...any) error { return schemaError(fmt.Sprintf(format, args...)) }

func (e schemaError) Error() string { return string(e) }

// Is makes it an [ErrSchema].
func (schemaError) Is(target error) bool { return target == ErrSchema }

// ErrServersRun: a migration needs the servers stopped, and one runs.
var ErrServersRun = errors.New("a server of this instance runs, or ended a moment ago without a goodbye: " +
	"stop all of them; after a crash wait ten seconds")

const errNoInstance = schemaError("the database holds no Stele instance: " +
	"run 'stele init' for a new one, or correct the configured URL")

// lastWithAll is the last commit that knows the steps before the first migration of this program.
const lastWithAll = "152ad769a22b"

func tooOld(have, first int64) error {
	return schemaErrorf("the database has schema version %d, from before the first release, and this program "+
		"upgrades from "+
		"version %d on: nothing was changed; after a backup run 'stele migrate' of commit %s, then this program's",
		have, first, lastWithAll)
}

// Migration is a step of the schema from one version to the next.
type Migration struct {
	Version int64
	Name    string // of its file, without the ending
	// Beside says that servers of the version before may run while it is done and after it.
	Beside bool
}

// Plan is what a database's schema lacks of this program's.
type Plan struct {
	Have, Want int64 // versions of the schema
	Pending    []Migration
}

// Stopped reports whether all servers must be stopped before it is carried out.
func (p Plan) Stopped() bool {
	return slices.ContainsFunc(p.Pending, func(m Migration) bool { return !m.Beside })
}

// serversLine begins the line of a migration's file that says what servers may do; what follows is
// servers "may run" or "stopped". Without the line they are stopped.
const serversLine = "-- servers:"

// beside reads what the text of a migration says of servers.
func beside(text []byte) (bool, error) {
	for line := range strings.Lines(string(text)) {
		what, ok := strings.CutPrefix(strings.TrimSpace(line), serversLine)
		if !ok {
			continue
		}
		switch strings.TrimSpace(what) {
		case "may run":
			return true, nil
		case "stopped":
			return false, nil
		}
		return false, fmt.Errorf("%q: want %q or %q", strings.TrimSpace(line), serversLine+" may run",
			serversLine+" stopped")
	}
	return false, nil
}

// known lists the migrations that this program knows, oldest first.
func (db *conn) known() ([]Migration, error) {
	p, err := db.provider()
	if err != nil {
		return nil, err
	}
	var out []Migration
	for _, s := range p.ListSources() {
		text, err := fs.ReadFile(db.schema, path.Join("migrations", path.Base(s.Path)))
		if err != nil {
			return nil, err
		}
		m := Migration{Version: s.Version, Name: strings.TrimSuffix(path.Base(s.Path), ".sql")}
		if m.Beside, err = beside(text); err != nil {
			return nil, fmt.Errorf("migration %s: %w", m.Name, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// plan compares the schema with this program's. A schema that is newer is refused.
func (db *conn) plan(ctx context.Context) (Plan, error) {
	have, err := db.version(ctx)
	if err != nil {
		return Plan{}, fmt.Errorf("read the schema version: %w", err)
	}
	known, err := db.known()
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Have: have, Want: known[len(known)-1].Version}
	switch {
	case p.Have == 0:
		return p, errNoInstance
	case p.Have < known[0].Version:
		return p, tooOld(p.Have, known[0].Version)
	case p.Have > p.Want:
		return p, schemaErrorf(
			"the database has schema version %d, this program knows %d: nothing was changed; use the newer program",
			p.Have, p.Want)
	}
	for _, m := range known {
		if m.Version > have {
			p.Pending = append(p.Pending, m)
		}
	}
	return p, nil
}

// checkSchema refuses a database that this program cannot use: one that lacks a migration, or one
// that a later program has changed so that this one would do harm.
func (db *conn) checkSchema(ctx context.Context) error {
	have, err := db.version(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	known, err := db.known()
	if err != nil {
		return err
	}
	want := known[len(known)-1].Version
	switch {
	case have == 0:
		return errNoInstance
	case have < known[0].Version:
		return tooOld(have, known[0].Version)
	case have < want:
		return schemaErrorf(
			"the database has schema version %d, this program needs %d: run 'stele migrate' after a backup", have, want)
	case have > want:
		return db.Compatible(ctx)
	}
	return nil
}

// Compatible returns an [ErrSchema] if a migration has made the database one that this program must
// not use any more. Servers ask from time to time.
func (db *conn) Compatible(ctx context.Context) error {
	known, err := db.known()
	if err != nil {
		return err
	}
	var least int64
	if err := db.read.GetContext(ctx, &least, `SELECT least_schema FROM compatibility`); err != nil {
		return fmt.Errorf("read which programs may use the database: %w", err)
	}
	if knows := known[len(known)-1].Version; knows < least {
		return schemaErrorf("the database was migrated for programs that know schema version %d, this program knows "+
			"%d: use the newer program",
			least, knows)
	}
	return nil
}

// toMigrate connects without a limit for statements: an index of a large log takes its time.
func toMigrate(ctx context.Context, dbURL, password string) (*DB, error) {
	return connect(ctx, dbURL, password, false, 0, time.Now)
}

// PlanMigration says what [Migrate] would do, and changes nothing.
func PlanMigration(ctx context.Context, dbURL, password string) (Plan, error) {
	db, err := toMigrate(ctx, dbURL, password)
	if err != nil {
		return Plan{}, err
	}
	defer db.Close()
	return db.plan(ctx)
}

// Migrate opens a database that has the schema in some version, brings it up to this program's, and
// says what was done. Where a migration needs it, servers are kept from sequencing meanwhile; one that
// runs is [ErrServersRun]. Each migration is a transaction: a crash leaves those done that are, and
// the next call does the rest.
func Migrate(ctx context.Context, dbURL, password string) (Plan, error) {
	db, err := toMigrate(ctx, dbURL, password)
	if err != nil {
		return Plan{}, err
	}
	defer db.Close()
	return db.upgrade(ctx)
}

func (db *conn) upgrade(ctx context.Context) (Plan, error) {
	p, err := db.plan(ctx)
	if err != nil || len(p.Pending) == 0 {
		return p, err
	}
	if p.Stopped() {
		release, err := db.stopped(ctx)
		if err != nil {
			return p, err
		}
		defer release()
	}
	return p, db.migrate(ctx)
}

// aloneFor is how long the sequencer's lease is taken at a time.
const aloneFor = 10 * time.Second

// stopped makes sure that no server sequences, and keeps it so until release is called. A crash leaves
// the lease, which runs out.
func (db *conn) stopped(ctx context.Context) (release func(), err error) {
	holder := fmt.Sprintf("migrate/%d", os.Getpid())
	ok, err := db.Lease(ctx, batchlog.LeaseName, holder, aloneFor)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrServersRun
	}
	keeping, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(aloneFor / 3)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				// What fails is tried again. On SQLite it waits for the migration, which holds the database alone.
				_, _ = db.Lease(keeping, batchlog.LeaseName, holder, aloneFor)
			case <-keeping.Done():
				return
			}
		}
	}()
	return func() {
		stop()
		<-done
		_ = db.ReleaseLease(context.WithoutCancel(ctx), batchlog.LeaseName, holder) // it runs out by itself
	}, nil
}
