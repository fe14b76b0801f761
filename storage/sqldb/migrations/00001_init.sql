-- One schema for PostgreSQL and SQLite. Times are microseconds since 1970 in UTC. What is
-- signed or hashed lies in TEXT (UTF-8, as it was signed) or BYTEA, never in a JSON type.

-- +goose Up

-- Which instance this database belongs to. One row.
CREATE TABLE instance (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT NOT NULL,
    chain      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The log's row. Whoever gives out indexes or event numbers holds its lock, so both are
-- gapless and in commit order. received >= size >= anchored.
CREATE TABLE log (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    origin   TEXT NOT NULL,
    received BIGINT NOT NULL,
    size     BIGINT NOT NULL,
    root     BYTEA NOT NULL,
    note     TEXT NOT NULL,
    anchored BIGINT NOT NULL,
    events   BIGINT NOT NULL
);

CREATE TABLE agencies (
    id         TEXT PRIMARY KEY,
    code       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    region     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Certificates of agencies with their chains; the newest one signs.
CREATE TABLE certificates (
    fingerprint BYTEA PRIMARY KEY,
    agency_id   TEXT NOT NULL REFERENCES agencies (id),
    chain       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX certificates_agency ON certificates (agency_id, created_at);

-- API keys: only a digest is kept.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    digest     BYTEA NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- The log's entries. idx is the leaf index.
CREATE TABLE entries (
    idx         BIGINT PRIMARY KEY,
    record_idx  BIGINT NOT NULL,
    statement   TEXT NOT NULL,
    signature   BYTEA NOT NULL,
    certificate BYTEA NOT NULL,
    key_use     TEXT NOT NULL
);

-- One row a notarization. idx is that of the issuing entry.
CREATE TABLE records (
    idx          BIGINT PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    agency_id    TEXT NOT NULL,
    number       TEXT NOT NULL UNIQUE,
    code         TEXT NOT NULL,
    sm3          BYTEA NOT NULL,
    size         BIGINT NOT NULL,
    media_type   TEXT NOT NULL,
    class        TEXT NOT NULL,
    fields       TEXT NOT NULL,
    supersedes   TEXT NOT NULL,
    stored       BOOLEAN NOT NULL,
    version      TEXT NOT NULL,
    issued_at    BIGINT NOT NULL,
    received_at  BIGINT NOT NULL,
    standing     TEXT NOT NULL,
    standing_idx BIGINT NOT NULL,
    standing_at  BIGINT NOT NULL,
    standing_by  TEXT NOT NULL,
    reason       TEXT NOT NULL
);
CREATE INDEX records_sm3 ON records (sm3);
CREATE INDEX records_agency ON records (agency_id, idx);

CREATE TABLE idempotency (
    agency_id    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    record_idx   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (key, agency_id) -- a batch is looked up by its keys
);

-- Written before signatures are made: every signature of an agency key is covered by a row.
CREATE TABLE key_uses (
    id          TEXT PRIMARY KEY,
    agency_id   TEXT NOT NULL,
    certificate BYTEA NOT NULL,
    purpose     TEXT NOT NULL,
    count       BIGINT NOT NULL,
    statements  BYTEA NOT NULL,
    at          BIGINT NOT NULL
);

-- Facts for the outside, in commit order: entries first_idx to last_idx became what kind says.
CREATE TABLE outbox (
    id        BIGINT PRIMARY KEY,
    kind      TEXT NOT NULL,
    first_idx BIGINT NOT NULL,
    last_idx  BIGINT NOT NULL,
    at        BIGINT NOT NULL
);

CREATE TABLE checkpoints (
    size       BIGINT PRIMARY KEY,
    root       BYTEA NOT NULL,
    note       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Finished evidence, one row for each chain and checkpoint.
CREATE TABLE anchors (
    target     TEXT NOT NULL,
    size       BIGINT NOT NULL REFERENCES checkpoints (size),
    evidence   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (target, size)
);

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE number_blocks (
    region TEXT NOT NULL,
    year   INTEGER NOT NULL,
    next   BIGINT NOT NULL,
    PRIMARY KEY (region, year)
);

-- +goose Down
DROP TABLE number_blocks;
DROP TABLE leases;
DROP TABLE anchors;
DROP TABLE checkpoints;
DROP TABLE outbox;
DROP TABLE key_uses;
DROP TABLE idempotency;
DROP TABLE records;
DROP TABLE entries;
DROP TABLE api_keys;
DROP TABLE certificates;
DROP TABLE agencies;
DROP TABLE log;
DROP TABLE instance;
