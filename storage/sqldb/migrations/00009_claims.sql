-- What idempotency keys of writes stand for that make no record: the id of what was made.

-- +goose Up
CREATE TABLE claims (
    agency_id    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    made         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (agency_id, key)
);

-- +goose Down
DROP TABLE claims;
