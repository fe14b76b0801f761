-- Seals that agencies stamp documents with, and what was done with them. The table seals of
-- migration 2 stays what it is: the picture that certificates show from a time on. Times are
-- microseconds since 1970, 0 for none.

-- +goose Up

CREATE TABLE agency_seals (
    id            TEXT PRIMARY KEY,
    agency_id     TEXT NOT NULL REFERENCES agencies (id),
    name          TEXT NOT NULL,
    owner         TEXT NOT NULL, -- who answers for it
    png           BYTEA NOT NULL,
    demonstration BOOLEAN NOT NULL,
    valid_from    BIGINT NOT NULL,
    valid_until   BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX agency_seals_agency ON agency_seals (agency_id, created_at);
CREATE UNIQUE INDEX agency_seals_name ON agency_seals (agency_id, name) WHERE ended_at = 0;

-- Rows are only added, each before the file that it is about is handed out. id is a UUID of
-- version 7 and sorts by time.
CREATE TABLE seal_uses (
    id        TEXT PRIMARY KEY,
    at        BIGINT NOT NULL,
    seal_id   TEXT NOT NULL REFERENCES agency_seals (id),
    agency_id TEXT NOT NULL,
    login     TEXT NOT NULL,
    filing    TEXT NOT NULL, -- what was stamped, as the caller calls it
    number    TEXT NOT NULL, -- of the certificate, where it was known
    original  BYTEA NOT NULL, -- SM3
    stamped   BYTEA NOT NULL, -- SM3
    marks     BIGINT NOT NULL
);
CREATE INDEX seal_uses_seal ON seal_uses (seal_id, id);
CREATE INDEX seal_uses_agency ON seal_uses (agency_id, id);

-- The seal whose picture a row of seals is, empty for none; and until when certificates show it.
ALTER TABLE seals ADD COLUMN seal_id TEXT NOT NULL DEFAULT '';
ALTER TABLE seals ADD COLUMN valid_until BIGINT NOT NULL DEFAULT 0;

-- What agencies have is a seal of their own, which ended when the next one came.
INSERT INTO agency_seals (id, agency_id, name, owner, png, demonstration, valid_from, valid_until, ended_at, created_at)
SELECT agency_id || '-' || valid_from, agency_id, '公章', '', png, demonstration, valid_from, 0,
       COALESCE((SELECT min(n.valid_from) FROM seals n WHERE n.agency_id = s.agency_id AND n.valid_from > s.valid_from), 0), created_at
FROM seals s WHERE length(png) > 0;
UPDATE seals SET seal_id = agency_id || '-' || valid_from WHERE length(png) > 0;

-- +goose Down
ALTER TABLE seals DROP COLUMN valid_until;
ALTER TABLE seals DROP COLUMN seal_id;
DROP TABLE seal_uses;
DROP TABLE agency_seals;
