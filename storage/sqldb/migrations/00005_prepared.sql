-- Agencies that keep their key at home, and what waits for their signatures.

-- +goose Up
ALTER TABLE agencies ADD COLUMN key_at_home BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE prepared (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    item       TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX prepared_expiry ON prepared (expires_at);

-- +goose Down
DROP TABLE prepared;
ALTER TABLE agencies DROP COLUMN key_at_home;
