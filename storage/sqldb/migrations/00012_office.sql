-- What the office works with: sealed stretches of the audit trail, erased attributes, saved
-- searches, and what agencies registered on each day. Times are microseconds since 1970.

-- +goose Up

-- Which seal of its trail a deed is in; 0 while it is in none.
ALTER TABLE audit ADD COLUMN seal BIGINT NOT NULL DEFAULT 0;
CREATE INDEX audit_unsealed ON audit (agency_id, id) WHERE seal = 0;
CREATE INDEX audit_sealed ON audit (agency_id, seal) WHERE seal > 0;
CREATE INDEX audit_about ON audit (agency_id, about) WHERE about <> '';

-- trail is the agency whose deeds they are, empty for those of operators. document is what is
-- to be notarized, until record_id names the record.
CREATE TABLE audit_seals (
    trail         TEXT NOT NULL,
    number        BIGINT NOT NULL, -- from 1, without gaps
    agency_id     TEXT NOT NULL REFERENCES agencies (id), -- that signs
    first_id      TEXT NOT NULL,
    last_id       TEXT NOT NULL,
    deeds         BIGINT NOT NULL,
    sm3           BYTEA NOT NULL,
    title         TEXT NOT NULL,
    document      BYTEA,
    record_id     TEXT NOT NULL,
    record_number TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (trail, number)
);
CREATE UNIQUE INDEX audit_seals_record ON audit_seals (record_number) WHERE record_number <> '';
CREATE INDEX audit_seals_open ON audit_seals (trail) WHERE record_id = '';
CREATE INDEX records_trail ON records (idx) WHERE class = 'audit-trail';

-- names are those of the attributes, with spaces between them; never their values.
CREATE TABLE erasures (
    id         TEXT PRIMARY KEY,
    record_idx BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    by_whom    TEXT NOT NULL,
    names      TEXT NOT NULL,
    document   BOOLEAN NOT NULL,
    reason     TEXT NOT NULL
);
CREATE INDEX erasures_record ON erasures (record_idx, id);

CREATE TABLE saved_searches (
    user_id    TEXT NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    query      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, name)
);

-- What an agency registered on a day (days since 1970, Beijing time), and how many bytes of
-- originals of it are kept.
CREATE TABLE agency_days (
    agency_id TEXT NOT NULL,
    day       BIGINT NOT NULL,
    records   BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (agency_id, day)
);
INSERT INTO agency_days (agency_id, day, records, bytes)
    SELECT agency_id, (issued_at / 1000000 + 28800) / 86400, count(*), sum(CASE WHEN stored THEN size ELSE 0 END) FROM records GROUP BY 1, 2;

-- +goose Down
DROP TABLE agency_days;
DROP TABLE saved_searches;
DROP TABLE erasures;
DROP INDEX records_trail;
DROP TABLE audit_seals;
DROP INDEX audit_about;
DROP INDEX audit_sealed;
DROP INDEX audit_unsealed;
ALTER TABLE audit DROP COLUMN seal;
