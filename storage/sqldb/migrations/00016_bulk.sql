-- Tables whose rows are notarized together. Times are microseconds since 1970, 0 for none.

-- +goose Up
-- JSON in header, left_names: lists of texts; in trouble: see bulk.Problem; in maker and checker: id, login, name.
CREATE TABLE bulk_jobs (
    id         TEXT PRIMARY KEY,
    agency_id  TEXT NOT NULL REFERENCES agencies (id),
    once       TEXT NOT NULL,
    state      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    class      TEXT NOT NULL,
    name       TEXT NOT NULL,
    header     TEXT NOT NULL,
    files      BOOLEAN NOT NULL,
    zip        TEXT NOT NULL,
    folder     TEXT NOT NULL,
    second     BOOLEAN NOT NULL,
    left_names TEXT NOT NULL,
    left_over  BIGINT NOT NULL,
    trouble    TEXT NOT NULL,
    partial    BOOLEAN NOT NULL,
    maker      TEXT NOT NULL,
    checker    TEXT NOT NULL,
    remark     TEXT NOT NULL,
    forgotten  BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    done_at    BIGINT NOT NULL,
    UNIQUE (agency_id, once)
);
CREATE INDEX bulk_jobs_list ON bulk_jobs (agency_id, id);
CREATE INDEX bulk_jobs_open ON bulk_jobs (state, changed_at) WHERE NOT forgotten;

-- cells, item and problems are JSON, see package bulk; cells and item are empty once they are forgotten.
CREATE TABLE bulk_rows (
    job_id   TEXT NOT NULL REFERENCES bulk_jobs (id),
    no       BIGINT NOT NULL,
    line     BIGINT NOT NULL,
    state    TEXT NOT NULL,
    cells    TEXT NOT NULL,
    item     TEXT NOT NULL,
    problems TEXT NOT NULL,
    record   TEXT NOT NULL,
    number   TEXT NOT NULL,
    PRIMARY KEY (job_id, no)
);
CREATE INDEX bulk_rows_state ON bulk_rows (job_id, state, no);

-- +goose Down
DROP TABLE bulk_rows;
DROP TABLE bulk_jobs;
