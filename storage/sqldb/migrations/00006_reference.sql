-- The agency's own name for a record.

-- +goose Up
ALTER TABLE records ADD COLUMN reference TEXT NOT NULL DEFAULT '';
CREATE INDEX records_reference ON records (agency_id, reference) WHERE reference <> '';

-- +goose Down
DROP INDEX records_reference;
ALTER TABLE records DROP COLUMN reference;
