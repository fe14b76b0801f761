-- +goose Up
-- What whoever hands a table in should know of it: rows, columns and sheets that are hidden, which sheet was read.
ALTER TABLE bulk_jobs ADD COLUMN notices TEXT NOT NULL DEFAULT 'null';

-- +goose Down
ALTER TABLE bulk_jobs DROP COLUMN notices;
