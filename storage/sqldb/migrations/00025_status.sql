-- Status statements are entries of the log without a record, an agency and an audit row, which programs from before this
-- do not expect. What is derived from the log and kept has the size of the log that it stands for.
-- servers: stopped
-- +goose Up
CREATE TABLE followed (
    name TEXT PRIMARY KEY,
    size BIGINT NOT NULL
);

-- Entries that are status statements. Each ends a checkpoint, which is anchored for it.
CREATE TABLE status_statements (
    idx BIGINT PRIMARY KEY
);

-- Entries in an agency's name before the size under 'status' in followed, see package status.
CREATE TABLE tallies (
    code    TEXT PRIMARY KEY,
    entries BIGINT NOT NULL,
    hash    BYTEA NOT NULL
);

-- Certificates that entries revoke: the first entry of each. Their text is in entries.
CREATE TABLE certificate_revocations (
    fingerprint BYTEA PRIMARY KEY,
    idx         BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    since       BIGINT NOT NULL
);

-- Certificate revocation lists (RFC 5280), by the SM3 of the certificate that signed them.
CREATE TABLE revocation_lists (
    issuer BYTEA NOT NULL,
    number BIGINT NOT NULL,
    der    BYTEA NOT NULL,
    no_id  BYTEA NOT NULL, -- the same, signed with the empty user id
    PRIMARY KEY (issuer, number)
);

CREATE INDEX records_ended ON records (standing_idx) WHERE standing <> 'valid';
UPDATE compatibility SET least_schema = 25;

-- +goose Down
DROP INDEX records_ended;
DROP TABLE revocation_lists;
DROP TABLE certificate_revocations;
DROP TABLE tallies;
DROP TABLE followed;
DROP TABLE status_statements;
UPDATE compatibility SET least_schema = 24;
