package sqldb_test

import (
	"testing"

	"stele/storage/storagetest"
)

func TestSQLite(t *testing.T) { storagetest.TestDatabase(t, storagetest.SQLiteURL) }

func TestPostgres(t *testing.T) { storagetest.TestDatabase(t, storagetest.StartPostgres) }
