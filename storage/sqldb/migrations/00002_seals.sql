-- +goose Up

-- The picture of an agency's seal from a time on, until the next row. Rows are only added: a
-- certificate shows the seal that was in force when its record was issued. No bytes: from
-- here on the agency has none.
CREATE TABLE seals (
    agency_id     TEXT NOT NULL REFERENCES agencies (id),
    valid_from    BIGINT NOT NULL,
    png           BYTEA NOT NULL,
    demonstration BOOLEAN NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (agency_id, valid_from)
);

-- +goose Down
DROP TABLE seals;
