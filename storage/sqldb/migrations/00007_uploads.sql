-- Files on their way in. offset_ is how far an upload is; it moves with the rows of its
-- parts, in one transaction. holder has the upload until held_until.

-- +goose Up
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    size       BIGINT NOT NULL,
    offset_    BIGINT NOT NULL,
    direct     BOOLEAN NOT NULL,
    metadata   TEXT NOT NULL, -- JSON, an object of texts
    holder     TEXT NOT NULL,
    held_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX uploads_agency ON uploads (agency_id);
CREATE INDEX uploads_expiry ON uploads (expires_at);

CREATE TABLE upload_parts (
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    offset_   BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    key       TEXT NOT NULL,
    PRIMARY KEY (upload_id, offset_)
);

-- +goose Down
DROP TABLE upload_parts;
DROP TABLE uploads;
