-- +goose Up
-- The key that signs the log's checkpoints, as a verifier key of a signed note, and how often it was changed. Empty in a
-- database from before, until the first start.
ALTER TABLE log ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE log ADD COLUMN key_generation BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE log DROP COLUMN key_generation;
ALTER TABLE log DROP COLUMN key;
