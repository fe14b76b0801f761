package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"stele/crypto/keystore"
	"stele/notary"
	"stele/notary/outage"
	"stele/storage/blob/s3"
)

// disk is the dependency that SQLite has.
const disk = "disk"

// leastFree is how much room the embedded database must have; below it writes soon fail.
const leastFree = 16 << 20

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// databaseFolder is where SQLite's file lies; empty for PostgreSQL.
func (c Config) databaseFolder() string {
	if path, ok := strings.CutPrefix(c.Database, "sqlite:"); ok {
		return filepath.Dir(path)
	}
	return ""
}

// openOutages has the stores watched; other capabilities add what they depend on.
func (in *Instance) openOutages(ctx context.Context, _ keystore.Secret) error {
	in.outages = outage.New(ctx, in.log, time.Now)
	in.jobs.add(stageWatch, "dependencies", in.outages.Run)
	in.outages.Watch(outage.Database, func(ctx context.Context) error {
		_, err := in.DB.Log.Progress(ctx)
		return err
	})
	in.outages.Watch(outage.Objects, in.probeObjects)
	if dir := in.Config.databaseFolder(); dir != "" {
		in.outages.Watch(disk, func(context.Context) error {
			free, err := freeBytes(dir)
			if err == nil && free <= leastFree {
				words := fmt.Sprintf("less than %d MiB are free for the database", leastFree>>20)
				err = outage.Because(words, errors.New(words))
			}
			return err
		})
	}
	return nil
}

func (in *Instance) probeObjects(ctx context.Context) error {
	_, err := in.Objects.Get(ctx, objectIdentity, 4096)
	switch {
	case errors.Is(err, s3.ErrCredentials):
		return outage.Because("it refuses the credentials", err)
	case errors.Is(err, s3.ErrBucket):
		return outage.Because("there is no such bucket", err)
	case errors.Is(err, notary.ErrObjectNotFound):
		return outage.Because("the object that names its instance is missing", err)
	}
	return err
}
