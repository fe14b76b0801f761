package instance

import (
	"context"
	"errors"
	"time"

	"stele/storage/sqldb"
)

// Plan is what a migration has to do.
type Plan = sqldb.Plan

// Migrate brings the database's schema up to this program, and says what was done.
func Migrate(ctx context.Context, c Config) (Plan, error) {
	password, err := secretFile(c.DatabasePasswordFile)
	if err != nil {
		return Plan{}, err
	}
	return sqldb.Migrate(ctx, c.Database, password)
}

// PlanMigration says what [Migrate] would do.
func PlanMigration(ctx context.Context, c Config) (Plan, error) {
	password, err := secretFile(c.DatabasePasswordFile)
	if err != nil {
		return Plan{}, err
	}
	return sqldb.PlanMigration(ctx, c.Database, password)
}

// schemaCheckEvery is how long after a migration a server that must not use the database any more
// may go on.
const schemaCheckEvery = 5 * time.Second

// watchSchema ends with an error when a migration has made the database one for later programs.
func (in *Instance) watchSchema(ctx context.Context) error {
	every := time.NewTicker(schemaCheckEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
		// A database that does not answer is no reason to stop.
		if err := in.DB.Compatible(ctx); errors.Is(err, sqldb.ErrSchema) {
			return err
		}
	}
}
