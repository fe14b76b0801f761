-- Agencies' keys, what became of their certificates, and whether anything may be signed in an agency's name.
-- servers: stopped

-- +goose Up
-- public is the SM2 point (65 bytes). sealed is the encrypted PKCS#8 key as a key file holds it: the passphrase of the
-- instance opens it, and the database has that nowhere.
CREATE TABLE agency_keys (
    public     BYTEA PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    sealed     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX agency_keys_agency ON agency_keys (agency_id);

-- A certificate with an end signs nothing more, whatever the time of the end.
ALTER TABLE certificates ADD COLUMN ended_at BIGINT;
ALTER TABLE certificates ADD COLUMN ended_reason TEXT NOT NULL DEFAULT '';

-- active, suspended or closed, and since when; 0 for always.
ALTER TABLE agencies ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
ALTER TABLE agencies ADD COLUMN state_since BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE agencies DROP COLUMN state_since;
ALTER TABLE agencies DROP COLUMN state;
ALTER TABLE certificates DROP COLUMN ended_reason;
ALTER TABLE certificates DROP COLUMN ended_at;
DROP TABLE agency_keys;
